"""Runs an example as a server in its own process."""

from __future__ import annotations

import importlib.util
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
# Seconds that a start or an end may take on a loaded machine.
DEADLINE = 60.0
TRIES = 3


def needs(*libraries: str) -> pytest.MarkDecorator:
    """Skip a test if a library that it needs is not installed, and name the library."""
    missing = [name for name in libraries if importlib.util.find_spec(name) is None]
    return pytest.mark.skipif(bool(missing), reason=f"needs {', '.join(missing)}")


@contextmanager
def serving(
    example: str, *arguments: str, answers: Callable[[int], bool]
) -> Generator[int, None, None]:
    """Run an example until the block ends; yield its port as soon as it answers.

    Another process may take the free port before the example binds it. The example then ends at
    once, and another port is tried.
    """
    for _ in range(TRIES):
        with socket.create_server(("127.0.0.1", 0)) as free:
            port: int = free.getsockname()[1]
        process = subprocess.Popen(
            [sys.executable, str(EXAMPLES / f"{example}.py"), *arguments, str(port)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            deadline = time.monotonic() + DEADLINE
            while process.poll() is None and not answers(port):
                assert time.monotonic() < deadline, f"{example} does not answer"
                time.sleep(0.02)
            if process.poll() is None:
                yield port
                return
        finally:
            process.terminate()
            process.wait(DEADLINE)
    raise AssertionError(f"{example} ended {TRIES} times before it served")
