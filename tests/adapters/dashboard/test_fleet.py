"""What the JSON API tells of a fleet, and that nothing changes without one."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.dashboard_client import PASSWORD, USER, Ask, Reply
from tests.support.fleet_workers import Workers
from tests.support.waiting import until

from recloser import Mode, Registry, State
from recloser.testing import ManualClock
from recloser_adapters._fleet_json import NO_FLEET
from recloser_adapters.dashboard import Dashboard, basic

AskFleet = Callable[..., Reply]


@pytest.fixture
def workers(clock: ManualClock) -> Workers:
    return Workers(clock)


@pytest.fixture
def look(ask: Ask, workers: Workers) -> Iterator[AskFleet]:
    """Asks the dashboard of the first worker."""
    dashboard = Dashboard(workers.registries[0], auth=basic({USER: PASSWORD, "guest": "look"}))

    def look(method: str, path: str, value: Any = None, **more: Any) -> Reply:
        return ask(method, path, value, to=dashboard, **more)

    yield look
    dashboard.close()


def _key(look: AskFleet, key: str) -> Any:
    [found] = [each for each in look("GET", "/keys").json()["keys"] if each["key"] == key]
    return found


# Without a store


def test_without_a_store_there_is_no_fleet(ask: Ask, opened: str) -> None:
    answer = ask("GET", "/keys").json()

    assert answer["view"]["fleet"] is None
    assert answer["keys"][0]["fleet"] is None
    assert ask("GET", f"/keys/{opened}").json()["fleet"] is None
    reply = ask("GET", "/fleet")
    assert (reply.status, reply.json()["detail"]) == (404, NO_FLEET)
    assert reply.headers["content-type"] == "application/problem+json"


def test_the_fleet_can_only_be_read(look: AskFleet) -> None:
    for method in ("POST", "PUT", "DELETE"):
        reply = look(method, "/fleet", {} if method == "POST" else None)
        assert (reply.status, reply.headers["allow"]) == (405, "GET, HEAD, OPTIONS")
    assert look("OPTIONS", "/fleet").status == 204


# With one


def test_a_view_has_the_fleet_in_a_few_figures(look: AskFleet, workers: Workers) -> None:
    assert look("GET", "/keys").json()["view"]["fleet"] == {
        "place": "memory:7/0",
        "me": workers.names[0],
        "alive": 1,  # the others came later
        "connected": True,
        "failing_for": None,
        "failures": 0,
        "last_failure": "",
        "garbage": 0,
    }
    workers.turn(5.5)
    assert look("GET", "/keys").json()["view"]["fleet"]["alive"] == 3


def test_trouble_with_the_store_is_told_and_since_when(
    look: AskFleet, workers: Workers, clock: ManualClock
) -> None:
    workers.shared.trouble = "no route"
    workers.turn(4.0)
    fleet = look("GET", "/keys").json()["view"]["fleet"]

    assert not fleet["connected"]
    assert fleet["failing_for"] == pytest.approx(4.0, abs=1.6)
    assert fleet["last_failure"] == "no route"
    assert fleet["failures"] >= 3

    workers.shared.trouble = ""
    workers.turn(2.0)
    fleet = look("GET", "/keys").json()["view"]["fleet"]
    assert (fleet["connected"], fleet["failing_for"]) == (True, None)


def test_a_key_has_what_the_fleet_decided(look: AskFleet, workers: Workers) -> None:
    workers.call("pay", times=40)
    assert _key(look, "pay")["fleet"] is None
    for _ in range(10):
        workers.call("pay", bad=True)
        workers.turn(0.1)

    fleet = _key(look, "pay")["fleet"]
    assert (fleet["state"], fleet["watched"], fleet["alone"]) == ("open", True, {})
    assert fleet["leader"] in workers.names
    assert len(fleet["probers"]) <= 1
    assert fleet["explain"].startswith("Led by ")
    assert look("GET", "/keys/pay").json()["fleet"] == fleet


def test_who_disagrees_is_told_of_a_key(look: AskFleet, workers: Workers) -> None:
    workers.call("search")
    about = {"host": "web-9", "pid": 77, "leads": [], "alone": {"search": "limited"}}
    workers.fleet(workers.registries[1]).store.beat("web-9/77/ab", json.dumps(about), 600.0)
    workers.turn(5.5)

    assert _key(look, "search")["fleet"] == {
        "state": "closed",
        "watched": False,
        "leader": "",
        "probers": [],
        "alone": {"web-9/77/ab": "limited"},
        "explain": "Decided alone: web-9/77 (limited).",
    }
    told = look("GET", "/fleet").json()
    assert told["alive"] == 4
    assert [key["key"] for key in told["keys"]] == ["search"]
    assert {"name": "web-9/77/ab", "host": "web-9", "pid": 77, "leads": []}.items() <= (
        told["workers"][-1] if told["workers"][-1]["host"] == "web-9" else told["workers"][0]
    ).items()


def test_many_workers_are_counted_in_a_sentence_and_this_one_is_told_apart(
    look: AskFleet, workers: Workers
) -> None:
    workers.call("search")
    for name in (workers.names[0], "a/1/x", "b/2/x", "c/3/x", "d/4/x"):
        about = {"host": "", "pid": 1, "leads": [], "alone": {"search": "half_open"}}
        workers.fleet(workers.registries[1]).store.beat(name, json.dumps(about), 600.0)
    member = workers.fleet(workers.registries[0]).member
    member._beats.others = workers.fleet(workers.registries[1]).store.workers()

    assert _key(look, "search")["fleet"]["explain"] == (
        "Decided alone: a/1, b/2, c/3 and 2 more (half-open)."
    )
    for name in ("a/1/x", "b/2/x"):
        member._beats.others.pop(name)
    said = _key(look, "search")["fleet"]["explain"]
    assert said == "Decided alone: c/3, d/4, this worker (half-open)."


@pytest.mark.parametrize("path", ["/keys", "/keys/pay", "/fleet"])
def test_nothing_is_sent_again_until_the_fleet_changes(
    look: AskFleet, workers: Workers, clock: ManualClock, path: str
) -> None:
    workers.call("pay")
    workers.turn(5.5)
    tag = look("GET", path).headers["etag"]
    clock.advance(0.3)
    assert look("GET", path, if_none_match=tag).status == 304

    about = {"host": "web-9", "pid": 77, "leads": [], "alone": {"pay": "open"}}
    workers.fleet(workers.registries[1]).store.beat("web-9/77/ab", json.dumps(about), 600.0)
    workers.turn(5.5)
    assert look("GET", path, if_none_match=tag).status == 200


def test_trouble_that_only_lasts_is_not_sent_again(look: AskFleet, workers: Workers) -> None:
    workers.shared.trouble = "no route"
    workers.turn(1.0)
    tag = look("GET", "/keys").headers["etag"]
    workers.clock.advance(0.3)

    assert look("GET", "/keys", if_none_match=tag).status == 304


# Actions


def test_an_action_reaches_all_workers(look: AskFleet, workers: Workers) -> None:
    workers.call("pay")

    assert look("POST", "/keys/pay/open", {"reason": "migration", "for": 600}).status == 200
    workers.turn(0.2)
    assert {each["pay"].state for each in workers.registries} == {State.OPEN}
    assert _key(look, "pay")["fleet"]["leader"] == workers.names[0]

    assert look("POST", "/keys/pay/close", {"reason": "done"}).status == 200
    workers.turn(0.2)
    assert {each["pay"].state for each in workers.registries} == {State.CLOSED}

    assert look("POST", "/keys/pay/mode", {"mode": "observe", "reason": "first week"}).status == 200
    workers.turn(1.2)
    assert {each["pay"].mode for each in workers.registries} == {Mode.OBSERVE}


def test_an_action_reaches_the_others_when_the_store_works_again(
    look: AskFleet, workers: Workers
) -> None:
    """The dialog of the page says so."""
    workers.call("pay")
    workers.shared.trouble = "no route"
    workers.turn(2.0)
    assert look("POST", "/keys/pay/open", {"reason": "migration", "for": 600}).status == 200
    workers.turn(2.0)
    assert [each["pay"].state for each in workers.registries[1:]] == [State.CLOSED] * 2

    workers.shared.trouble = ""
    workers.turn(2.5)
    assert {each["pay"].state for each in workers.registries} == {State.OPEN}


def test_workers_that_share_a_file_see_an_action_of_another(ask: Ask, tmp_path: Path) -> None:
    """On a real file, with real threads."""
    registries = [Registry(store=tmp_path / "fleet.db") for _ in range(2)]
    boards = [Dashboard(each, auth=basic({USER: PASSWORD})) for each in registries]
    for each in registries:
        with each["pay"]:
            pass

    assert ask("POST", "/keys/pay/open", {"reason": "migration"}, to=boards[0]).status == 200

    def told() -> Any:
        return ask("GET", "/fleet", to=boards[1]).json()

    until(lambda: registries[1]["pay"].state is State.OPEN, "the other worker hears of it")
    until(lambda: bool(told()["keys"]), "its dashboard tells it")
    assert [(key["key"], key["state"], key["by"]) for key in told()["keys"]] == [
        ("pay", "open", USER)
    ]
    until(lambda: len(told()["workers"]) == 2, "it knows both workers")
    for board, registry in zip(boards, registries, strict=True):
        board.close()
        assert registry.fleet is not None
        registry.fleet.close()
