"""Answers with a good status, without a client: what watches their body."""

from __future__ import annotations

import zlib
from typing import Any

import pytest
from tests.support.breaker_state import votes
from tests.support.plain_requests import PlainRequest

from recloser import LoosePermit, Registry

pytest.importorskip("recloser_adapters")
from recloser_adapters._outbound.body import BodyWatch
from recloser_adapters._outbound.good_answers import GoodAnswers, is_plain
from recloser_adapters._outbound.permit import WatchingPermit
from recloser_adapters._outbound.streams import StreamWatch, is_stream
from recloser_adapters._outbound.verdicts import VerdictWatch

EVENTS, LINES = "text/event-stream; charset=utf-8", "application/x-ndjson"
CHAT = PlainRequest("http://h/v1/chat/completions")
TRANSCRIPT = PlainRequest("http://h/v1/audio/transcriptions")
GRAPHQL = PlainRequest("http://h/graphql")
ORDER = PlainRequest("http://h/orders")
GET = PlainRequest("http://h/orders", "GET")
WANTS_JSON = PlainRequest("http://h/orders", "GET", {"accept": "application/json"})
GET_CHAT = PlainRequest("http://h/v1/chat/completions", "GET")
JSON = "Application/JSON; charset=utf-8"


def answers(registry: Registry, **settings: Any) -> GoodAnswers:
    settings = {"verdict": None, "errors": None, "cuts_off": False, **settings}
    return GoodAnswers(registry, settings.pop("verdict"), **settings)


def permit_of(registry: Registry, kind: type[LoosePermit] = LoosePermit) -> LoosePermit:
    permit = registry["k"].admit(kind)
    assert isinstance(permit, LoosePermit)
    return permit


def watch_of(
    good: GoodAnswers,
    permit: LoosePermit,
    request: PlainRequest | None = ORDER,
    content_type: str = "application/json",
    status: int = 200,
    **headers: str,
) -> Any:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return good.watch(permit, request, status, named, content_type)


# Content types


@pytest.mark.parametrize(
    ("content_type", "plain", "stream"),
    [
        ("application/json", True, False),
        ("application/json; charset=utf-8", True, False),
        ("", True, False),
        ("text/plain", True, False),
        ("text/html", False, False),
        ("TEXT/HTML; charset=utf-8", False, False),
        ("text/event-stream", False, True),
        ("Text/Event-Stream;charset=utf-8", False, True),
        ("application/x-ndjson", False, True),
        ("application/jsonl", False, True),
        ("application/x-jsonlines", False, True),
        ("application/vnd.amazon.eventstream", False, True),
        ("APPLICATION/VND.AMAZON.EVENTSTREAM", False, True),
        ("x/text/event-stream", True, False),
    ],
)
def test_a_content_type_tells_whether_an_answer_comes_in_pieces(
    content_type: str, plain: bool, stream: bool
) -> None:
    assert is_plain(content_type) is plain
    assert is_stream(content_type) is stream


# The usual case


@pytest.mark.parametrize("request_", [ORDER, GET, WANTS_JSON, GET_CHAT])
@pytest.mark.parametrize("content_type", ["application/json", "image/png", ""])
def test_of_most_answers_only_the_end_matters(
    registry: Registry, request_: PlainRequest, content_type: str
) -> None:
    good = answers(registry)
    watching = permit_of(registry, WatchingPermit)
    assert watch_of(good, watching, request_, content_type) is watching
    watch = watch_of(good, permit_of(registry), request_, content_type)

    assert type(watch) is BodyWatch
    watch.eof()
    watching.success()


@pytest.mark.parametrize("content_type", ["application/json", "text/html", "image/png"])
@pytest.mark.parametrize("settings", [{}, {"verdict": lambda *_: None}, {"verdict": "llm"}])
def test_the_latency_is_the_time_to_the_headers(
    registry: Registry, clock: Any, content_type: str, settings: dict[str, Any]
) -> None:
    permit = permit_of(registry, WatchingPermit)
    clock.advance(0.25)
    watch = watch_of(answers(registry, **settings), permit, GET, content_type)
    clock.advance(5.0)
    if watch is not None:
        watch.chunk(b"{}")
        watch.eof()
        assert registry["k"].metrics().mean == pytest.approx(0.25)


