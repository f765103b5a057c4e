"""Permits of outbound calls, without a client: what they tell their watchers, their user, their scope."""

from __future__ import annotations

from math import inf
from types import SimpleNamespace

import pytest
from tests.support.breaker_state import votes
from tests.support.named_waits import record_waits

from recloser import LoosePermit, Outcome, Registry
from recloser.testing import ManualClock

pytest.importorskip("recloser_adapters")
from recloser_adapters._outbound.permit import (
    CallReport,
    ReportedPermit,
    ScopedPermit,
    WatchingPermit,
)
from recloser_adapters._outbound.scopes import Scopes, scopes_of

KEY, SCOPE = "h", "h a (credential 1)"


def admitted(registry: Registry) -> WatchingPermit:
    permit = registry[KEY].admit(WatchingPermit)
    assert isinstance(permit, WatchingPermit)
    return permit


@pytest.fixture
def scopes(registry: Registry) -> Scopes:
    return scopes_of(registry)


@pytest.fixture
def reports() -> list[CallReport]:
    return []


# A permit that is a watch


def test_a_permit_that_watches_does_not_read(registry: Registry) -> None:
    permit = admitted(registry)

    assert (permit.reads, permit.decided, permit.cuts_off) == (False, True, False)
    assert (permit.patience, permit.longest_wait) == (inf, inf)
    assert permit.reads_status is False
    chunks = [b"a", b"b"]
    assert permit.watched(chunks) is chunks
    permit.arrived(b"a")
    permit.asked()
    permit.chunk(b"a")
    assert not permit.ended
    permit.ignore()


@pytest.mark.parametrize("way", ["eof", "closed"])
def test_the_end_and_the_close_of_its_body_are_a_success(registry: Registry, way: str) -> None:
    permit = admitted(registry)

    getattr(permit, way)()
    permit.failed(OSError())

    assert votes(registry[KEY].metrics()) == {"successes": 1}


class StatusError(Exception):
    status_code = 404


@pytest.mark.parametrize(
    ("error", "local", "vote"),
    [
        (ConnectionResetError(), False, "failures"),
        (StatusError(), False, "failures"),
        (ConnectionResetError(), True, "ignored"),
        (KeyboardInterrupt(), False, "cancelled"),
    ],
)
def test_an_error_of_its_body_is_a_failure_unless_it_is_the_callers_own(
    registry: Registry, error: BaseException, local: bool, vote: str
) -> None:
    """It has no status to read: that of the answer was judged before."""
    admitted(registry).failed(error, local=local)

    assert votes(registry[KEY].metrics()) == {vote: 1}


def test_an_error_is_not_local_unless_that_is_said(registry: Registry) -> None:
    admitted(registry).failed(OSError())

    assert votes(registry[KEY].metrics()) == {"failures": 1}


# A permit that reports


def test_a_report_has_the_key_the_outcome_and_both_times(
    registry: Registry, clock: ManualClock, reports: list[CallReport]
) -> None:
    clock.advance(7.0)
    permit = ReportedPermit(admitted(registry), registry, reports.append)
    assert permit.breaker is registry[KEY]
    assert permit.started == clock()
    assert permit.timeout == registry[KEY].policy.slow_ceiling
    clock.advance(0.25)
    permit.mark()
    clock.advance(1.0)
    permit.end(Outcome.IGNORED)

    assert reports == [CallReport(KEY, Outcome.IGNORED, 0.25, 1.25)]


def test_a_user_who_fails_is_a_fault_and_the_call_has_ended(registry: Registry) -> None:
    def on_end(report: CallReport) -> None:
        raise ZeroDivisionError

    ReportedPermit(admitted(registry), registry, on_end).success()

    assert registry.faults == 1
    assert votes(registry[KEY].metrics()) == {"successes": 1}


def test_nobody_need_be_told(registry: Registry) -> None:
    ReportedPermit(admitted(registry), registry, None).success()

    assert registry.faults == 0
    assert votes(registry[KEY].metrics()) == {"successes": 1}


def test_of_an_end_the_breaker_gets_all_that_was_said(registry: Registry) -> None:
    for _ in range(4):
        permit = ReportedPermit(admitted(registry), registry, None)
        permit.end(Outcome.THROTTLED, retry_after=50.0, quota=True)

    reason = registry[KEY].refusal().reason
    assert registry[KEY].retry_after == pytest.approx(50.0)
    assert reason is not None
    assert reason.rule == "quota"


def test_a_limit_is_no_quota_unless_that_is_said(registry: Registry) -> None:
    for _ in range(4):
        ReportedPermit(admitted(registry), registry, None).end(Outcome.THROTTLED)

    reason = registry[KEY].refusal().reason
    assert reason is not None
    assert reason.rule != "quota"


@pytest.mark.parametrize("said", ["HTTP 599", RuntimeError("HTTP 599")])
def test_the_reason_of_an_opening_names_the_error(
    registry: Registry, said: str | RuntimeError
) -> None:
    for _ in range(5):
        permit = ReportedPermit(admitted(registry), registry, None)
        permit.end(Outcome.FAILURE, error=said)

    assert ("HTTP 599" if isinstance(said, str) else "RuntimeError") in str(registry[KEY].refusal())


