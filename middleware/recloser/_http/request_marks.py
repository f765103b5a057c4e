"""What a request carries for handlers and for breakers further in or out.

A request is a mutable mapping: the scope of ASGI or the environ of WSGI.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

from recloser._breaker import Breaker
from recloser._permit import Permit, voteless
from recloser._state import Mode

PERMIT = "recloser.permit"
"""The key in a scope or environ for the `Permit` of the innermost breaker around the handler."""
REFUSED = "recloser.refused"
"""The key in a scope or environ that is True after a refusal: breakers outside must not count it."""
REFUSAL = "recloser.refusal"
"""The key in a scope or environ where `on_refuse` finds the `BreakerOpenError`."""

Request = MutableMapping[str, Any]

_VOTELESS = voteless(Breaker("<unguarded>", mode=Mode.DISABLED), Permit)


def _unguarded() -> Permit:
    """The permit of a request that was pickled: where it is unpickled, its call is not known."""
    return _VOTELESS


class RequestPermit(Permit):
    """The permit of a request. What its handler raises reaches the client as a 500.

    Requests are pickled, and their permit with them, but not its breaker.
    """

    __slots__ = ()

    reads_status = False

    def __reduce__(self) -> tuple[Any, ...]:
        return _unguarded, ()


def is_within(permit: Permit | None, breaker: Breaker) -> bool:
    """Whether this breaker guards the request already, by a middleware outside."""
    while permit is not None:
        if permit.breaker is breaker and not permit.ended:
            return True
        permit = permit.outer
    return False


def permit_of(request: Request) -> Permit:
    """The permit of the innermost breaker around a handler; one without effect if there is none.

    Args:
        request: The scope or environ.
    """
    permit: Permit = request.get(PERMIT, _VOTELESS)
    return permit


def note_refusal(request: Request) -> None:
    """Mark a request as refused, and end the calls of the breakers outside without a vote.

    The handler was not called, so the answer says nothing about it. The mark alone is not enough:
    a middleware in between may have copied the request.
    """
    request[REFUSED] = True
    ignore_all(request.get(PERMIT))


def ignore_all(permit: Permit | None) -> None:
    """End a call and those around it without a vote."""
    while permit is not None:
        permit.ignore()
        permit = permit.outer
