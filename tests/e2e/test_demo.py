"""`recloser demo` as a stranger starts it: real processes, judged by what they leave behind."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import pytest
from tests.support.machine_load import MachineLoad
from tests.support.waiting import until

from recloser_adapters._command.demo.plan import AFFECTED, OTHER_ROUTES

from .servers import DEADLINE

pytestmark = pytest.mark.skipif(
    any(find_spec(name) is None for name in ("httpx", "rich", "starlette", "uvicorn")),
    reason="needs the extra demo",
)
TRIES = 3
DEMO = [sys.executable, "-m", "recloser_adapters", "demo", "--seconds=30"]


def _serves(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1.0):
            return True
    except OSError:
        return False


def _ports(process: subprocess.Popen[str]) -> list[int]:
    """Read the URLs of the three servers, which it prints once they serve."""
    assert process.stdout is not None
    for line in process.stdout:
        ports = [int(port) for port in re.findall(r"http://127\.0\.0\.1:(\d+)", line)]
        if ports:
            assert len(ports) == 3
            assert all(_serves(port) for port in ports)
            return ports
    raise AssertionError(f"it ended with {process.wait()} and served nothing")


def _shown() -> tuple[dict[str, Any], str]:
    """Run the demo to its end; what it says in JSON, and what it says to people."""
    done = subprocess.run(
        [*DEMO, "--json"], capture_output=True, text=True, timeout=30 + 2 * DEADLINE, check=False
    )
    summary: dict[str, Any] = json.loads(done.stdout)
    assert done.returncode == (0 if summary["ok"] else 1), done.stderr
    return summary, done.stderr


def test_the_demo_goes_as_it_should_and_says_so_in_json() -> None:
    """What it expects of itself are times: what is missed on a busy machine is tried again."""
    for _ in range(TRIES):
        with MachineLoad() as load:
            summary, said = _shown()
        missed = [each for each in summary["expectations"] if not each["met"]]
        if not missed or not load.is_busy:
            break
    else:
        pytest.skip(f"the machine is busy, a thread waits {load.late * 1000:.0f} ms for a core")

    assert missed == [], said
    assert [bout["phase"] for bout in summary["bouts"]] == ["hanging", "failing", "slow"]
    assert all(bout["refused"] > 0 for bout in summary["bouts"])
    assert summary["waited"]["guarded"] < summary["waited"]["bare"]
    ports = [int(port) for port in re.findall(r"http://127\.0\.0\.1:(\d+)", said)]
    assert len(ports) == 3
    assert not any(_serves(port) for port in ports)


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Have child processes heed Ctrl-C, even where a shell started this one in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_running_however_the_demo_ends(how: signal.Signals) -> None:
    with subprocess.Popen(DEMO, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as demo:
        ports = _ports(demo)

        demo.send_signal(how)
        status = demo.wait(DEADLINE)

    assert status == (130 if how is signal.SIGINT else -how)
    until(lambda: not any(_serves(port) for port in ports), "its processes end")


@pytest.mark.usefixtures("interruptible")
def test_the_dashboard_shows_the_breakers_while_the_demo_runs() -> None:
    command = [*DEMO, "--dashboard"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as demo:
        _ports(demo)
        assert demo.stdout is not None
        url = demo.stdout.readline().removeprefix("Dashboard: ").strip()
        seen: set[str] = set()

        def shown() -> bool:
            with urllib.request.urlopen(f"{url}keys", timeout=DEADLINE) as answer:
                told = json.load(answer)
            seen.update(key["key"] for key in told["keys"])
            return AFFECTED in seen

        until(shown, "the dashboard has the key of the orders")
        demo.send_signal(signal.SIGINT)

        assert demo.wait(DEADLINE) == 130
    # Nobody guards the dashboard itself.
    assert seen <= {AFFECTED, *OTHER_ROUTES}
