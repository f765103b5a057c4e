"""Blocks: which permit a `with breaker:` block ends with.

The breaker is shared by all callers, so the permit of a block is found by context, not on it.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

from recloser._permit import Permit

if TYPE_CHECKING:
    from recloser._breaker import Breaker

# The innermost block around the code that runs now; each permit knows the next one further out.
_innermost: ContextVar[Permit | None] = ContextVar("recloser_innermost", default=None)
# The permits of all blocks that have not ended, of every breaker. Taking one out ends its block.
_unended: dict[Permit, bool] = {}


def enter(permit: Permit) -> None:
    """Begin a block."""
    permit._outer = _innermost.get()
    _innermost.set(permit)
    _unended[permit] = True


def leave(breaker: Breaker) -> Permit | None:
    """End the innermost block of a breaker around here; its permit, or None if there is none."""
    inner, permit = None, _innermost.get()
    while permit is not None:
        if permit.breaker is breaker and _unended.pop(permit, False):
            # Blocks in generators need not end in the order in which they began.
            if inner is None:
                _innermost.set(permit._outer)
            else:
                inner._outer = permit._outer
            permit._outer = None
            return permit
        inner, permit = permit, permit._outer
    # It was entered in a context that is gone: a generator that a thread pool runs step by step
    # has one per step. One permit of a breaker is as good as another.
    for permit in tuple(_unended):
        if permit.breaker is breaker and _unended.pop(permit, False):
            return permit
    return None
