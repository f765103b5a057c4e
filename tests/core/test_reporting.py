"""What a registry reports of its breakers: bad calls and traces; and what it changes in all of them."""

from __future__ import annotations

import threading
from typing import Any, cast

import pytest
from tests.support.training import learned

from recloser import Mode, Policy, Registry, State, Transition, calling_for
from recloser.testing import ManualClock, open_breaker

# Bad calls and their traces


def test_a_transition_names_the_last_bad_calls_and_their_traces(
    registry: Registry, clock: ManualClock
) -> None:
    breaker, told = registry["k"], Told(registry)
    learned(breaker, clock)
    traces = iter(f"trace {number}" for number in range(100))
    registry.trace = lambda: next(traces)

    while breaker.state is State.CLOSED:
        permit = breaker.acquire()
        clock.advance(0.01)
        permit.failure(ConnectionError("https://user:secret@api.example.org/pay?token=abc"))

    (opened,) = told.transitions
    assert len(opened.bad_calls) == 5
    assert [each.trace for each in opened.bad_calls] == [f"trace {number}" for number in range(5)]
    last = opened.bad_calls[-1]
    assert (last.outcome, last.at) == ("failure", clock())
    assert last.latency == pytest.approx(0.01)
    assert last.error.startswith("ConnectionError: ")
    assert "secret" not in last.error
    assert "abc" not in last.error


class Told:
    """A listener of transitions."""

    def __init__(self, registry: Registry) -> None:
        self.transitions: list[Transition] = []
        registry.subscribe(self)

    def on_transition(self, transition: Transition) -> None:
        self.transitions.append(transition)


def test_bad_calls_of_an_earlier_suspicion_are_not_named(
    registry: Registry, clock: ManualClock
) -> None:
    breaker, told = registry["k"], Told(registry)
    learned(breaker, clock)
    breaker.acquire().failure("HTTP 500")
    for _ in range(300):
        permit = breaker.acquire()
        clock.advance(0.1)
        permit.success()

    while breaker.state is State.CLOSED:
        breaker.acquire().failure("HTTP 502")

    assert {each.error for each in told.transitions[0].bad_calls} == {"HTTP 502"}


def test_calls_that_hang_are_named_as_overdue(registry: Registry, clock: ManualClock) -> None:
    breaker, told = registry["k"], Told(registry)
    learned(breaker, clock)
    running = []
    for _ in range(100):
        permit = breaker.try_acquire()
        if permit is None:
            break
        running.append(permit)
        clock.advance(0.1)

    outcomes = {each.outcome for each in told.transitions[-1].bad_calls}
    assert outcomes == {"overdue"}


def test_a_trace_that_cannot_be_asked_is_a_fault_and_no_more(registry: Registry) -> None:
    def broken() -> str:
        raise RuntimeError("no context")

    registry.trace = broken
    registry["k"].acquire().failure("HTTP 500")

    assert registry.faults == 1
    assert registry["k"].metrics().failures == 1
    with pytest.raises(TypeError, match="trace must be a function"):
        registry.trace = cast("Any", "an id")


def test_who_asks_for_the_trace_is_kept_until_it_is_taken_away(registry: Registry) -> None:
    def trace() -> str:
        return "trace 1"

    assert registry.trace is None
    registry.trace = trace
    assert registry.trace is trace
    registry.trace = None
    assert registry.trace is None


# Policies, modes and shares of all


def test_policies_are_replaced_at_run_time(registry: Registry, clock: ManualClock) -> None:
    a, b = registry["GET /a"], registry["GET /b"]
    own = registry.with_policy("wait", Policy(min_failures=1))
    learned(a, clock)

    registry.policy = Policy(min_failures=11)
    registry.set_policy("GET /b*", Policy(min_failures=12, mode="observe", enforce_share=0.5))

    assert (a.policy.min_failures, b.policy.min_failures) == (11, 12)
    assert own.policy.min_failures == 1
    assert (b.mode, b.enforce_share) == (Mode.OBSERVE, 0.5)
    assert (a.mode, a.enforce_share) == (Mode.ENFORCE, 1.0)
    assert registry["GET /bb"].policy is b.policy
    assert a.metrics().p50 > 0.0
    assert registry.named == ("GET /b*",)


def test_a_new_policy_keeps_what_was_set_by_hand(registry: Registry) -> None:
    breaker = registry["pay"]
    breaker.mode, breaker.enforce_share = "observe", 0.1

    registry.set_policy("pay", Policy(min_failures=7))

    assert (breaker.policy.min_failures, breaker.mode, breaker.enforce_share) == (
        7,
        Mode.OBSERVE,
        0.1,
    )


def test_a_policy_of_its_own_stays_unless_the_key_is_named(registry: Registry) -> None:
    breaker = registry["pay"]
    breaker.policy = Policy(min_failures=6)

    registry.set_policy("p*", Policy(min_failures=7))
    assert breaker.policy.min_failures == 6
    registry.set_policy("pay", Policy(min_failures=8))
    assert breaker.policy.min_failures == 8


def test_a_key_that_is_made_while_a_policy_is_set_has_one_of_both_and_the_new_one_in_the_end(
    registry: Registry,
) -> None:
    over = threading.Event()
    made: list[str] = []

    def make() -> None:
        while not over.is_set() and len(made) < 900:
            made.append(registry[f"key {len(made)}"].key)

    thread = threading.Thread(target=make)
    thread.start()
    try:
        for number in range(1, 60):
            registry.policy = Policy(min_failures=number)
    finally:
        over.set()
        thread.join()

    assert {registry[key].policy.min_failures for key in made} <= {59}


def test_a_mode_of_a_policy_counts_more_than_that_of_the_registry(clock: ManualClock) -> None:
    registry = Registry(
        clock=clock, mode="observe", enforce_share=0.5, policies={"pay": Policy(mode="enforce")}
    )
    assert (registry["pay"].mode, registry["get"].mode) == (Mode.ENFORCE, Mode.OBSERVE)

    registry.mode = "disabled"
    assert (registry["pay"].mode, registry["get"].mode) == (Mode.ENFORCE, Mode.DISABLED)
    registry.enforce_share = 0.75
    assert {each.enforce_share for each in registry} == {registry.enforce_share} == {0.75}


def test_the_address_of_the_client_is_the_caller_of_a_web_request(clock: ManualClock) -> None:
    from recloser.wsgi import BreakerMiddleware

    registry = Registry(clock=clock, enforce_share=0.5)

    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Length", "0")])
        return []

    guarded = BreakerMiddleware(app, registry, key=lambda environ: "k")
    open_breaker(registry["k"])

    def status(address: str) -> str:
        statuses: list[str] = []
        environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "REMOTE_ADDR": address}
        body = guarded(environ, lambda status, headers, *_: cast("Any", statuses.append(status)))
        list(body)
        getattr(body, "close", lambda: None)()
        return statuses[0][:3]

    addresses = [f"10.0.0.{host}" for host in range(60)]
    first = [status(address) for address in addresses]
    assert set(first) == {"200", "503"}
    assert [status(address) for address in addresses] == first
    with calling_for("the same for all"):
        assert len({status(address) for address in addresses}) == 1
