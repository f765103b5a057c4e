"""Which permit a `with breaker:` block ends with.

All callers share the breaker, so the permit of a block is found by context, not on the breaker.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextvars import ContextVar

from recloser._locked_circuit import LockedCircuit
from recloser._permit import Permit

NO_FRAME = 0
"""The `id` of no frame."""


class BlockPermit(Permit):
    """The permit of a block.

    Attributes:
        around: The permit of a block around this one, of whatever breaker; None if there is none.
        frame: The `id` of the stack frame that has the block; `NO_FRAME` once the block has ended.
            The permit may have been ended within the block.
    """

    __slots__ = ("around", "frame")

    around: BlockPermit | None
    frame: int


innermost: ContextVar[BlockPermit | None] = ContextVar("recloser_innermost", default=None)
"""The permit of the last block that was entered around the code that runs now. Its block may have
ended already: to say so on the permit is faster than to change the context again."""


def innermost_of(permit: BlockPermit | None) -> BlockPermit | None:
    """The first permit, of one and those around it, whose block goes on."""
    while permit is not None and not permit.frame:
        permit = permit.around
    return permit


def block_of(breaker: LockedCircuit, in_flight: Iterable[object], frame: int) -> BlockPermit | None:
    """The permit of the block of a breaker that ends here; None if it cannot be told.

    A block ends with its own permit or with none: with another one, a call that goes on would end.

    Args:
        breaker: The breaker.
        in_flight: Its calls in flight.
        frame: The `id` of the stack frame that has the block.
    """
    around: list[BlockPermit] = []
    permit = innermost_of(innermost.get())
    while permit is not None:
        if permit.breaker is breaker:
            if permit.frame == frame:
                return permit
            around.append(permit)
        permit = innermost_of(permit.around)
    # It was entered in another context: a thread pool that runs a generator step by step has one
    # context for each step. The frame is the same.
    for call in in_flight:
        # Another thread may have been admitted just now, and have no frame yet.
        if isinstance(call, BlockPermit) and getattr(call, "frame", NO_FRAME) == frame:
            return call
    # It was entered for somebody else: an ExitStack has other frames at the entry and at the exit.
    return around[0] if around else None
