"""The JSON API: what it shows, and what it answers to what is wrong."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest
from tests.support.dashboard_client import Ask

from recloser import Breaker, Registry, State
from recloser.testing import ManualClock
from recloser_adapters.dashboard import Dashboard
from recloser_adapters.dashboard._actions import ACTIONS

ODD_KEYS = [
    "GET /orders/{order}",
    "a/b/open",
    "open",
    "<script>alert(1)</script>",
    "é ☃ \U0001f4a5",
    "50 %",
    "%2F",
    "a\nb\x00c\u202e",
    "..",
    "",
    "x" * 10_000,
    "?q=1#x",
]


def _call(breaker: Breaker, *, times: int = 1) -> None:
    for _ in range(times):
        breaker.acquire().success()


def test_it_says_whose_view_it_is(ask: Ask) -> None:
    view = ask("GET", "/keys").json()["view"]

    assert view["pid"] == os.getpid()
    assert view["mode"] == "enforce"
    assert view["read_only"] is False
    assert view["user"] == "anna"


def test_a_key_has_its_figures(ask: Ask, registry: Registry, clock: ManualClock) -> None:
    breaker = registry["search"]
    permits = [breaker.acquire() for _ in range(5)]
    clock.advance(0.2)
    for permit in permits[:3]:
        permit.success()
    permits[3].failure("HTTP 502")

    [key] = ask("GET", "/keys").json()["keys"]

    assert {name: key[name] for name in ("key", "state", "mode", "calls", "successes")} == {
        "key": "search",
        "state": "closed",
        "mode": "enforce",
        "calls": 5,
        "successes": 3,
    }
    assert (key["failures"], key["in_flight"], key["limit"], key["reason"]) == (1, 1, None, None)
    assert key["p50"] == pytest.approx(0.2, rel=0.1)
    assert key["explain"] == breaker.explain()
    permits[4].cancel()


def test_the_worst_is_first_and_what_is_by_hand_is_last_of_its_kind(
    ask: Ask, registry: Registry, clock: ManualClock
) -> None:
    for key in ("calm", "by hand", "broken", "looked at", "suspected", "observed"):
        _call(registry[key])
    registry["by hand"].open("for now")
    registry["looked at"].half_open()
    registry["suspected"].acquire().failure("HTTP 500")
    registry["observed"].mode = "observe"
    for key in ("broken", "observed"):
        for _ in range(20):
            permit = registry[key].try_acquire()
            if permit is not None:
                permit.failure("HTTP 500")
    assert registry["broken"].state is State.OPEN

    answer = ask("GET", "/keys").json()

    assert [key["key"] for key in answer["keys"]] == [
        "broken",
        "by hand",
        "looked at",
        "observed",
        "suspected",
        "calm",
    ]
    assert answer["totals"] == {
        "open": 2,
        "half_open": 1,
        "limited": 0,
        "would": 1,
        "closed": 2,
        "by_hand": 1,
        "all": 6,
    }


@pytest.mark.parametrize(
    ("query", "keys", "matched"),
    [
        ("q=PAY", ["POST /pay", "GET /pay"], 2),
        ("show=open", ["POST /pay"], 1),
        ("show=by_hand&q=pay", ["POST /pay"], 1),
        ("limit=1", ["POST /pay"], 3),
        ("limit=1&offset=1", ["GET /"], 3),
        ("offset=7", [], 3),
        ("q=&other=1", ["POST /pay", "GET /", "GET /pay"], 3),
    ],
)
def test_a_query_finds_keys(
    ask: Ask, registry: Registry, query: str, keys: list[str], matched: int
) -> None:
    for key in ("GET /", "GET /pay", "POST /pay"):
        _call(registry[key])
    registry["POST /pay"].open()

    answer = ask("GET", "/keys", query=query).json()

    assert [key["key"] for key in answer["keys"]] == keys
    assert answer["matched"] == matched


@pytest.mark.parametrize(
    "query", ["show=all_of_them", "limit=0", "limit=x", "limit=1e3", "offset=-1", "limit=%D9%A1"]
)
def test_a_wrong_query_is_a_400(ask: Ask, query: str) -> None:
    reply = ask("GET", "/keys", query=query)

    assert reply.status == 400
    assert reply.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("key", ODD_KEYS)
def test_any_key_has_a_page_by_its_name_and_by_its_id(
    ask: Ask, registry: Registry, key: str
) -> None:
    _call(registry[key])
    [listed] = ask("GET", "/keys").json()["keys"]

    for name in (key, listed["id"]):
        page = ask("GET", f"/keys/{name}")
        assert page.status == 200
        assert page.json()["key"] == key
    assert ask("POST", f"/keys/{listed['id']}/open", {}).json()["state"] == "open"
    assert ask("POST", f"/keys/{key}/reset", {}).json()["state"] == "closed"


def test_a_page_has_the_changes_of_state_the_latest_first(
    ask: Ask, registry: Registry, dashboard: Dashboard
) -> None:
    breaker = registry["payments"]
    for _ in range(20):
        if (permit := breaker.try_acquire()) is not None:
            permit.failure("HTTP 502")
    breaker.close("fixed", by="ben")

    page = ask("GET", "/keys/payments").json()

    assert [(each["before"], each["after"]) for each in page["transitions"]] == [
        ("open", "closed"),
        ("closed", "open"),
    ]
    closed, opened = page["transitions"]
    assert closed["by"] == "ben"
    assert "HTTP 502" in opened["reason"]["sentence"]
    assert opened["reason"]["rule"]
    assert opened["bad_calls"][-1]["outcome"] == "failure"
    assert "HTTP 502" in opened["bad_calls"][-1]["error"]
    assert len(page["history"]) == 60
    assert page["policy"]["min_failures"] == 5


def test_the_last_minutes_are_told_step_by_step(
    ask: Ask, registry: Registry, dashboard: Dashboard
) -> None:
    breaker = registry["payments"]
    _call(breaker, times=3)
    breaker.acquire().failure("HTTP 500")
    breaker.open()
    assert breaker.try_acquire() is None

    page = ask("GET", "/keys/payments").json()

    assert sum(page["strip"]["good"]) == 3
    assert sum(page["strip"]["bad"]) == 1
    assert sum(page["strip"]["refused"]) == 1
    assert page["history"][-1]["state"] == "open"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("path", ["/keys", "/keys/POST /payments", "/", "/app.js", "/openapi.json"])
def test_nothing_is_sent_again_if_nothing_has_changed(
    ask: Ask, opened: str, clock: ManualClock, method: str, path: str
) -> None:
    tag = ask("GET", path).headers["etag"]
    clock.advance(0.5)

    again = ask(method, path, if_none_match=f'"x", {tag}')

    assert (again.status, again.body) == (304, b"")
    assert again.headers["etag"] == tag


def test_a_change_is_sent(ask: Ask, registry: Registry, opened: str) -> None:
    tag = ask("GET", "/keys").headers["etag"]
    registry[opened].open()

    assert ask("GET", "/keys", if_none_match=tag).status == 200


def test_answers_are_compressed_for_who_takes_it(ask: Ask, opened: str) -> None:
    plain = ask("GET", f"/keys/{opened}")
    packed = ask("GET", f"/keys/{opened}", accept_encoding="br, gzip")
    refused = ask("GET", f"/keys/{opened}", accept_encoding="gzip;q=0")

    assert len(packed.body) < len(plain.body) / 5
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.headers["content-length"] == str(len(packed.body))
    assert "content-encoding" not in refused.headers


def test_head_has_the_headers_and_no_body(ask: Ask, opened: str) -> None:
    reply = ask("HEAD", "/")

    assert reply.body == b""
    assert reply.headers["content-length"] == str(len(ask("GET", "/").body))


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/", "GET, HEAD, OPTIONS"),
        ("/keys", "GET, HEAD, OPTIONS"),
        ("/keys/POST /payments", "GET, HEAD, OPTIONS"),
        ("/keys/POST /payments/open", "POST, OPTIONS"),
    ],
)
def test_each_path_knows_its_methods(ask: Ask, opened: str, path: str, allowed: str) -> None:
    asked = ask("OPTIONS", path)

    assert (asked.status, asked.headers["allow"], asked.body) == (204, allowed, b"")
    for method in {"GET", "POST", "PUT", "DELETE", "PATCH", "TRACE"} - set(allowed.split(", ")):
        reply = ask(method, path)
        assert (reply.status, reply.headers["allow"]) == (405, allowed)


@pytest.mark.parametrize("path", ["/nothing", "/keys/nobody", "/keys/", "/../secret", "/_page"])
def test_what_is_not_there_is_a_404(ask: Ask, path: str, registry: Registry) -> None:
    reply = ask("GET", path)

    assert reply.status == 404
    assert reply.json()["status"] == 404
    assert len(registry) == 0


@pytest.mark.parametrize("path", ["/", "/keys", "/app.js", "/keys/nobody"])
def test_each_answer_forbids_scripts_of_others_and_frames(ask: Ask, path: str) -> None:
    headers = ask("GET", path).headers

    assert "default-src 'none'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("prefix", "location"), [("/breakers", "./breakers/"), ("/a/b c", "./b%20c/")]
)
def test_the_mount_itself_leads_to_the_page(ask: Ask, prefix: str, location: str) -> None:
    reply = ask("GET", "", prefix=prefix)

    assert (reply.status, reply.headers["location"]) == (308, location)


@pytest.mark.parametrize("prefix", ["", "/breakers", "/keys"])
def test_it_is_mounted_anywhere(ask: Ask, opened: str, prefix: str) -> None:
    assert ask("GET", "/keys/POST /payments", prefix=prefix).json()["key"] == opened


def test_the_document_of_the_api_knows_all_actions_and_settings(
    ask: Ask, registry: Registry, opened: str
) -> None:
    document = ask("GET", "/openapi.json").json()
    settings = document["components"]["schemas"]["Policy"]["properties"]

    assert {path for path in document["paths"] if path.count("/") == 3} == {
        f"/keys/{{key}}/{action}" for action in ACTIONS
    }
    assert settings.keys() == ask("GET", f"/keys/{opened}").json()["policy"].keys()
    for name, setting in settings.items():
        for value in (setting["minimum"] - 1, setting["maximum"] + 1):
            reply = ask("POST", f"/keys/{opened}/policy", {"policy": {name: value}})
            assert reply.status == 422
            assert f"{setting['minimum']:g} to {setting['maximum']:g}" in reply.json()["detail"]


# Actions


def test_open_with_reason_and_end(ask: Ask, registry: Registry, opened: str) -> None:
    reply = ask("POST", f"/keys/{opened}/open", {"reason": "migration", "for": 600})

    key = reply.json()
    assert (key["state"], key["calls"]) == ("open", 1)
    [override] = key["overrides"]
    assert (override["what"], override["by"], override["reason"]) == ("open", "anna", "migration")
    assert override["left"] == pytest.approx(600)
    [action] = ask("GET", f"/keys/{opened}").json()["actions"]
    assert (action["action"], action["by"], action["reason"]) == ("open", "anna", "migration")
    assert action["for"] == 600


def test_open_until_told_otherwise_says_that_it_does_not_end(ask: Ask, opened: str) -> None:
    key = ask("POST", f"/keys/{opened}/open", {"reason": "migration", "for": None}).json()

    assert key["overrides"][0]["left"] is None


def test_close_half_open_and_reset(ask: Ask, registry: Registry, opened: str) -> None:
    registry[opened].open()

    assert (
        ask("POST", f"/keys/{opened}/half-open", {"reason": "look"}).json()["state"] == "half_open"
    )
    assert ask("POST", f"/keys/{opened}/close", {"reason": "fixed"}).json()["state"] == "closed"
    assert ask("POST", f"/keys/{opened}/reset", {"reason": "anew"}).json()["state"] == "closed"
    assert [each["action"] for each in ask("GET", f"/keys/{opened}").json()["actions"]] == [
        "reset",
        "close",
        "half-open",
    ]


def test_mode_and_share_until_that_is_ended(ask: Ask, registry: Registry, opened: str) -> None:
    asked = {"mode": "observe", "enforce_share": 0.25, "for": 60, "reason": "try"}

    key = ask("POST", f"/keys/{opened}/mode", asked).json()
    assert (key["mode"], key["enforce_share"]) == ("observe", 0.25)
    assert key["overrides"][0]["mode"] == "observe"

    key = ask("POST", f"/keys/{opened}/end-override", {"reason": "done"}).json()
    assert (key["mode"], key["enforce_share"], key["overrides"]) == ("enforce", 1.0, [])


def test_where_nothing_was_changed_by_hand_there_is_nothing_to_end(ask: Ask, opened: str) -> None:
    ask("POST", f"/keys/{opened}/reset", {"reason": ""})

    reply = ask("POST", f"/keys/{opened}/end-override", {"reason": "done"})

    assert reply.status == 409
    assert str(os.getpid()) in reply.json()["detail"]


@pytest.mark.parametrize(("method", "path"), [("POST", "none/bogus"), ("GET", "none/open")])
def test_a_key_that_there_is_not_is_not_found_by_any_method(
    ask: Ask, method: str, path: str
) -> None:
    assert ask(method, f"/keys/{path}", {} if method == "POST" else None).status == 404


def test_policy_keeps_what_is_not_named(ask: Ask, registry: Registry, opened: str) -> None:
    reply = ask("POST", f"/keys/{opened}/policy", {"policy": {"min_failures": 7, "jitter": 0}})

    assert reply.status == 200
    policy = registry[opened].policy
    assert (policy.min_failures, policy.jitter, policy.open_for) == (7, 0, 0.15)


WRONG = [
    ("open", b"", 400),
    ("open", b"{", 400),
    ("open", b"[]", 400),
    ("open", b"null", 400),
    ("open", b'{"for": NaN}', 400),
    ("open", b'{"for": 1e999}', 400),
    ("open", b'{"for": "10m"}', 400),
    ("open", b'{"for": true}', 400),
    ("open", b'{"for": 1, "for": 2}', 400),
    ("open", b'{"reason": 7}', 400),
    ("open", b'{"reason": "\\ud800"}', 400),
    ("open", b'{"whatever": 1}', 400),
    ("open", b"\xff", 400),
    ("open", b"[" * 5000, 400),
    ("open", b'{"for": 1e9}', 422),
    ("open", b'{"for": 0}', 422),
    ("open", b'{"for": -1}', 422),
    ("open", b'{"for": 1' + b"0" * 300 + b"}", 422),
    ("open", json.dumps({"reason": "x" * 501}).encode(), 422),
    ("open", json.dumps({"reason": "x" * 20_000}).encode(), 413),
    ("close", b'{"for": 60}', 400),
    ("mode", b"{}", 400),
    ("mode", b'{"mode": 1}', 400),
    ("mode", b'{"mode": "off"}', 422),
    ("mode", b'{"enforce_share": "1"}', 400),
    ("mode", b'{"enforce_share": 1.5}', 422),
    ("mode", b'{"enforce_share": -0.1}', 422),
    ("mode", b'{"mode": "observe", "for": 1e9}', 422),
    ("policy", b"{}", 400),
    ("policy", b'{"policy": {}}', 400),
    ("policy", b'{"policy": []}', 400),
    ("policy", b'{"policy": {"min_failures": "7"}}', 400),
    ("policy", b'{"policy": {"min_failures": 7.5}}', 400),
    ("policy", b'{"policy": {"min_failures": true}}', 400),
    ("policy", b'{"policy": {"min_failures": 0}}', 422),
    ("policy", b'{"policy": {"min_failure": 7}}', 422),
    ("policy", b'{"policy": {"classify_error": 1}}', 422),
    ("policy", b'{"policy": {"open_for": 50, "max_open_for": 10}}', 409),
]


@pytest.mark.parametrize(("action", "body", "status"), WRONG)
def test_what_is_wrong_changes_nothing(
    ask: Ask, registry: Registry, opened: str, action: str, body: bytes, status: int
) -> None:
    breaker = registry[opened]
    before: Any = breaker.state, breaker.mode, breaker.policy, breaker.overrides

    reply = ask("POST", f"/keys/{opened}/{action}", body=body)

    assert reply.status == status
    assert reply.json()["status"] == status
    assert reply.headers["content-type"] == "application/problem+json"
    assert (breaker.state, breaker.mode, breaker.policy, breaker.overrides) == before
    assert ask("GET", f"/keys/{opened}").json()["actions"] == []
    assert registry.faults == 0


@pytest.mark.parametrize("action", ["open", "close", "half-open", "reset", "mode", "policy"])
def test_an_action_on_an_unknown_key_makes_none(ask: Ask, registry: Registry, action: str) -> None:
    reply = ask("POST", f"/keys/nobody/{action}", {"mode": "observe", "policy": {"jitter": 0.1}})

    assert reply.status in (400, 404)
    assert ask("POST", f"/keys/nobody/{action}", {}).status == 404
    assert "nobody" not in registry
