"""Whole calls, and what is known of a call: what a breaker makes of them."""

from __future__ import annotations

import pytest
from tests.support.breaker_state import counts

from recloser import Breaker, BreakerOpenError, Mode, Permit
from recloser.testing import ManualClock, open_breaker

# What is known of a call


@pytest.mark.parametrize("ask", ["acquire", "try_acquire"])
def test_a_label_or_a_size_alone_is_known_of_a_call(breaker: Breaker, ask: str) -> None:
    labelled = getattr(breaker, ask)("export")
    sized = getattr(breaker, ask)(size=5.0)

    assert (labelled.label, labelled.size) == ("export", None)
    assert (sized.label, sized.size) == ("", 4.0)
    labelled.success()
    sized.success()


# Whole calls


def test_a_refused_call_does_not_call(breaker: Breaker) -> None:
    called: list[int] = []
    open_breaker(breaker)

    with pytest.raises(BreakerOpenError):
        breaker.call(called.append, 1)
    with pytest.raises(BreakerOpenError):
        breaker.call(lambda: called.append(2))

    assert called == []
    assert breaker.metrics().refused == 2


def test_where_nothing_is_guarded_a_call_is_made(clock: ManualClock) -> None:
    breaker = Breaker("k", clock=clock, mode=Mode.DISABLED)

    assert breaker.call(lambda: 7) == 7
    with pytest.raises(OSError, match="gone"):
        breaker.call(raises_once_gone)
    assert breaker.metrics().calls == 0


def raises_once_gone() -> None:
    raise OSError("gone")


def test_a_signal_handler_that_strikes_at_the_end_of_a_call_keeps_none_in_flight(
    clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    breaker = Breaker("k", clock=clock)

    def interrupted(*_: object) -> None:
        monkeypatch.undo()
        raise KeyboardInterrupt

    monkeypatch.setattr(Permit, "end_by_error", interrupted)
    with pytest.raises(KeyboardInterrupt) as struck:
        breaker.call(raises_once_gone)

    assert struck.tb is not None  # it keeps the frames
    assert breaker.metrics().in_flight == 0
    assert counts(breaker)["cancel"] == 1
