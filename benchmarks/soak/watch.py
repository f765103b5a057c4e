"""What a server's processes take of the machine. Linux only: it reads `/proc`."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

_PROC = Path("/proc")
_EVERY = 1.0  # seconds
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Sample:
    """Memory (bytes) and open files of a process group, at a time in seconds."""

    at: float
    memory: int
    files: int


def _group(leader: int) -> list[Path]:
    """The processes of a group."""
    found: list[Path] = []
    for place in _PROC.iterdir():
        if not place.name.isdigit():
            continue
        try:
            # After the name, which may have blanks in it: state, parent, group.
            fields = (place / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has ended
        if int(fields[2]) == leader:
            found.append(place)
    return found


def measure(leader: int) -> Sample:
    """Measure all processes of a group now."""
    memory = files = 0
    for place in _group(leader):
        try:
            memory += int((place / "statm").read_text().split()[1]) * _PAGE
            files += len([*(place / "fd").iterdir()])
        except OSError:
            continue
    return Sample(time.monotonic(), memory, files)


def slope(samples: Sequence[Sample]) -> float:
    """By how many bytes memory grows in a minute: the least-squares line through the second half."""
    half = samples[len(samples) // 2 :]
    if len(half) < 3:
        return 0.0
    mean_at = sum(each.at for each in half) / len(half)
    mean = sum(each.memory for each in half) / len(half)
    covariance = sum((each.at - mean_at) * (each.memory - mean) for each in half)
    return 60.0 * covariance / sum((each.at - mean_at) ** 2 for each in half)


class Watch:
    """Measures a process group once a second, while the block runs.

    Args:
        leader: The id of the group.

    Attributes:
        samples: What was measured.
    """

    def __init__(self, leader: int) -> None:
        self.samples: list[Sample] = []
        self._leader = leader
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(_EVERY):
            self.samples.append(measure(self._leader))
