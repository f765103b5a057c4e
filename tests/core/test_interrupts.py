"""A signal handler that raises: wherever it strikes, the call ends and the caller is told."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from tests.support.interrupts import Interrupt, Scenario, Work, drive, storm
from tests.support.training import record

from recloser import Breaker, LoosePermit, Outcome, Permit, Registry, State

# Admission


def admit(registry: Registry) -> Work:
    breaker, kept = registry["app"], []

    def work() -> None:
        # Kept until it is ended below, outside of what is struck.
        kept.append(breaker.admit(LoosePermit))

    return ending_after(work, kept)


def admit_strict(registry: Registry) -> Work:
    breaker, kept = registry["app"], []

    def work() -> None:
        kept.append(breaker.admit_strict(Permit))

    return ending_after(work, kept)


def ending_after(work: Work, kept: list[Any]) -> Work:
    """End what was admitted: an interrupt after that is the caller's."""

    def both() -> None:
        work()
        sys.setprofile(None)
        for admission in kept:
            if isinstance(admission, Permit):
                admission.cancel()

    return both


def to_an_open_breaker(admission: Scenario) -> Scenario:
    def opened(registry: Registry) -> Work:
        registry["app"].open()
        return admission(registry)

    return opened


def while_limited(admission: Scenario) -> Scenario:
    """The clock stands still, so a limit is set by hand."""

    def limited(registry: Registry) -> Work:
        put_a_limit(registry["app"])
        return admission(registry)

    return limited


def put_a_limit(breaker: Breaker) -> None:
    record(breaker, 100, success=True)
    record(breaker, 5, success=True, latency=1.0)
    assert breaker.state is State.LIMITED


def as_a_probe(admission: Scenario) -> Scenario:
    def due(registry: Registry) -> Work:
        registry["app"].open(for_=0.0)
        return admission(registry)

    return due


ADMISSIONS = {
    "admit": admit,
    "admit_strict": admit_strict,
    "admit as a probe": as_a_probe(admit),
    "admit_strict as a probe": as_a_probe(admit_strict),
    "admit while limited": while_limited(admit),
    "admit_strict while limited": while_limited(admit_strict),
    "admit while open": to_an_open_breaker(admit),
    "admit_strict while open": to_an_open_breaker(admit_strict),
}


@pytest.mark.parametrize("learned", [True, False], ids=["learned", "fresh"])
@pytest.mark.parametrize("scenario", ADMISSIONS.values(), ids=ADMISSIONS.keys())
def test_an_interrupted_admission_admits_nothing(scenario: Scenario, learned: bool) -> None:
    assert storm(scenario, learned=learned) >= 2


# The end of a call

ENDS: dict[str, Callable[[Permit], object]] = {
    "success": lambda permit: permit.success(),
    "failure": lambda permit: permit.failure("HTTP 503", retry_after=3.0),
    "throttled": lambda permit: permit.throttled(3.0),
    "ignore": lambda permit: permit.ignore(),
    "cancel": lambda permit: permit.cancel(),
    "end": lambda permit: permit.end(Outcome.FAILURE, error="HTTP 503"),
    "end by an error": lambda permit: permit.end_by_error(OSError("down")),
}


@pytest.mark.parametrize("slow", [False, True], ids=["in time", "slow"])
@pytest.mark.parametrize("learned", [True, False], ids=["learned", "fresh"])
@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS.keys())
def test_an_interrupted_end_is_one_or_can_be_told_again(
    end: Callable[[Permit], object], learned: bool, slow: bool
) -> None:
    def scenario(registry: Registry) -> Work:
        permit = registry["app"].admit_strict(Permit)
        assert isinstance(permit, Permit)
        if slow:
            permit.started -= 100.0

        def work() -> None:
            try:
                end(permit)
            except Interrupt as error:
                sys.setprofile(None)
                permit.end_by_error(error)
                raise

        return work

    assert storm(scenario, learned=learned) >= 2


@pytest.mark.parametrize("slow", [False, True], ids=["in time", "slow"])
@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS.keys())
def test_an_interrupted_end_while_limited_leaves_no_call_on_the_list_of_the_limit(
    end: Callable[[Permit], object], slow: bool
) -> None:
    def scenario(registry: Registry) -> Work:
        put_a_limit(registry["app"])
        permit = registry["app"].admit_strict(Permit)
        assert isinstance(permit, Permit)
        if slow:
            permit.started -= 100.0
        limit = registry["app"]._circuit.limit
        assert limit is not None

        def work() -> None:
            interrupted: Interrupt | None = None
            try:
                end(permit)
            except Interrupt as error:
                interrupted = error
            sys.setprofile(None)
            if interrupted is not None:
                permit.end_by_error(interrupted)
            assert registry["app"].metrics().in_flight == 0
            assert not limit._in_flight
            if interrupted is not None:
                raise interrupted

        return work

    assert storm(scenario, learned=False) >= 2


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS.keys())
def test_after_an_interrupted_end_a_permit_may_be_lost(end: Callable[[Permit], object]) -> None:
    def scenario(registry: Registry) -> Work:
        kept = [registry["app"].acquire()]

        def work() -> None:
            try:
                end(kept[0])
            finally:
                sys.setprofile(None)
                kept.clear()

        return work

    assert storm(scenario, learned=True) >= 2


# Whole calls


def decorated(registry: Registry) -> Work:
    return registry["app"](lambda: 1)


def called(registry: Registry) -> Work:
    return lambda: registry["app"].call(lambda: 1)


def failing(registry: Registry) -> Work:
    @registry["app"]
    def fail() -> None:
        raise OSError("down")

    def work() -> None:
        with suppress(OSError):
            fail()

    return work


def in_a_block(registry: Registry) -> Work:
    def work() -> None:
        with registry["app"]:
            pass

    return work


def in_failing_blocks(registry: Registry) -> Work:
    def work() -> None:
        with suppress(OSError), registry["outer"], registry["app"], registry["app"]:
            raise OSError("down")

    return work


def in_an_async_block(registry: Registry) -> Work:
    async def block() -> None:
        async with registry["app"]:
            pass

    return lambda: drive(block())


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
@pytest.mark.parametrize("learned", [True, False], ids=["learned", "fresh"])
@pytest.mark.parametrize(
    "scenario", [decorated, called, failing, in_a_block, in_failing_blocks, in_an_async_block]
)
def test_an_interrupted_call_is_in_flight_no_longer(scenario: Scenario, learned: bool) -> None:
    assert storm(scenario, learned=learned) >= 5
