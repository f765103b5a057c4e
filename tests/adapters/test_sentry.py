"""The Sentry adapter, with the real SDK and a transport that keeps what it would send."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from typing import Any

import pytest
import sentry_sdk
from sentry_sdk.envelope import Envelope
from sentry_sdk.transport import Transport
from tests.support.waiting import until

from recloser import BreakerOpenError, Mode, Registry, State
from recloser.testing import ManualClock, open_breaker
from recloser_adapters.sentry import Instrumentation, drop_refusals, instrument


class Kept(Transport):
    """Keeps events instead of sending them."""

    def __init__(self, options: Any = None) -> None:
        super().__init__(options)
        self.events: list[Any] = []

    def capture_envelope(self, envelope: Envelope) -> None:
        event = envelope.get_event()
        if event is not None:
            self.events.append(event)


@pytest.fixture
def sentry() -> Generator[Callable[..., list[Any]], None, None]:
    """Initializes the SDK, and returns the list of the events that it sends."""

    def init(**options: Any) -> list[Any]:
        transport = Kept()
        sentry_sdk.init(
            "https://key@sentry.example/1",
            transport=transport,
            default_integrations=False,
            **options,
        )
        return transport.events

    with sentry_sdk.isolation_scope():
        yield init
    sentry_sdk.init()


def until_open(registry: Registry, key: str) -> None:
    while registry[key].state is not State.OPEN:
        registry[key].acquire().failure(OSError("password=hunter2"))


def test_each_change_is_a_breadcrumb_of_its_request(
    registry: Registry, clock: ManualClock, sentry: Any
) -> None:
    events = sentry()
    instrument(registry).end()
    connection = instrument(registry)
    until_open(registry, "shop")
    clock.advance(1000)
    registry["shop"].acquire().success()
    connection.flush(20)
    events.clear()
    sentry_sdk.capture_message("whatever comes next")
    found = events[0]["breadcrumbs"]["values"]

    assert [each["data"]["after"] for each in found] == ["open", "half_open"]
    assert [each["level"] for each in found] == ["warning", "info"]
    assert found[0]["category"] == "recloser"
    assert found[0]["data"]["rule"] == "failures"
    assert "closed -> open" in found[0]["message"]


def test_a_change_is_no_second_breadcrumb_because_it_is_logged(
    registry: Registry, sentry: Any
) -> None:
    from sentry_sdk.integrations.logging import LoggingIntegration

    events = sentry(integrations=[LoggingIntegration()])
    instrument(registry)
    open_breaker(registry["shop"])
    sentry_sdk.capture_message("whatever comes next")

    found = [each["category"] for each in events[0]["breadcrumbs"]["values"]]

    assert [each for each in found if "recloser" in each] == ["recloser"]


def test_all_openings_of_a_key_are_one_issue(
    registry: Registry, clock: ManualClock, sentry: Any
) -> None:
    events = sentry()
    connection = instrument(registry)
    until_open(registry, "shop")
    clock.advance(1000)
    registry["shop"].acquire().failure(OSError())  # the same outage
    registry["shop"].reset()
    until_open(registry, "shop")
    until_open(registry, "bar")
    assert connection.flush(20)

    assert [event["fingerprint"] for event in events] == [
        ["recloser", "shop"],
        ["recloser", "shop"],
        ["recloser", "bar"],
    ]
    event = events[0]
    assert event["level"] == "warning"
    assert event["tags"]["recloser.key"] == "shop"
    facts = event["contexts"]["recloser"]
    assert facts["rule"] == "failures"
    assert facts["bad_calls"][-1]["outcome"] == "failure"
    assert "hunter2" not in repr(events)


def test_an_event_has_nothing_of_the_request_that_met_it(registry: Registry, sentry: Any) -> None:
    events = sentry()
    connection = instrument(registry)
    sentry_sdk.set_user({"id": "alice"})
    sentry_sdk.add_breadcrumb(message="alice logged in")
    until_open(registry, "shop")
    assert connection.flush(20)

    assert "alice" not in repr(events)


def test_what_was_only_observed_is_no_warning(registry: Registry, sentry: Any) -> None:
    registry.mode = Mode.OBSERVE
    events = sentry()
    connection = instrument(registry)
    until_open(registry, "shop")
    assert connection.flush(20)
    (event,) = events

    assert event["level"] == "info"
    assert "would have opened" in event["message"]


def test_what_is_opened_by_hand_is_no_issue(registry: Registry, sentry: Any) -> None:
    events = sentry()
    connection = instrument(registry)
    open_breaker(registry["shop"])

    assert connection.flush(20)
    assert not events


def refuse(registry: Registry) -> None:
    open_breaker(registry["shop"])
    registry["shop"].acquire()


def raise_from(registry: Registry) -> None:
    try:
        refuse(registry)
    except BreakerOpenError as refusal:
        raise LookupError from refusal


def raise_group(registry: Registry) -> None:
    try:
        refuse(registry)
    except BreakerOpenError as refusal:
        raise ExceptionGroup("both", [refusal, refusal]) from None


def raise_meanwhile(registry: Registry) -> None:
    try:
        refuse(registry)
    except BreakerOpenError:
        raise LookupError  # noqa: B904 - a mistake in a fallback


def raise_mixed(registry: Registry) -> None:
    try:
        refuse(registry)
    except BreakerOpenError as refusal:
        raise ExceptionGroup("one of them", [refusal, LookupError()]) from None


@pytest.mark.parametrize(
    ("fail", "kept"),
    [(refuse, 0), (raise_from, 0), (raise_group, 0), (raise_meanwhile, 1), (raise_mixed, 1)],
)
def test_refusals_are_dropped_and_nothing_else(
    registry: Registry, sentry: Any, fail: Callable[[Registry], None], kept: int
) -> None:
    events = sentry(before_send=drop_refusals)
    try:
        fail(registry)
    except Exception:
        sentry_sdk.capture_exception()

    assert len(events) == kept


def test_messages_are_kept(sentry: Any) -> None:
    events = sentry(before_send=drop_refusals)
    sentry_sdk.capture_message("hello")

    assert len(events) == 1


def test_a_hook_that_hangs_delays_nobody_and_what_is_too_much_is_dropped(
    registry: Registry, sentry: Any
) -> None:
    entered, released = threading.Event(), threading.Event()

    def hanging(event: Any, hint: Any) -> Any:
        entered.set()
        assert released.wait(60)
        return event

    events = sentry(before_send=hanging)
    connection: Instrumentation = instrument(registry)
    for number in range(1100):
        until_open(registry, f"shop {number % 900}")
        registry[f"shop {number % 900}"].reset()
    until(entered.is_set, "the hook is called")
    dropped = connection.dropped
    assert 98 <= dropped <= 100
    assert registry.faults == dropped
    released.set()
    assert connection.flush(20)

    assert len(events) == 1100 - dropped


def test_a_hook_that_raises_harms_no_call(registry: Registry, sentry: Any) -> None:
    def broken(event: Any, hint: Any) -> Any:
        raise ZeroDivisionError

    sentry(before_send=broken, before_breadcrumb=broken)
    connection = instrument(registry)
    until_open(registry, "shop")

    assert connection.flush(20)
    assert registry["shop"].state is State.OPEN


def test_without_sentry_nothing_happens(registry: Registry) -> None:
    connection = instrument(registry)
    until_open(registry, "shop")

    assert connection.flush(20)
    assert registry.faults == 0


def test_wrong_arguments_are_told() -> None:
    with pytest.raises(TypeError, match="must be a Registry"):
        instrument("registry")  # type: ignore[arg-type]
