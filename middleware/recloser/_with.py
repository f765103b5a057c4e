"""Which permit a `with breaker:` block ends with.

All callers share the breaker, so the permit of a block is found by context, not on the breaker.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextvars import ContextVar

from recloser._locked_circuit import LockedCircuit
from recloser._permit import Permit


class BlockPermit(Permit):
    """The permit of a block.

    Attributes:
        around: The permit of the block around this one, of whatever breaker; None if there is none.
        in_block: Whether the block goes on. The permit may have been ended within it.
    """

    __slots__ = ("around", "in_block")

    around: BlockPermit | None
    in_block: bool


innermost: ContextVar[BlockPermit | None] = ContextVar("recloser_innermost", default=None)
"""The permit of the last block that was entered around the code that runs now. Its block may have
ended already: to say so on the permit is faster than to change the context again."""


def leave(breaker: LockedCircuit, in_flight: Iterable[object]) -> BlockPermit | None:
    """End the innermost block of a breaker around here; its permit, or None if there is none.

    Args:
        breaker: The breaker.
        in_flight: Its calls in flight.
    """
    permit = innermost.get()
    while permit is not None:
        # Blocks in generators need not end in the order in which they began.
        if permit.breaker is breaker and permit.in_block:
            permit.in_block = False
            return permit
        permit = permit.around
    # It was entered in a context that is gone: a generator that a thread pool runs step by step
    # has one context per step. Any permit of the breaker will do.
    for call in in_flight:
        if isinstance(call, BlockPermit) and call.in_block:
            call.in_block = False
            return call
    return None
