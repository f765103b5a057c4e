"""The items of a guarded generator, or of a stream with failover: pieces of an answer, which may stall.

A generator may be an answer that comes in pieces, or a subscription that is idle until something
happens, or no stream at all, such as that of `contextmanager`. So its items are watched only if
generators of its function were answers: they gave several items, and most ended by themselves (see
`_circuit/subscriptions.py`). What the consumer needs between two items is not the callee's time.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from recloser._permit import Permit

if TYPE_CHECKING:
    from recloser._pieces import Pieces

# A generator with fewer items is no stream.
_SEVERAL = 2


class Items:
    """The items of one generator or stream. None of its methods raises.

    Args:
        permit: The permit of the call.
        kind: The name of the function, or of what else makes such streams.
    """

    __slots__ = ("_items", "_kind", "_permit", "_pieces")

    def __init__(self, permit: Permit, kind: str) -> None:
        self._permit = permit
        self._kind = kind
        self._items = 0
        self._pieces: Pieces | None = None

    def began(self) -> None:
        """The first item has come."""
        permit = self._permit
        self._items = 1
        if permit.answered == inf:
            permit.mark()
        try:
            if permit.breaker.are_answers(self._kind):
                self._pieces = permit.pieces()
        except Exception as error:
            permit.breaker.fault("pieces", error)

    def asked(self) -> None:
        """The consumer wants the next item."""
        if self._pieces is not None:
            self._pieces.asked()

    def arrived(self) -> None:
        """The next item has come."""
        self._items += 1
        if self._pieces is not None:
            self._pieces.arrived()

    def ended(self, *, by_itself: bool) -> None:
        """It has ended, by itself or because its consumer left."""
        if self._pieces is not None:
            self._pieces.arrived()  # what comes after the last item took so long
        items, self._items = self._items, 0
        if items < _SEVERAL:
            return
        permit = self._permit
        try:
            prompt = permit.answered - permit.started <= permit.breaker.slow_threshold
            permit.breaker.learn_stream(self._kind, prompt=prompt, ended=by_itself)
        except Exception as error:
            permit.breaker.fault("pieces", error)
