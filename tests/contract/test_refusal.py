"""An open breaker answers at once, in the proper form, and the handler is not asked."""

from __future__ import annotations

import json

import pytest
from tests.support.frontends import Frontend
from tests.support.scripted_handler import Answer, Script

from recloser import BreakerOpenError, Mode, State
from recloser.testing import ManualClock

pytestmark = pytest.mark.anyio


async def test_the_handler_is_not_called(frontend: Frontend, script: Script) -> None:
    frontend.breaker.open()

    answer = await frontend.call()

    assert answer.refused
    assert script.calls == 0
    assert frontend.breaker.metrics().refused == 1


async def test_a_refusal_is_no_vote(frontend: Frontend) -> None:
    frontend.breaker.open()

    for _ in range(5):
        await frontend.call()

    metrics = frontend.breaker.metrics()
    assert (metrics.successes, metrics.failures, metrics.in_flight) == (0, 0, 0)


async def test_the_error_says_who_why_and_when(around_call: Frontend) -> None:
    around_call.breaker.open("maintenance", for_=7.0)

    error = (await around_call.call()).error

    assert isinstance(error, BreakerOpenError)
    assert error.key == around_call.key
    assert error.state is State.OPEN
    assert "maintenance" in str(error.reason)
    assert error.retry_after == pytest.approx(7.0)


async def test_the_answer_is_a_503_problem_that_says_when_to_come_again(http: Frontend) -> None:
    http.breaker.open(for_=20.0)

    answer = await http.call()

    assert answer.status == 503
    assert answer.error is None
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["content-length"] == str(len(answer.body))
    problem = json.loads(answer.body)
    assert problem["status"] == 503
    assert problem["title"] == "Service Unavailable"
    assert problem["type"] == "about:blank"
    assert str(problem["retry_after"]) == answer.headers["retry-after"]


@pytest.mark.parametrize(("wait", "lowest"), [(0.001, 1), (0.5, 1), (1.0, 1), (20.0, 20)])
async def test_retry_after_is_whole_seconds_never_before_the_probe(
    http: Frontend, wait: float, lowest: int
) -> None:
    http.breaker.open(for_=wait)

    seconds = {int((await http.call()).headers["retry-after"]) for _ in range(40)}

    assert min(seconds) >= lowest
    assert max(seconds) <= 1 + lowest * 1.1


async def test_retry_after_is_spread(http: Frontend) -> None:
    http.breaker.open(for_=100.0)

    seconds = {(await http.call()).headers["retry-after"] for _ in range(60)}

    assert len(seconds) > 1


async def test_a_breaker_opened_until_further_notice_still_names_a_time(http: Frontend) -> None:
    http.breaker.open()

    assert 1 <= int((await http.call()).headers["retry-after"]) <= 66


async def test_head_gets_the_headers_alone(http: Frontend) -> None:
    http.breaker.open(for_=0.5)

    answer = await http.call(method="HEAD")

    assert answer.status == 503
    assert answer.body == b""
    assert int(answer.headers["content-length"]) > 0


def told(answer: Answer) -> str:
    return repr(answer.headers) + answer.body.decode()


async def test_nothing_inside_is_revealed(http: Frontend) -> None:
    http.breaker.open("the payments host is down")

    said = told(await http.call())

    # Every media type begins with the key of a plain app.
    assert http.key not in said.replace("application/", "")
    assert "payments" not in said
    assert "open" not in said


async def test_details_are_there_for_those_who_want_them(http: Frontend) -> None:
    http.configure(expose_details=True)
    http.breaker.open("line one\r\nSet-Cookie: a=b")

    answer = await http.call()

    problem = json.loads(answer.body)
    assert problem["key"] == http.key
    assert problem["state"] == "open"
    assert "line one" in problem["reason"]
    assert "set-cookie" not in answer.headers
    assert b"\n" not in answer.body


async def test_details_are_one_line_whatever_the_key(http: Frontend) -> None:
    http.configure(expose_details=True, key=lambda request: "a\r\nb\x1b[31m\u2028")
    http.registry["a\r\nb\x1b[31m\u2028"].open()

    answer = await http.call()

    assert answer.status == 503
    assert len(answer.body.splitlines()) == 1
    assert b"\x1b" not in answer.body


async def test_mode_observe_refuses_nothing(frontend: Frontend, script: Script) -> None:
    frontend.registry.mode = Mode.OBSERVE
    frontend.breaker.open()

    for _ in range(3):
        assert (await frontend.call()).ok

    assert script.calls == 3
    assert frontend.breaker.metrics().refused == 3


@pytest.mark.parametrize("mode", [Mode.OBSERVE, "observe", Mode.DISABLED, "disabled"])
async def test_a_front_end_may_be_more_lenient_than_its_registry(
    http: Frontend, script: Script, mode: Mode | str
) -> None:
    http.configure(mode=mode)
    http.breaker.open()

    assert (await http.call()).ok
    assert script.calls == 1


async def test_the_environment_can_turn_it_off(
    http: Frontend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECLOSER_ENABLED", "0")
    http.configure()
    http.breaker.open()

    assert (await http.call()).ok


async def test_it_is_asked_again_when_the_time_has_come(
    frontend: Frontend, script: Script, clock: ManualClock
) -> None:
    frontend.breaker.open(for_=30.0)
    assert (await frontend.call()).refused

    clock.advance(31.0)

    assert (await frontend.call()).ok
    assert frontend.breaker.state is State.HALF_OPEN


async def test_it_recovers(frontend: Frontend, script: Script, clock: ManualClock) -> None:
    frontend.breaker.open(for_=30.0)
    clock.advance(31.0)

    for _ in range(10):
        await frontend.call()

    assert frontend.breaker.state is State.CLOSED
