"""Outcome: what a status and an exception say about the callee."""

from __future__ import annotations

import asyncio

import pytest

from recloser import BreakerOpenError, Outcome, State
from recloser._classify_error import classify_error

REFUSAL = BreakerOpenError("k", State.OPEN, None, 1.0)


class NotAnException(BaseException):
    """Like trio.Cancelled and gevent's GreenletExit."""


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (101, Outcome.SUCCESS),
        (200, Outcome.SUCCESS),
        (304, Outcome.SUCCESS),
        (399, Outcome.SUCCESS),
        (400, Outcome.IGNORED),
        (404, Outcome.IGNORED),
        (408, Outcome.IGNORED),
        (429, Outcome.IGNORED),
        (499, Outcome.IGNORED),
        (500, Outcome.FAILURE),
        (503, Outcome.FAILURE),
        (599, Outcome.FAILURE),
    ],
)
def test_inbound_only_5xx_is_the_handlers_fault(status: int, outcome: Outcome) -> None:
    assert Outcome.of_status(status) is outcome


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (200, Outcome.SUCCESS),
        (302, Outcome.SUCCESS),
        (400, Outcome.IGNORED),
        (401, Outcome.IGNORED),
        (408, Outcome.FAILURE),
        (422, Outcome.IGNORED),
        (429, Outcome.THROTTLED),
        (500, Outcome.FAILURE),
        (529, Outcome.FAILURE),
    ],
)
def test_outbound_a_time_out_fails_and_429_throttles(status: int, outcome: Outcome) -> None:
    assert Outcome.of_upstream_status(status) is outcome


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (ValueError(), Outcome.FAILURE),
        (TimeoutError(), Outcome.FAILURE),
        (REFUSAL, Outcome.IGNORED),
        (asyncio.CancelledError(), Outcome.CANCELLED),
        (GeneratorExit(), Outcome.CANCELLED),
        (KeyboardInterrupt(), Outcome.CANCELLED),
        (SystemExit(1), Outcome.CANCELLED),
        (NotAnException(), Outcome.CANCELLED),
    ],
)
def test_only_an_exception_is_the_callees_fault(error: BaseException, outcome: Outcome) -> None:
    assert Outcome.of_error(error) is outcome


@pytest.mark.parametrize(
    ("leaves", "outcome"),
    [
        ([REFUSAL], Outcome.IGNORED),
        ([REFUSAL, asyncio.CancelledError()], Outcome.CANCELLED),
        ([asyncio.CancelledError(), ValueError(), REFUSAL], Outcome.FAILURE),
        ([ExceptionGroup("", [REFUSAL, ExceptionGroup("", [OSError()])])], Outcome.FAILURE),
        ([BaseExceptionGroup("", [KeyboardInterrupt()]), REFUSAL], Outcome.CANCELLED),
    ],
)
def test_of_a_group_the_worst_leaf_counts(leaves: list[BaseException], outcome: Outcome) -> None:
    assert Outcome.of_error(BaseExceptionGroup("several", leaves)) is outcome


def test_an_error_of_an_sdk_for_our_own_refusal_is_ignored() -> None:
    class Answer:
        status_code = 503
        recloser_refused = True

    class Broken:
        @property
        def recloser_refused(self) -> bool:
            raise LookupError

    error = RuntimeError("503")
    for answer, outcome in ((Answer(), Outcome.IGNORED), (Broken(), Outcome.FAILURE)):
        error.response = answer  # type: ignore[attr-defined]  # as an SDK does
        assert classify_error(error) is outcome
        assert Outcome.of_error(error) is outcome
