"""A permit that is reported ends as one that is not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from tests.support.breaker_state import votes

from recloser import Breaker, LoosePermit, Outcome, Policy, Registry
from recloser.testing import ManualClock, open_breaker
from recloser_adapters._outbound.permit import CallReport, ReportedPermit, WatchingPermit

COUNTED = {
    "successes": Outcome.SUCCESS,
    "failures": Outcome.FAILURE,
    "throttled": Outcome.THROTTLED,
    "ignored": Outcome.IGNORED,
    "cancelled": Outcome.CANCELLED,
}


class _Strange(type):
    def __instancecheck__(cls, instance: object) -> bool:
        if isinstance(instance, ZeroDivisionError):
            raise RuntimeError("a bug of the user's")
        return False


class StrangeError(Exception, metaclass=_Strange):
    pass


class StatusError(Exception):
    status = status_code = 404


@pytest.fixture
def registry(clock: ManualClock) -> Registry:
    return Registry(Policy(ignore_errors=(LookupError, StrangeError)), clock=clock)


def admitted(breaker: Breaker) -> WatchingPermit:
    permit = breaker.admit(WatchingPermit)
    assert isinstance(permit, WatchingPermit)
    return permit


def refusal() -> BaseException:
    other = Breaker("other")
    open_breaker(other)
    return other.refusal()


def group() -> BaseException:
    return BaseExceptionGroup("several", [OSError(), refusal()])


def group_of_nobodys_fault() -> BaseException:
    return BaseExceptionGroup("several", [KeyboardInterrupt(), refusal()])


@pytest.mark.parametrize(
    "raised",
    [
        OSError,
        KeyError,
        StatusError,
        refusal,
        asyncio.CancelledError,
        KeyboardInterrupt,
        GeneratorExit,
        ZeroDivisionError,
        group,
        group_of_nobodys_fault,
    ],
)
def test_an_error_means_the_same_reported_or_not(
    registry: Registry, raised: Callable[[], BaseException]
) -> None:
    reports: list[CallReport] = []

    admitted(registry["plain"]).end_by_error(raised())
    faults = registry.faults
    ReportedPermit(admitted(registry["k"]), registry, reports.append).end_by_error(raised())

    counted = votes(registry["k"].metrics())
    assert counted == votes(registry["plain"].metrics())
    assert [report.outcome for report in reports] == [COUNTED[name] for name in counted]
    assert registry.faults == 2 * faults


@pytest.mark.parametrize(
    ("end", "outcome"),
    [
        *[
            pytest.param(lambda permit, each=each: permit.end(each), each, id=each.value)
            for each in Outcome
        ],
        pytest.param(lambda permit: permit.success(), Outcome.SUCCESS, id="by success()"),
        pytest.param(
            lambda permit: permit.end(Outcome.THROTTLED, retry_after=2.0),
            Outcome.THROTTLED,
            id="asked to wait",
        ),
        pytest.param(
            lambda permit: permit.end(Outcome.THROTTLED, quota=True),
            Outcome.THROTTLED,
            id="out of quota",
        ),
    ],
)
def test_each_end_is_reported_once(
    registry: Registry, end: Callable[[Any], None], outcome: Outcome
) -> None:
    reports: list[CallReport] = []
    permit = ReportedPermit(admitted(registry["k"]), registry, reports.append)

    assert permit.outcome is None
    end(permit)
    permit.end(Outcome.FAILURE)
    permit.success()

    assert permit.outcome is outcome
    assert [report.outcome for report in reports] == [outcome]
    assert [COUNTED[name] for name in votes(registry["k"].metrics())] == [outcome]


def test_the_latency_is_none_before_it_was_taken(registry: Registry, clock: ManualClock) -> None:
    reports: list[CallReport] = []
    for marked in (False, True):
        permit = ReportedPermit(admitted(registry["k"]), registry, reports.append)
        clock.advance(0.5)
        if marked:
            permit.mark()
        clock.advance(1.0)
        permit.end(Outcome.SUCCESS)

    assert [report.latency for report in reports] == [None, pytest.approx(0.5)]
    assert [report.duration for report in reports] == [pytest.approx(1.5)] * 2


def test_a_permit_that_is_dropped_is_reported_as_cancelled(registry: Registry) -> None:
    reports: list[CallReport] = []
    permit = ReportedPermit(admitted(registry["k"]), registry, reports.append)

    del permit

    assert [report.outcome for report in reports] == [Outcome.CANCELLED]
    assert votes(registry["k"].metrics()) == {"cancelled": 1}


def test_the_time_for_which_a_reported_call_waits_for_its_caller_is_no_latency(
    registry: Registry, clock: ManualClock
) -> None:
    reports: list[CallReport] = []
    permit = registry["k"].admit(LoosePermit)
    assert isinstance(permit, LoosePermit)
    reported = ReportedPermit(permit, registry, reports.append)
    clock.advance(0.1)
    reported.wait()
    clock.advance(60.0)
    reported.go_on(60.0)
    clock.advance(0.1)

    reported.pieces()
    clock.advance(5.0)
    reported.success()

    assert [report.latency for report in reports] == [pytest.approx(0.2)]
    assert registry["k"].metrics().mean == pytest.approx(0.2)
