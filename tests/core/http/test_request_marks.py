"""Request marks: what handlers and other breakers find in a request."""

from __future__ import annotations

import pickle
from typing import Any

from recloser import Mode, Permit, Registry
from recloser._http.request_marks import (
    PERMIT,
    REFUSED,
    RequestPermit,
    note_refusal,
    permit_of,
)


def test_where_no_breaker_guards_there_is_a_permit_without_effect() -> None:
    permit = permit_of({})

    permit.mark()
    permit.failure("stale data served")

    assert permit.ended
    assert not permit.is_probe
    assert permit.breaker.metrics().calls == 0


def request_within(*keys: str) -> dict[str, Any]:
    """A request that breakers of these keys guard, the last one innermost."""
    registry, request = Registry(), dict[str, Any]()
    around: Permit | None = None
    for key in keys:
        permit = registry[key].acquire()
        permit.outer, around = around, permit
        request[PERMIT] = permit
    return request


def test_a_handler_finds_the_permit_of_the_innermost_breaker() -> None:
    assert permit_of(request_within("outer", "inner")).breaker.key == "inner"


def test_a_refusal_is_marked_and_ends_all_calls_around_without_a_vote() -> None:
    request = request_within("outer", "inner")
    inner = permit_of(request)
    outer = inner.outer

    note_refusal(request)

    assert request[REFUSED] is True
    assert outer is not None
    for permit in (inner, outer):
        assert permit.ended
        assert permit.breaker.metrics().ignored == 1


def test_a_refusal_that_no_breaker_is_around_is_only_marked() -> None:
    request: dict[str, Any] = {}

    note_refusal(request)

    assert request == {REFUSED: True}


class RefusedError(Exception):
    """An error such as a web framework's, with a status."""

    status_code = 404


def test_what_a_handler_raises_is_its_own_failure_whatever_status_it_has(
    registry: Registry,
) -> None:
    permit = registry["app"].admit_strict(RequestPermit)
    assert isinstance(permit, RequestPermit)

    permit.end_by_error(RefusedError())

    assert registry["app"].metrics().failures == 1


def test_the_permit_of_a_request_that_was_pickled_guards_nothing(registry: Registry) -> None:
    permit = registry["app"].admit_strict(RequestPermit)
    assert isinstance(permit, RequestPermit)

    unpickled = pickle.loads(pickle.dumps(permit))

    assert unpickled.ended
    assert unpickled.breaker.mode is Mode.DISABLED
    assert not permit.ended
    permit.success()
