"""Verdicts on the beginning of a body, without a client: when they are asked, and what they decide."""

from __future__ import annotations

import gzip
from typing import Any

import pytest
from tests.support.breaker_state import votes
from tests.support.named_waits import record_waits

from recloser import LoosePermit, Outcome, Registry, State

pytest.importorskip("recloser_adapters")
from recloser_adapters._outbound.body import BodyWatch
from recloser_adapters._outbound.errors_in_200 import BodyError
from recloser_adapters._outbound.permit import ReportedPermit
from recloser_adapters._outbound.verdicts import (
    FixedWatch,
    VerdictWatch,
)

BEGINNING = 16_384
TAIL = 2_048
FAILED = BodyError(Outcome.FAILURE, "verdict")


class Told(BodyWatch):
    """A watch that keeps what it is told."""

    __slots__ = ("is_decided", "size", "told")

    def __init__(self, permit: Any) -> None:
        super().__init__(permit)
        self.told: list[Any] = []
        self.is_decided = True
        self.size: float | None = None  # of the call, before its end

    decided = property(lambda self: self.is_decided)
    cuts_off = property(lambda self: True)
    patience = property(lambda self: 3.0)
    longest_wait = property(lambda self: 4.0)

    def arrived(self, data: bytes) -> None:
        self.told.append(("arrived", data))

    def asked(self) -> None:
        self.told.append("asked")

    def chunk(self, data: bytes) -> None:
        self.told.append(("chunk", data))

    def eof(self) -> None:
        self.told.append("eof")
        permit: Any = self._permit
        self.size = getattr(permit, "_permit", permit).size
        super().eof()

    def closed(self) -> None:
        self.told.append("closed")
        super().closed()

    def failed(self, error: BaseException, *, local: bool = False) -> None:
        self.told.append(("failed", error, local))
        super().failed(error, local=local)


class Case:
    """A watch with a judge, and what both were told."""

    def __init__(
        self,
        registry: Registry,
        says: BodyError | Exception | None = None,
        *,
        encoding: str = "",
        good: bool = True,
        reported: bool = False,
        request_bytes: int = 0,
    ) -> None:
        admitted = registry["k"].admit(LoosePermit)
        assert isinstance(admitted, LoosePermit)
        self.admitted = admitted
        self.permit: LoosePermit | ReportedPermit = admitted
        if reported:
            self.permit = ReportedPermit(admitted, registry, None)
            self.permit.request_bytes = request_bytes
        self.judged: list[tuple[bytes, bool]] = []
        self.inner = Told(self.permit)

        def judge(beginning: bytes, whole: bool) -> BodyError | None:
            self.judged.append((beginning, whole))
            if isinstance(says, Exception):
                raise says
            return says

        self.watch = VerdictWatch(self.permit, self.inner, encoding, judge, registry, good=good)


# When it is asked


def test_the_watch_that_was_chosen_is_told_everything_and_asked_everything(
    registry: Registry,
) -> None:
    case, error = Case(registry), OSError()
    watch = case.watch
    assert (watch.cuts_off, watch.patience, watch.longest_wait) == (True, 3.0, 4.0)
    assert watch.reads

    watch.arrived(b"a")
    watch.asked()
    watch.chunk(b"b")
    watch.failed(error, local=True)

    assert case.inner.told == [("arrived", b"a"), "asked", ("chunk", b"b"), ("failed", error, True)]
    assert votes(registry["k"].metrics()) == {"ignored": 1}
    assert case.judged == []
    watch.closed()
    assert case.judged == []


def test_an_error_of_the_wire_is_a_failure(registry: Registry) -> None:
    case = Case(registry)

    case.watch.failed(OSError())

    assert votes(registry["k"].metrics()) == {"failures": 1}


@pytest.mark.parametrize(("end", "whole"), [("eof", True), ("closed", False)])
@pytest.mark.parametrize("pieces", [[], [b"ab"], [b"a", b"", b"b"], [b"x" * (BEGINNING - 1)]])
def test_of_a_short_body_it_is_asked_at_the_end(
    registry: Registry, end: str, whole: bool, pieces: list[bytes]
) -> None:
    case = Case(registry)
    for piece in pieces:
        case.watch.chunk(piece)
        assert not case.watch.decided
    assert case.judged == []

    getattr(case.watch, end)()

    assert case.judged == [(b"".join(pieces), whole)]
    assert case.watch.decided
    assert case.inner.told[-1] == end
    assert votes(registry["k"].metrics()) == {"successes": 1}


@pytest.mark.parametrize("more", [0, 1, 30_000])
@pytest.mark.parametrize("reported", [True, False])
def test_of_a_long_body_it_is_asked_once_about_the_beginning(
    registry: Registry, more: int, reported: bool
) -> None:
    case = Case(registry, reported=reported, request_bytes=256)
    case.watch.chunk(b"x" * 4)
    case.watch.chunk(b"y" * (BEGINNING - 4 + more))
    assert case.judged == [(b"xxxx" + b"y" * (BEGINNING - 4), False)]
    assert case.watch.decided
    case.inner.is_decided = False
    assert not case.watch.decided

    case.watch.chunk(b"z" * BEGINNING)
    case.watch.eof()

    assert len(case.judged) == 1
    assert len(case.watch._seen) == 0
    assert case.inner.told[-2:] == [("chunk", b"z" * BEGINNING), "eof"]


