"""Runs the core's tests inside of Pyodide, where there are no threads, processes and sockets."""

from __future__ import annotations

import asyncio
import importlib
import sys
from asyncio import events, runners, selector_events, unix_events
from typing import Any

import pytest

NO_THREADS = "there are no threads"
NO_PROCESSES = "there are no processes"
OF_A_BENCHMARK = "it plays thousands of calls, and is the same on each version"

# What is left out, by the beginning of its name, and why. A name that matches nothing is an error.
LEFT_OUT = {
    "tests/core/test_threads.py": NO_THREADS,
    "tests/core/test_interleavings.py": NO_THREADS,
    "tests/core/fleet/test_runner.py": NO_THREADS,
    "tests/core/test_strikes.py": "it needs minutes at the speed of WebAssembly",
    "tests/core/test_fork.py": NO_PROCESSES,
    "tests/core/test_fuzz.py": OF_A_BENCHMARK,
    "tests/core/test_closed_loop.py": OF_A_BENCHMARK,
    "tests/core/test_closed_loop_parts.py": OF_A_BENCHMARK,
    "tests/core/test_detection.py": OF_A_BENCHMARK,
    "tests/core/test_detection_hygiene.py": OF_A_BENCHMARK,
    "tests/core/test_everyday.py": OF_A_BENCHMARK,
    "tests/core/test_fleet_simulation.py": OF_A_BENCHMARK,
    "tests/core/test_mutation.py": OF_A_BENCHMARK,
    "tests/core/circuit/test_plays.py": OF_A_BENCHMARK,
    "tests/core/failover/test_failover.py::test_threads_never_repeat": NO_THREADS,
    "tests/core/fleet/test_fleet.py::test_two_registries_with_one_file": NO_THREADS,
    "tests/core/fleet/test_fleet.py::test_who_closes_its_fleet": NO_THREADS,
    "tests/core/test_decorator.py::test_an_abandoned_async_generator": "a socket wakes its loop",
    "tests/core/test_identity.py::test_a_spawned_process": NO_PROCESSES,
    "tests/core/test_listeners.py::test_the_lock_is_free_while": NO_THREADS,
    "tests/core/test_listeners.py::test_events_of_64_threads": NO_THREADS,
    "tests/core/test_listeners.py::test_an_opening_is_seen_where_no_logging": NO_PROCESSES,
    "tests/core/test_locks.py::test_a_counter_gives_each_number": NO_THREADS,
    "tests/core/test_public_names.py::test_what_a_breaker_works_without": NO_PROCESSES,
    "tests/core/test_public_names.py::test_importing_it_imports_no": NO_PROCESSES,
    "tests/core/test_public_names.py::test_the_distribution_is_installed": "it is not installed",
    "tests/core/test_reporting.py::test_a_key_that_is_made_while": NO_THREADS,
    "tests/core/test_speed_floors.py::test_the_floor_of_blocks": NO_THREADS,
    "tests/core/test_steerable_circuit.py::test_a_mode_that_another_thread": NO_THREADS,
}


class LeavesOut:
    """A pytest plugin: it leaves out what is named above."""

    def pytest_ignore_collect(self, collection_path: Any) -> bool | None:
        return True if _name_of(collection_path) in LEFT_OUT else None

    def pytest_collection_modifyitems(self, config: Any, items: list[Any]) -> None:
        kept: list[Any] = []
        out: list[Any] = []
        used = set[str]()
        for item in items:
            names = [name for name in LEFT_OUT if item.nodeid.startswith(name)]
            used.update(names)
            (out if names else kept).append(item)
        of_files = {name for name in LEFT_OUT if "::" in name}
        if not config.option.keyword and len(config.args) == 1 and of_files - used:
            raise pytest.UsageError(f"left out, but not there: {sorted(of_files - used)}")
        config.hook.pytest_deselected(items=out)
        items[:] = kept


def _name_of(path: Any) -> str:
    return str(path).removeprefix("/repository/")


def use_loops_of_the_standard_library() -> None:
    """Pyodide's own event loop runs in that of JavaScript, and cannot wait for a coroutine."""
    loop: Any = selector_events.BaseSelectorEventLoop
    loop._make_self_pipe = loop._close_self_pipe = lambda self: None  # other threads would use it
    events._set_event_loop_policy(unix_events._DefaultEventLoopPolicy())  # type: ignore[attr-defined]
    importlib.reload(runners)
    asyncio.run, asyncio.Runner = runners.run, runners.Runner  # type: ignore[misc]
    events._set_running_loop(None)


def main(arguments: list[str]) -> int:
    """Run pytest and return its exit status."""
    print(f"Python {sys.version}")
    use_loops_of_the_standard_library()
    return int(pytest.main(["-p", "no:cacheprovider", *arguments], plugins=[LeavesOut()]))
