"""Each call has one outcome, whatever it does."""

from __future__ import annotations

import pytest
from tests.support.breaker_state import votes
from tests.support.frontends import Asgi, Frontend
from tests.support.scripted_handler import OopsError, Script

import recloser.asgi
from recloser import BreakerOpenError, Outcome, State
from recloser.testing import ManualClock

pytestmark = pytest.mark.anyio


async def fail_until_refused(frontend: Frontend, script: Script, clock: ManualClock) -> None:
    """An outage that is over: the next call is a probe."""
    script.status = 500
    while frontend.breaker.state is not State.OPEN:
        await frontend.call()
    script.status = 200
    clock.advance(1.0)


@pytest.mark.parametrize("body", [b"no such thing", b""])
async def test_an_answer_of_4xx_is_a_good_probe(
    http: Frontend, script: Script, clock: ManualClock, body: bytes
) -> None:
    """Look-ups that miss are all the traffic of this hour."""
    await fail_until_refused(http, script, clock)
    script.status = 404
    script.chunks = (body,)

    for _ in range(8):
        assert not (await http.call()).refused

    assert http.breaker.state is State.CLOSED


async def test_a_refusal_further_in_is_no_good_probe(
    http: Frontend, script: Script, clock: ManualClock
) -> None:
    """The handler was not called, so nothing is known of it."""
    await fail_until_refused(http, script, clock)
    script.raises = BreakerOpenError("further in", State.OPEN, None, 1.0)

    for _ in range(20):
        await http.call()

    assert http.breaker.state is State.HALF_OPEN


async def test_a_good_call_is_one_success(frontend: Frontend) -> None:
    answer = await frontend.call()

    assert answer.ok
    assert answer.body == b"ok"
    assert votes(frontend.breaker.metrics()) == {"successes": 1}


async def test_latency_is_what_the_handler_took(frontend: Frontend, script: Script) -> None:
    script.takes = 0.25

    await frontend.call()

    assert frontend.breaker.metrics().mean == pytest.approx(0.25)


async def test_an_exception_is_one_failure(frontend: Frontend, script: Script) -> None:
    script.raises = OopsError("the handler's own")

    answer = await frontend.call()

    assert votes(frontend.breaker.metrics()) == {"failures": 1}
    if answer.status is None:
        assert answer.error is script.raises


