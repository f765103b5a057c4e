"""The registry of all breakers in a session of another project's tests, and its account at the end.

A plugin that imports the two hooks fails the session if nothing was guarded, if a permit is left, if a
breaker is not closed, or if something of ours was at fault.
"""

from __future__ import annotations

import gc
from typing import Any

import pytest

from recloser import Permit, Policy, Registry, State

# No breaker may open: these tests make things fail on purpose, and none is about breakers.
REGISTRY = Registry(Policy(min_failures=10_000), max_keys=10_000)
LEFT: list[Permit] = []
"""The permits that a deliberate mistake does not return."""


def account() -> tuple[str, bool]:
    """Say in a line what was guarded; and whether all of that holds."""
    gc.collect()
    counts = [breaker.metrics() for breaker in REGISTRY]
    calls = sum(each.calls for each in counts)
    left = sum(each.in_flight for each in counts)
    shut = sum(each.state is not State.CLOSED for each in counts)
    line = (
        f"recloser: {calls} calls on {len(counts)} keys, {left} permits left, "
        f"{REGISTRY.faults} faults, {shut} not closed"
    )
    return line, bool(calls) and not (left or REGISTRY.faults or shut)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    if not account()[1] and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: Any) -> None:
    terminalreporter.write_line(account()[0])
