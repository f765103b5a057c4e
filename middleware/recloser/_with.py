"""Which permit a `with breaker:` block ends with.

All callers share the breaker, so the permit of a block is found by context, not on the breaker.
"""

from __future__ import annotations

import dis
from collections.abc import Iterable
from contextvars import ContextVar
from functools import cache
from types import CodeType, FrameType

from recloser._locked_circuit import LockedCircuit
from recloser._permit import Permit

# The bytecodes that enter a block, of CPython 3.11 to 3.13, and of 3.14.
_ENTERS = ("BEFORE_WITH", "BEFORE_ASYNC_WITH", "LOAD_SPECIAL")


class BlockPermit(Permit):
    """The permit of a block.

    Attributes:
        around: The permit of a block around this one, of whatever breaker; None if there is none.
        frame: The stack frame that has the block; None once the block has ended. The permit may have
            been ended within the block. The frame itself, not its `id`, which another frame can have
            later.
    """

    __slots__ = ("around", "frame")

    around: BlockPermit | None
    frame: FrameType | None

    def is_lost(self, *, is_referred: bool) -> bool:
        """Whether the function that has the block is over, and `__exit__` has not run.

        CPython runs signal handlers at the begin of `__exit__`. If one raises, the block is left and
        nobody is told. References say nothing once the block is entered: only the context refers to
        the permit, and a thread pool that runs a generator step by step drops that. The block finds
        its permit in the table.
        """
        frame: FrameType | None = getattr(self, "frame", None)
        if frame is None:
            return not is_referred  # not entered yet, or ended
        if not _has_block(frame.f_code):
            return False  # an ExitStack leaves the block elsewhere
        # From here to `clear()` no other thread can run: CPython switches at calls and loops only.
        if dis.opname[frame.f_code.co_code[frame.f_lasti]] == "YIELD_VALUE":
            return False  # a coroutine or generator that may go on later; `clear()` would end it
        try:
            frame.clear()
        except RuntimeError:
            return False  # it runs
        return True


@cache
def _has_block(code: CodeType) -> bool:
    """Whether a function has a `with` statement."""
    return any(each.opname in _ENTERS for each in dis.get_instructions(code))


innermost: ContextVar[BlockPermit | None] = ContextVar("recloser_innermost", default=None)
"""The permit of the last block that was entered around the code that runs now. Its block may have
ended already: to say so on the permit is faster than to change the context again."""


def innermost_of(permit: BlockPermit | None) -> BlockPermit | None:
    """The first permit, of one and those around it, whose block goes on."""
    while permit is not None and permit.frame is None:
        permit = permit.around
    return permit


def block_of(
    breaker: LockedCircuit, in_flight: Iterable[object], frame: FrameType
) -> BlockPermit | None:
    """The permit of the block of a breaker that ends here; None if it cannot be told.

    A block ends with its own permit or with none: with another one, a call that goes on would end.

    Args:
        breaker: The breaker.
        in_flight: Its calls in flight.
        frame: The stack frame that has the block.
    """
    around: list[BlockPermit] = []
    permit = innermost_of(innermost.get())
    while permit is not None:
        if permit.breaker is breaker:
            if permit.frame is frame:
                return permit
            around.append(permit)
        permit = innermost_of(permit.around)
    # It was entered in another context: a thread pool that runs a generator step by step has one
    # context for each step. The frame is the same.
    for call in in_flight:
        # Another thread may have been admitted just now, and have no frame yet.
        if isinstance(call, BlockPermit) and getattr(call, "frame", None) is frame:
            return call
    # It was entered for somebody else: an ExitStack has other frames at the entry and at the exit.
    return around[0] if around else None


def give_up(permit: BlockPermit | None, frame: FrameType) -> None:
    """Cancel the call of a block whose entry or exit was interrupted, if that frame has it."""
    if permit is not None and permit.frame is frame:
        permit.frame = None
        permit.cancel()
