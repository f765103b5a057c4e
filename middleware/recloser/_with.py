"""Which permit a `with breaker:` block ends with.

All callers share the breaker, so the permit of a block is found by context, not on the breaker.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TypeAlias

from recloser._locked_circuit import LockedCircuit
from recloser._permit import Permit

# The permit of a block that has begun, and the block around it.
_Block: TypeAlias = "tuple[Permit, _Block | None]"

# The innermost block around the code that runs now.
_innermost: ContextVar[_Block | None] = ContextVar("recloser_innermost", default=None)
# The permits of all blocks that have not ended, of every breaker. Taking one out ends its block.
_unended: dict[Permit, bool] = {}


def enter(permit: Permit) -> None:
    """Begin a block."""
    _innermost.set((permit, _innermost.get()))
    _unended[permit] = True


def leave(breaker: LockedCircuit) -> Permit | None:
    """End the innermost block of a breaker around here; its permit, or None if there is none."""
    passed: list[Permit] = []
    block = _innermost.get()
    while block is not None:
        permit, outer = block
        if permit.breaker is breaker and _unended.pop(permit, False):
            # Blocks in generators need not end in the order in which they began.
            for inner in reversed(passed):
                outer = (inner, outer)
            _innermost.set(outer)
            return permit
        passed.append(permit)
        block = outer
    # It was entered in a context that is gone: a generator that a thread pool runs step by step
    # has one per step. One permit of a breaker is as good as another.
    for permit in tuple(_unended):
        if permit.breaker is breaker and _unended.pop(permit, False):
            return permit
    return None
