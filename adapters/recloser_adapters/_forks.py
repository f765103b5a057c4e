"""Forks: what an object does in a process that was forked, where its locks and threads are of no use."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")


def in_forked_process(owner: T, do: Callable[[T], object]) -> None:
    """Call `do(owner)` in each process that is forked from this one, as long as the owner lives.

    What it raises is dropped: nobody could handle it there.
    """
    if not hasattr(os, "register_at_fork"):
        return
    this = weakref.ref(owner)

    def forked() -> None:
        alive = this()
        if alive is not None:
            with suppress(Exception):
                do(alive)

    os.register_at_fork(after_in_child=forked)