@pytest.mark.parametrize("watches", [True, False])
def test_a_page_that_nobody_asked_to_be_json_is_an_answer(
    registry: Registry, watches: bool
) -> None:
    permit = permit_of(registry, WatchingPermit if watches else LoosePermit)
    watch = watch_of(answers(registry), permit, GET, "text/html")

    assert watch is permit if watches else type(watch) is BodyWatch
    watch.eof()
    assert votes(registry["k"].metrics()) == {"successes": 1}


@pytest.mark.parametrize(
    ("request_", "settings"),
    [
        (CHAT, {}),
        (GRAPHQL, {}),
        (WANTS_JSON, {}),
        (GET, {"verdict": "llm"}),
        (GET, {"verdict": "graphql"}),
        (None, {"verdict": "graphql"}),
    ],
)
@pytest.mark.parametrize("status", [200, 299, 300])
def test_a_page_where_json_was_promised_is_a_failure_unless_it_leads_elsewhere(
    registry: Registry, request_: PlainRequest | None, settings: dict[str, Any], status: int
) -> None:
    for _ in range(5):
        watch = watch_of(
            answers(registry, **settings), permit_of(registry), request_, "Text/HTML", status
        )
        assert (watch is None) is (status < 300)
        if watch is not None:
            watch.chunk(b"<html>")
            watch.closed()

    expected = {"failures": 5} if status < 300 else {"successes": 5}
    assert votes(registry["k"].metrics()) == expected
    if status < 300:
        assert "HTML where JSON was promised)" in str(registry["k"].refusal())


# Streams


@pytest.mark.parametrize(
    ("request_", "settings", "said", "outcome"),
    [
        # Errors count where a model is asked, and where the user says so.
        (CHAT, {}, b'data: {"error": {"code": 500}}\n\n', "failures"),
        (ORDER, {}, b'data: {"error": {"code": 500}}\n\n', "successes"),
        (None, {}, b'data: {"error": {"code": 500}}\n\n', "successes"),
        (ORDER, {"errors": True}, b'data: {"error": {"code": 500}}\n\n', "failures"),
        (CHAT, {"errors": False}, b'data: {"error": {"code": 500}}\n\n', "successes"),
        (ORDER, {"verdict": "llm"}, b'data: {"error": {"code": 500}}\n\n', "failures"),
        (ORDER, {"verdict": "graphql"}, b'data: {"error": {"code": 500}}\n\n', "successes"),
        # A model must answer something.
        (CHAT, {}, b": alive\n\n", "failures"),
        (CHAT, {"errors": False}, b": alive\n\n", "failures"),
        (ORDER, {}, b": alive\n\n", "successes"),
        (ORDER, {"errors": True}, b": alive\n\n", "successes"),
    ],
)
@pytest.mark.parametrize("content_type", [EVENTS, LINES])
def test_a_stream_is_watched_for_errors_and_for_its_beginning(
    registry: Registry,
    request_: PlainRequest | None,
    settings: dict[str, Any],
    said: bytes,
    outcome: str,
    content_type: str,
) -> None:
    watch = watch_of(answers(registry, **settings), permit_of(registry), request_, content_type)
    assert type(watch) is StreamWatch

    watch.chunk(
        said if content_type == EVENTS else said.removeprefix(b"data: ").removeprefix(b": alive")
    )
    watch.eof()

    assert votes(registry["k"].metrics()) == {outcome: 1}


@pytest.mark.parametrize(
    ("request_", "subscriptions", "verdict", "awaited"),
    [
        (ORDER, True, None, True),
        (CHAT, True, None, True),
        (None, True, None, True),
        (GET, True, None, False),
        (GET, False, None, True),
        (GRAPHQL, True, None, False),
        (GRAPHQL, False, None, True),
        (ORDER, True, "graphql", False),
    ],
)
def test_a_subscription_is_not_awaited(
    registry: Registry,
    request_: PlainRequest | None,
    subscriptions: bool,
    verdict: Any,
    awaited: bool,
) -> None:
    good = answers(registry, cuts_off=True, verdict=verdict)
    assert good.subscriptions is True
    good.subscriptions = subscriptions
    watch = watch_of(good, permit_of(registry), request_, EVENTS)

    assert watch.cuts_off is awaited
    watch.closed()
    expected = {"cancelled": 1} if awaited else {"successes": 1}
    assert votes(registry["k"].metrics()) == expected


