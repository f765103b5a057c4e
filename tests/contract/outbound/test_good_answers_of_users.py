"""Answers with a good status, without a client: the user's own verdict on them."""

from __future__ import annotations

import zlib
from typing import Any

import pytest
from tests.support.breaker_state import votes
from tests.support.plain_requests import PlainRequest

from recloser import Outcome, Registry

pytest.importorskip("recloser_adapters")
from recloser_adapters._outbound.body import BodyWatch
from recloser_adapters._outbound.verdicts import VerdictWatch

from .test_good_answers import CHAT, EVENTS, GET, GRAPHQL, answers, permit_of, watch_of


@pytest.mark.parametrize("content_type", ["application/json", "image/png", EVENTS])
@pytest.mark.parametrize("request_", [CHAT, GET, GRAPHQL])
def test_a_users_verdict_is_asked_about_every_answer_in_place_of_ours(
    registry: Registry, request_: PlainRequest, content_type: str
) -> None:
    asked: list[Any] = []

    def verdict(status: int, headers: Any, beginning: bytes) -> Outcome:
        asked.append((status, headers, beginning))
        return Outcome.IGNORED

    watch = watch_of(
        answers(registry, verdict=verdict), permit_of(registry), request_, content_type, 204, x="y"
    )
    watch.chunk(b"data: x\n\n")
    watch.eof()

    assert asked == [(204, {"x": "y"}, b"data: x\n\n")]
    assert votes(registry["k"].metrics()) == {"ignored": 1}


def test_a_page_that_nobody_asked_to_be_json_is_judged_by_the_user(registry: Registry) -> None:
    good = answers(registry, verdict=lambda *_: Outcome.IGNORED)
    watch = watch_of(good, permit_of(registry), GET, "text/html")
    assert type(watch) is VerdictWatch

    watch.eof()

    assert votes(registry["k"].metrics()) == {"ignored": 1}


def test_a_good_answer_that_the_user_calls_good_may_still_break_off(registry: Registry) -> None:
    good = answers(registry, verdict=lambda *_: Outcome.SUCCESS)
    watch = watch_of(good, permit_of(registry), GET)
    watch.chunk(b"x" * 20_000)

    watch.failed(OSError())

    assert votes(registry["k"].metrics()) == {"failures": 1}


def test_about_a_bad_answer_it_is_asked_as_well(registry: Registry) -> None:
    seen: list[Any] = []

    def verdict(*said: Any) -> Outcome:
        seen.append(said)
        return Outcome.SUCCESS

    permit = permit_of(registry)
    headers = {"content-encoding": "deflate"}
    watch = answers(registry, verdict=verdict).asks_user(permit, BodyWatch(permit), 500, headers)
    assert watch is not None
    watch.chunk(zlib.compress(b"said"))
    watch.closed()

    assert seen.pop() == (500, headers, b"said")
    assert votes(registry["k"].metrics()) == {"successes": 1}
    permit = permit_of(registry)
    watch = answers(registry, verdict=verdict).asks_user(permit, BodyWatch(permit), 500, {})
    assert watch is not None
    watch.chunk(b"x" * 20_000)
    watch.failed(OSError())
    assert seen == [(500, {}, b"x" * 16_384)]
    assert votes(registry["k"].metrics()) == {"successes": 2}


@pytest.mark.parametrize("verdict", [None, "llm", "graphql"])
def test_ours_is_not(registry: Registry, verdict: Any) -> None:
    permit = permit_of(registry)

    asked = answers(registry, verdict=verdict).asks_user(permit, BodyWatch(permit), 500, {})
    assert asked is None
    permit.success()