def test_what_is_judged_is_decoded(registry: Registry) -> None:
    case = Case(registry, encoding="gzip")

    case.watch.chunk(gzip.compress(b"said"))
    case.watch.eof()

    assert case.judged == [(b"said", True)]


def test_what_cannot_be_decoded_is_not_judged(registry: Registry) -> None:
    case = Case(registry, FAILED, encoding="rot13")

    case.watch.chunk(b"\x00fnvq")
    case.watch.eof()

    assert case.judged == []
    assert votes(registry["k"].metrics()) == {"successes": 1}


# What it decides


@pytest.mark.parametrize(
    ("good", "outcome", "vote"),
    [
        (True, Outcome.FAILURE, "failures"),
        (True, Outcome.IGNORED, "ignored"),
        (False, Outcome.FAILURE, "failures"),
        (False, Outcome.SUCCESS, "successes"),
    ],
)
def test_a_verdict_ends_the_call_before_the_rest_of_its_body(
    registry: Registry, good: bool, outcome: Outcome, vote: str
) -> None:
    case = Case(registry, BodyError(outcome, "v"), good=good)
    case.watch.chunk(b"x" * BEGINNING)

    assert case.admitted.ended
    case.watch.failed(OSError())
    assert votes(registry["k"].metrics()) == {vote: 1}


def test_a_success_of_a_good_answer_may_still_break_off(registry: Registry) -> None:
    case = Case(registry, BodyError(Outcome.SUCCESS, "v"))
    case.watch.chunk(b"x" * BEGINNING)
    assert not case.admitted.ended

    case.watch.failed(OSError())

    assert votes(registry["k"].metrics()) == {"failures": 1}


def test_the_pause_that_a_body_asks_for_is_obeyed(registry: Registry) -> None:
    for _ in range(4):
        case = Case(registry, BodyError(Outcome.THROTTLED, "v"))
        case.watch.chunk(b'{"retry_after": 50}')
        case.watch.eof()

    assert registry["k"].state is State.OPEN
    assert registry["k"].retry_after == pytest.approx(50.0)


def test_a_judge_that_fails_is_a_fault_and_the_watch_decides(registry: Registry) -> None:
    case = Case(registry, ZeroDivisionError())

    case.watch.eof()

    assert registry.faults == 1
    assert votes(registry["k"].metrics()) == {"successes": 1}


# The tokens of an answer


SAID = b'"completion_tokens": 12'


@pytest.mark.parametrize(
    ("before", "after", "settings", "size"),
    [
        (b"", b"", {}, 32.0),
        (b"x" * 3 * BEGINNING, b"", {}, 32.0),
        (b"x" * 3 * BEGINNING, b" " * (TAIL - len(SAID)), {}, 32.0),
        (b"x" * 3 * BEGINNING, b" " * (TAIL - len(SAID) + 1), {}, None),
        (b"", b"", {"request_bytes": 0}, None),
        (b"", b"", {"reported": False}, None),
        (b"", b"", {"good": False}, None),
        (b"", b"", {"says": FAILED}, None),
    ],
)
def test_the_tokens_at_the_end_of_an_answer_are_noted_if_its_size_explains_its_latency(
    registry: Registry, before: bytes, after: bytes, settings: dict[str, Any], size: float | None
) -> None:
    for step in (7_000, 100_000):
        case = Case(registry, **{"reported": True, "request_bytes": 256, **settings})
        body = before + SAID + after
        for at in range(0, len(body), step):
            case.watch.chunk(body[at : at + step])
        assert case.admitted.size is None

        case.watch.eof()

        assert case.inner.size == size


def test_an_answer_of_no_tokens_has_no_size(registry: Registry) -> None:
    case = Case(registry, reported=True, request_bytes=256)
    case.watch.chunk(b'"completion_tokens": 0')

    case.watch.eof()

    assert case.inner.size is None


# A status that is judged by the user, too


@pytest.mark.parametrize("way", ["eof", "closed", "failed"])
def test_a_bad_answer_counts_as_its_status_says_however_its_body_ends(
    registry: Registry, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = record_waits(monkeypatch)
    for _ in range(5):
        permit = registry["k"].admit(LoosePermit)
        assert isinstance(permit, LoosePermit)
        watch = FixedWatch(permit, Outcome.FAILURE, "HTTP 502", 50.0)
        watch.failed(OSError(), local=True) if way == "failed" else getattr(watch, way)()

    assert votes(registry["k"].metrics()) == {"failures": 5}
    assert waits == [50.0] * 5
    assert "HTTP 502" in str(registry["k"].refusal())
