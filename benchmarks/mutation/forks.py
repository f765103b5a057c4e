"""A forked process for one mutant: it says which test it begins, and how it ended."""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic
from typing import NoReturn

from benchmarks.mutation.mutants import Mutant

# A test may take so many times as long as without a mutant, and some seconds for a busy machine.
_SLOWER, _SPARE = 10.0, 10.0
# Seconds until the first test begins: imports and the collection of tests.
_START = 600.0
NEEDS_IMPORT = "needs import"


class Say:
    """How the forked process speaks: one line for each thing."""

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe

    def begins(self, test: str) -> None:
        """A test begins."""
        self._write(f"begins {test}")

    def killed_by(self, test: str) -> NoReturn:
        """A test failed: no more are needed."""
        self._write(f"killed {test}")
        os._exit(0)

    def survived(self) -> NoReturn:
        """No test failed."""
        self._write("survived ")
        os._exit(0)

    def needs_import(self) -> NoReturn:
        """The mutant cannot be put into what is imported."""
        self._write(f"killed {NEEDS_IMPORT}")
        os._exit(0)

    def _write(self, line: str) -> None:
        os.write(self._pipe, f"{line}\n".encode())


@dataclass(frozen=True, slots=True)
class Attempt:
    """A mutant, and the tests that may kill it, in this order.

    Attributes:
        mutant: The mutant.
        tests: Names of tests.
        seconds: How long each takes without a mutant.
    """

    mutant: Mutant
    tests: list[str]
    seconds: dict[str, float]

    def run(self, work: Callable[[Say], None]) -> tuple[str, int]:
        """Do the work in a forked process.

        Returns:
            What killed the mutant, empty if nothing did; and the number of tests that were run.
        """
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            _be_child(writing, work)
        os.close(writing)
        try:
            return self._watch(reading)
        finally:
            os.close(reading)
            # What the tests started is in the same group.
            with suppress(ProcessLookupError):
                os.killpg(child, signal.SIGKILL)
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)

    def _watch(self, pipe: int) -> tuple[str, int]:
        deadline, count, buffer, test = monotonic() + _START, 0, b"", "import"
        while True:
            if not select.select([pipe], [], [], max(deadline - monotonic(), 0.0))[0]:
                return f"time-out: {test}", count
            data = os.read(pipe, 65536)
            if not data:
                return f"crash: {test}", count
            *lines, buffer = (buffer + data).split(b"\n")
            for line in lines:
                word, _, rest = line.decode().partition(" ")
                if word == "killed":
                    return rest, count
                if word == "survived":
                    return "", count
                count, test = count + 1, rest
                deadline = monotonic() + _SLOWER * self.seconds.get(test, 1.0) + _SPARE


def in_fork(work: Callable[[], None]) -> None:
    """Do some work in a forked process, and wait for it.

    Raises:
        RuntimeError: It failed.
    """
    child = os.fork()
    if not child:
        try:
            work()
        except BaseException:
            import traceback

            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        raise RuntimeError("a forked process failed")


def _be_child(pipe: int, work: Callable[[Say], None]) -> NoReturn:
    os.setpgid(0, 0)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 1)
    os.dup2(null, 2)
    say = Say(pipe)
    try:
        work(say)
    except BaseException as error:
        # The mutant broke what runs the tests: a test would not have passed.
        say.killed_by(f"error: {type(error).__name__}: {error}".replace("\n", " ")[:200])
    os._exit(1)