@pytest.mark.parametrize("cuts_off", [True, False])
def test_a_stream_is_cut_off_where_that_is_asked_for(registry: Registry, cuts_off: bool) -> None:
    watch = watch_of(answers(registry, cuts_off=cuts_off), permit_of(registry), CHAT, EVENTS)

    assert watch.cuts_off is cuts_off
    watch.closed()


def test_a_stream_may_be_compressed(registry: Registry) -> None:
    packed = zlib.compress(b'data: {"error": {"code": 500}}\n\n')
    watch = watch_of(
        answers(registry), permit_of(registry), CHAT, EVENTS, content_encoding="deflate"
    )
    watch.chunk(packed)

    assert votes(registry["k"].metrics()) == {"failures": 1}
    watch.closed()


# What is read


@pytest.mark.parametrize(
    ("request_", "verdict", "content_type", "status", "fails"),
    [
        (CHAT, None, JSON, 200, True),
        (CHAT, None, "application/problem+json", 200, True),
        (CHAT, None, "text/plain", 200, True),
        (CHAT, None, "application/xml", 200, True),
        (CHAT, None, "image/png", 200, False),
        (CHAT, None, "", 200, False),
        (CHAT, None, JSON, 204, False),
        (CHAT, None, JSON, 205, False),
        (CHAT, None, JSON, 304, False),
        (CHAT, None, JSON, 201, True),
        (TRANSCRIPT, None, JSON, 200, True),
        (TRANSCRIPT, None, "text/plain", 200, False),
        (GRAPHQL, None, JSON, 200, True),
        (GRAPHQL, None, "text/plain", 200, False),
        (GET_CHAT, None, JSON, 200, False),
        (ORDER, None, JSON, 200, False),
        (ORDER, None, "text/plain", 200, False),
        (None, None, JSON, 200, False),
        (ORDER, "llm", JSON, 200, True),
        (ORDER, "graphql", JSON, 200, True),
        (ORDER, "llm", "text/plain", 200, True),
        (None, "llm", JSON, 200, True),
        (None, "llm", "text/plain", 200, False),  # it may be a transcript
        (GET, "llm", JSON, 200, False),
        (GET, "graphql", JSON, 200, False),
    ],
)
def test_where_json_is_promised_it_is_read_for_errors(
    registry: Registry,
    request_: PlainRequest | None,
    verdict: Any,
    content_type: str,
    status: int,
    fails: bool,
) -> None:
    permit = permit_of(registry, WatchingPermit)
    good = answers(registry, verdict=verdict)
    watch = watch_of(good, permit, request_, content_type, status)
    assert (type(watch) is VerdictWatch) is fails
    if content_type == "text/plain" or "xml" in content_type:
        said = b"upstream"
    else:
        said = b'{"error": {"code": 500}, "errors": [{"path": ["a"]}]}'

    watch.chunk(said)
    watch.eof()

    assert votes(registry["k"].metrics()) == ({"failures": 1} if fails else {"successes": 1})


def test_what_is_read_may_be_compressed(registry: Registry) -> None:
    watch = watch_of(answers(registry), permit_of(registry), CHAT, JSON, content_encoding="deflate")

    watch.chunk(zlib.compress(b'{"error": {"code": 500}}'))
    watch.eof()

    assert votes(registry["k"].metrics()) == {"failures": 1}


@pytest.mark.parametrize(
    ("request_", "verdict", "looks"),
    [
        (ORDER, None, False),
        (GET_CHAT, None, False),
        (None, None, False),
        (CHAT, None, True),
        (GRAPHQL, None, True),
        (ORDER, "llm", True),
        (None, "graphql", True),
        (GET, lambda *_: None, True),
    ],
)
def test_a_caller_can_ask_whether_a_body_will_be_read(
    registry: Registry, request_: PlainRequest | None, verdict: Any, looks: bool
) -> None:
    assert answers(registry, verdict=verdict).looks_into(request_) is looks