class StatusError(Exception):
    """Shaped like the errors of HTTP clients and of frameworks."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status_code = status


async def test_a_handler_that_lets_a_clients_error_out_has_failed(
    http: Frontend, script: Script
) -> None:
    script.raises = StatusError(404)

    await http.call()

    assert votes(http.breaker.metrics()) == {"failures": 1}


@pytest.mark.parametrize(
    ("status", "expected"),
    [(404, "ignored"), (429, "throttled"), (408, "failures"), (500, "failures")],
)
async def test_of_a_call_the_status_that_an_error_names_counts(
    around_call: Frontend, script: Script, status: int, expected: str
) -> None:
    script.raises = StatusError(status)

    await around_call.call()

    assert votes(around_call.breaker.metrics()) == {expected: 1}


async def test_ten_exceptions_open_it(frontend: Frontend, script: Script) -> None:
    script.raises = OopsError()

    for _ in range(10):
        await frontend.call()

    assert frontend.breaker.state is State.OPEN
    assert script.calls < 10


@pytest.mark.parametrize("status", [500, 502, 503, 504, 599])
async def test_a_5xx_is_one_failure_and_passes_as_it_is(
    http: Frontend, script: Script, status: int
) -> None:
    script.status = status

    answer = await http.call()

    assert (answer.status, answer.body) == (status, b"ok")
    assert votes(http.breaker.metrics()) == {"failures": 1}


@pytest.mark.parametrize("status", [400, 401, 404, 409, 422, 429, 499])
async def test_a_4xx_is_the_callers_own_fault(http: Frontend, script: Script, status: int) -> None:
    script.status = status

    answer = await http.call()

    assert answer.status == status
    assert votes(http.breaker.metrics()) == {"ignored": 1}


@pytest.mark.parametrize("status", [200, 201, 301, 399])
async def test_other_statuses_are_successes(http: Frontend, script: Script, status: int) -> None:
    script.status = status

    await http.call()

    assert votes(http.breaker.metrics()) == {"successes": 1}


async def test_no_number_of_4xx_opens_it(http: Frontend, script: Script) -> None:
    script.status = 404

    for _ in range(100):
        await http.call()

    assert script.calls == 100
    assert http.breaker.state is State.CLOSED


async def test_a_status_of_5xx_opens_it(http: Frontend, script: Script) -> None:
    script.status = 503

    for _ in range(10):
        await http.call()

    assert http.breaker.state is State.OPEN
    assert script.calls == http.breaker.metrics().failures


async def test_another_breakers_refusal_is_no_failure(
    around_call: Frontend, script: Script
) -> None:
    other = around_call.registry["other"]
    other.open("down")
    script.raises = other.refusal()

    for _ in range(20):
        answer = await around_call.call()
        assert isinstance(answer.error, BreakerOpenError)

    assert votes(around_call.breaker.metrics()) == {"ignored": 20}


@pytest.mark.parametrize("kind_of_exit", [KeyboardInterrupt, SystemExit, GeneratorExit])
async def test_what_is_no_exception_is_no_failure_and_is_not_replaced(
    outlives_exits: Frontend, script: Script, kind_of_exit: type[BaseException]
) -> None:
    script.raises = kind_of_exit()

    answer = await outlives_exits.call()

    assert answer.error is script.raises
    assert votes(outlives_exits.breaker.metrics()) == {"cancelled": 1}


async def test_slow_work_after_the_response_is_not_judged(http: Frontend, script: Script) -> None:
    script.takes = 0.25
    script.afterwards = 500.0

    answer = await http.call()

    assert answer.ok
    assert votes(http.breaker.metrics()) == {"successes": 1}
    assert http.breaker.metrics().mean == pytest.approx(0.25)


async def test_failing_work_after_the_response_is_not_judged(
    works_afterwards: Frontend, script: Script
) -> None:
    script.raises_afterwards = OopsError("in the background")

    answer = await works_afterwards.call()

    assert answer.status == 200
    assert answer.body == b"ok"
    assert script.raises_afterwards in answer.errors
    assert votes(works_afterwards.breaker.metrics()) == {"successes": 1}


async def test_an_error_answered_with_500_and_then_raised_counts_once(
    around_application: Frontend, script: Script
) -> None:
    script.raises = OopsError()

    answer = await around_application.call()

    assert answer.status == 500
    assert answer.error is script.raises
    assert votes(around_application.breaker.metrics()) == {"failures": 1}


async def test_an_exemption_is_not_counted(http: Frontend, script: Script) -> None:
    http.configure(exempt=["/items/*"])

    await http.call()

    assert script.calls == 1
    assert http.breaker.metrics().calls == 0


async def test_a_classifier_decides(http: Frontend, script: Script) -> None:
    http.configure(classify=lambda status: Outcome.FAILURE if status == 418 else Outcome.IGNORED)
    script.status = 418

    await http.call()

    assert votes(http.breaker.metrics()) == {"failures": 1}


async def test_a_handler_may_give_its_own_verdict(http: Frontend, script: Script) -> None:
    requests = http.remember_requests()
    script.on_call = lambda: requests[0]["recloser.permit"].failure("stale data served")

    answer = await http.call()

    assert answer.ok
    assert votes(http.breaker.metrics()) == {"failures": 1}


async def test_head_shares_the_key_of_get(http: Frontend, script: Script) -> None:
    await http.call(method="HEAD")

    assert http.breaker.metrics().calls == 1


async def test_options_are_exempt(http: Frontend) -> None:
    await http.call(method="OPTIONS")

    assert http.breaker.metrics().calls == 0


async def test_a_handler_that_marks_and_then_raises_has_failed(asgi: Asgi, script: Script) -> None:
    def mark_and_raise() -> None:
        recloser.asgi.permit_of(requests[-1]).mark()
        raise OopsError

    requests = asgi.remember_requests()
    script.on_call = mark_and_raise

    await asgi.call()

    assert votes(asgi.breaker.metrics()) == {"failures": 1}