def test_an_error_may_ask_for_a_pause(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    waits = record_waits(monkeypatch)

    class BusyError(Exception):
        response = SimpleNamespace(status_code=503, headers={"retry-after": "50"})

    def admitted() -> LoosePermit:
        permit = registry[KEY].admit(LoosePermit)
        assert isinstance(permit, LoosePermit)
        return permit

    assert ReportedPermit(admitted(), registry, None).classify(BusyError()) == (
        Outcome.FAILURE,
        50.0,
    )
    for _ in range(5):
        ReportedPermit(admitted(), registry, None).end_by_error(BusyError())

    assert waits[-5:] == [50.0] * 5
    assert "BusyError" in str(registry[KEY].refusal())


def test_the_tokens_of_an_answer_are_a_part_of_its_size(registry: Registry) -> None:
    permit = admitted(registry)
    reported = ReportedPermit(permit, registry, None)
    assert reported.request_bytes == 0
    reported.request_bytes = 256
    reported.note_tokens(12)

    assert permit.size == 32.0  # the root of 256 bytes and 12 times 64
    reported.success()


def test_a_stream_is_watched_by_the_permit_that_is_wrapped(
    registry: Registry, clock: ManualClock, reports: list[CallReport]
) -> None:
    permit = ReportedPermit(admitted(registry), registry, reports.append)
    clock.advance(0.5)
    pieces = permit.pieces()
    pieces.asked()
    clock.advance(1000.0)
    pieces.arrived()
    permit.success()

    assert votes(registry[KEY].metrics()) == {"failures": 1}
    assert reports == [CallReport(KEY, Outcome.SUCCESS, 0.5, 1000.5)]


# A permit with a scope


def scoped(
    registry: Registry, scopes: Scopes, *, name: str = SCOPE, waiting: LoosePermit | None = None
) -> ScopedPermit:
    permit = registry[KEY].admit(LoosePermit)
    assert isinstance(permit, LoosePermit)
    return ScopedPermit(permit, registry, None, scopes, lambda: name, waiting, llm=True)


def test_a_wait_is_that_of_the_scope_and_no_vote_of_the_key(
    registry: Registry, scopes: Scopes
) -> None:
    for _ in range(4):
        permit = scoped(registry, scopes)
        permit.end(Outcome.THROTTLED, retry_after=50.0, quota=True)
        assert permit.outcome is Outcome.THROTTLED

    assert votes(registry[KEY].metrics()) == {"ignored": 4}
    assert votes(registry[SCOPE].metrics()) == {"throttled": 4}
    assert registry[SCOPE].retry_after == pytest.approx(50.0)
    reason = registry[SCOPE].refusal().reason
    assert reason is not None
    assert reason.rule == "quota"
    assert scopes.keys == {KEY: {SCOPE: scopes.waits[SCOPE]}}


def test_the_wait_of_a_key_without_a_scope_is_its_own(registry: Registry, scopes: Scopes) -> None:
    scoped(registry, scopes, name=KEY).end(Outcome.THROTTLED, retry_after=50.0)

    assert votes(registry[KEY].metrics()) == {"throttled": 1}
    assert scopes.waits == {}


@pytest.mark.parametrize(
    ("outcome", "served", "vote"),
    [
        (Outcome.SUCCESS, 1, "successes"),
        (Outcome.IGNORED, 1, "ignored"),
        (Outcome.FAILURE, 0, "failures"),
        (Outcome.CANCELLED, 0, "cancelled"),
    ],
)
def test_a_scope_is_told_of_calls_that_were_answered(
    registry: Registry,
    scopes: Scopes,
    clock: ManualClock,
    outcome: Outcome,
    served: int,
    vote: str,
) -> None:
    scoped(registry, scopes).end(Outcome.THROTTLED, retry_after=0.1)
    clock.advance(1.0)
    waiting = scopes.admit(SCOPE)
    assert isinstance(waiting, LoosePermit)

    permit = scoped(registry, scopes, waiting=waiting)
    permit.end(outcome)
    permit.end(outcome)
    scoped(registry, scopes).end(outcome)  # it has nothing to wait for

    assert registry.faults == 0
    assert registry[SCOPE].metrics().successes == served
    assert scopes.waits[SCOPE].owed == 2 - served
    assert waiting.ended is bool(served)
    assert votes(registry[KEY].metrics())[vote] >= 1
    waiting.ignore()


def test_a_call_of_a_scope_ends_with_the_permit_of_its_scope(
    registry: Registry, scopes: Scopes, clock: ManualClock
) -> None:
    scoped(registry, scopes).end(Outcome.THROTTLED, retry_after=0.1)
    clock.advance(1.0)
    waiting = scopes.admit(SCOPE)
    assert isinstance(waiting, LoosePermit)

    scoped(registry, scopes, waiting=waiting).end(Outcome.THROTTLED)

    assert waiting.ended
    assert votes(registry[SCOPE].metrics()) == {"throttled": 2}


def test_a_fault_of_a_scope_is_counted_and_the_call_ends_as_it_did(
    registry: Registry, scopes: Scopes
) -> None:
    def name() -> str:
        raise ZeroDivisionError

    permit = registry[KEY].admit(LoosePermit)
    assert isinstance(permit, LoosePermit)
    ScopedPermit(permit, registry, None, scopes, name, None, llm=False).end(Outcome.THROTTLED)

    assert registry.faults == 1
    assert votes(registry[KEY].metrics()) == {"throttled": 1}


@pytest.mark.parametrize("llm", [True, False])
def test_a_permit_with_a_scope_knows_whether_a_model_was_asked_and_reports(
    registry: Registry, scopes: Scopes, reports: list[CallReport], llm: bool
) -> None:
    permit = admitted(registry)
    found = ScopedPermit(permit, registry, reports.append, scopes, lambda: SCOPE, None, llm=llm)
    assert found.llm is llm

    found.success()

    assert [report.outcome for report in reports] == [Outcome.SUCCESS]
