"""`recloser fleet status`: what it shows of a store or a dashboard, and what it says of a bad place."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.dashboard_stub import PREFIX, Stub, dashboard_stub
from tests.support.fleet_workers import Workers
from tests.support.waiting import PATIENCE, until

from recloser import Registry, State
from recloser.fleet import read_status, store_at
from recloser.testing import ManualClock
from recloser_adapters._command.cli import main
from recloser_adapters._command.fleet_table import lines_of_fleet
from recloser_adapters._fleet_json import NO_FLEET, fleet_json, short_name


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RECLOSER_STORE", raising=False)
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture
def workers(clock: ManualClock) -> Workers:
    """Of a fleet in which one key is open, one opened by hand, and one worker disagrees."""
    workers = Workers(clock)
    workers.call("pay", times=40)
    for _ in range(10):
        workers.call("pay", bad=True)
        workers.turn(0.1)
    workers.registries[1]["refund"].open("migration", for_=60, by="anna")
    workers.turn(0.2)
    about = {"host": "web-9", "pid": 77, "leads": ["old"], "alone": {"search": "open"}}
    workers.fleet(workers.registries[0]).store.beat("web-9/77/ab", json.dumps(about), 600.0)
    workers.turn(5.5)
    return workers


def _shown(view: dict[str, Any], width: int | None = None) -> list[str]:
    lines = lines_of_fleet(view, width)
    return ["".join(piece for piece, _ in line) for line in lines]


def _status(workers: Workers) -> dict[str, Any]:
    return fleet_json(workers.fleet(workers.registries[0]).status())


# What is told


def test_a_fleet_has_its_workers_and_the_keys_that_are_not_closed(workers: Workers) -> None:
    told = _status(workers)
    keys = {key.pop("key"): key for key in told["keys"]}

    assert told["alive"] == 4
    assert [worker["name"] for worker in told["workers"]] == sorted([*workers.names, "web-9/77/ab"])
    assert {name: key["state"] for name, key in keys.items()} == {
        "pay": "open",
        "refund": "open",
        "search": "closed",
    }
    assert keys["refund"]["by"] == "anna"
    assert keys["refund"]["probers"] == []
    assert keys["refund"]["leader"] == workers.names[1]
    assert keys["refund"]["retry_after"] == pytest.approx(54.3, abs=0.5)
    assert keys["pay"]["leader"] in workers.names
    assert len(keys["pay"]["probers"]) == 1
    assert keys["search"]["alone"] == {"web-9/77/ab": "open"}
    assert not keys["search"]["watched"]
    json.dumps(told, allow_nan=False)


def test_who_leads_is_known_from_the_keys_and_not_from_an_old_word(workers: Workers) -> None:
    leads = {worker["name"]: worker["leads"] for worker in _status(workers)["workers"]}

    assert leads["web-9/77/ab"] == []
    assert "refund" in leads[workers.names[1]]


def test_the_store_tells_the_same_as_a_worker(workers: Workers) -> None:
    store = workers.fleet(workers.registries[0]).store
    from_store, from_worker = fleet_json(read_status(store)), _status(workers)

    for told in (from_store, from_worker):
        for key in told["keys"]:
            # They are of another moment.
            del key["since"], key["retry_after"]
    assert from_store == {**from_worker, "me": ""}


def test_what_does_not_end_by_itself_has_no_end(workers: Workers) -> None:
    workers.registries[0]["crm"].open("broken", by="ben")
    workers.turn(0.2)
    [key] = [key for key in _status(workers)["keys"] if key["key"] == "crm"]

    assert key["retry_after"] is None
    assert any(
        line.split()[:6] == ["■", "open", "0", "s", "never", "-"]
        for line in _shown(_status(workers))
    )


# The table


def test_the_table_says_who_leads_probes_disagrees_and_did_it_by_hand(workers: Workers) -> None:
    said = [" ".join(line.split()) for line in _shown(_status(workers))]
    host, pid = workers.names[0].split("/")[:2]

    assert said[0] == "memory:7/0: 4 workers on 2 hosts, 2 open, 1 worker disagrees"
    assert said[1] == "state for next probe limit key"
    assert any(line.startswith("■ open") and line.endswith("pay") for line in said)
    assert any(line.endswith(f"{host}/{pid} may probe") for line in said)
    assert "by hand by 'anna': 'migration'" in said
    assert f"led by {host}/{pid}" in said
    closed = said.index("● closed - - - search")
    assert said[closed + 1] == "web-9/77 disagrees: it is open"
    assert "web-9 77 disagrees: search is open" in said
    assert said.index("host process") > closed


def _view(*keys: dict[str, Any], **more: Any) -> dict[str, Any]:
    view = {"place": "sqlite:/a.db", "connected": True, "garbage": 0, "workers": []}
    return {**view, "keys": list(keys), **more}


def _key(key: str, state: str = "open", **more: Any) -> dict[str, Any]:
    usual = {"since": 200.0, "reason": "bad", "leader": "web-1/7/x", "retry_after": 3.0}
    also: dict[str, Any] = {"limit": None, "probers": None, "alone": {}, "by": "", "watched": True}
    return {"key": key, "state": state, **usual, **also, **more}


def test_the_worst_keys_come_first_and_what_is_watched_last() -> None:
    states = ["closed", "limited", "half_open", "open", "stuck"]
    said = _shown(_view(*(_key(state, state) for state in states)))

    rows = [line.split()[-1] for line in said if not line.startswith(" ")]
    assert rows[0] == "watched"  # the head
    assert sorted(rows[2:4]) == ["open", "stuck"]
    assert rows[4:] == ["half_open", "limited", "closed"]
    assert said[0] == "sqlite:/a.db: 0 workers, 1 open, 1 half-open, 1 limited, 1 watched"


def test_a_fleet_with_nothing_to_tell_has_its_workers_by_host() -> None:
    each = [(host, pid) for host in ("web-1", "web-2") for pid in (12, 7, 100)]
    workers = [{"name": f"{host}/{pid}/x", "host": host, "pid": pid} for host, pid in each]

    assert _shown(_view(workers=workers, garbage=2)) == [
        "sqlite:/a.db: 6 workers on 2 hosts, all closed, 2 texts of others ignored",
        "host   process",
        "web-1  7, 12, 100",
        "web-2  7, 12, 100",
    ]


def test_many_workers_in_a_sentence_are_counted() -> None:
    names = {f"web-{number}/1/x": "open" for number in range(5)}
    said = _shown(_view(_key("pay", probers=list(names), alone={**names, "web-9/1/x": "limited"})))

    assert "    led by web-1/7; web-0/1, web-1/1, web-2/1 and 2 more may probe" in said
    assert "    web-0/1, web-1/1, web-2/1 and 3 more disagree: they are limited or open" in said
    assert "    led by web-1/7; each worker may probe" in _shown(_view(_key("pay")))


def test_a_worker_without_its_store_says_so() -> None:
    view = _view(connected=False, last_failure="", failing_for=None)
    assert "not connected yet" in _shown(view)[1]

    view |= {"last_failure": "no route", "failing_for": 12.0}
    assert _shown(view)[1].strip().startswith("the store fails for 12 s: no route; this worker")


@pytest.mark.parametrize("width", [10, 20, 40, 60, 80, 100])
def test_no_line_is_longer_than_the_terminal(workers: Workers, width: int) -> None:
    long = _key("GET /" + "x" * 300, alone={"w" * 40 + "/1/x": "open"}, reason="it is bad " * 30)
    status = _status(workers)
    status["keys"].append(long)

    lines = _shown(status, width)
    if width >= 40:
        assert max(map(len, lines)) <= width
    assert all(lines)


def test_a_key_and_a_reason_forge_no_lines() -> None:
    odd = "a\nb\x1b[2J"
    said = _shown(_view(_key(odd, reason=odd, by=odd, leader=odd, alone={odd: odd}), place=odd))

    assert not any(character in "".join(said) for character in "\n\x1b")
    assert "a\\nb\\x1b[2J" in "".join(said)


@pytest.mark.parametrize(
    "broken", [{}, {"keys": 3, "workers": None}, {"keys": [1], "workers": [None]}]
)
def test_an_answer_that_lacks_something_is_shown_as_far_as_it_goes(broken: dict[str, Any]) -> None:
    assert _shown(broken)


@pytest.mark.parametrize(
    ("name", "short"), [("a/1/b", "a/1"), ("a", "a"), ("", ""), (None, "None")]
)
def test_a_name_is_shown_without_its_random_part(name: object, short: str) -> None:
    assert short_name(name) == short


# The command, on a real file


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Path]:
    """A store in which a key was opened by hand."""
    path = tmp_path / "fleet.db"
    one, other = Registry(store=path), Registry(store=path)
    one["pay"].open("migration", for_=600, by="anna")
    with other["orders"]:
        pass
    until(lambda: other["pay"].state is State.OPEN, "the other one hears of it")
    yield path
    for each in (one, other):
        assert each.fleet is not None
        each.fleet.close()


def test_a_file_is_read(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fleet", "status", "--store", str(file)]) == 0

    head, *_, workers = capsys.readouterr().out.splitlines()
    assert head == f"sqlite:{file}: 2 workers, 1 open"
    assert str(os.getpid()) in workers


def test_the_environment_names_the_store(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RECLOSER_STORE", str(file))

    assert main(["fleet", "status", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [(key["key"], key["by"]) for key in told["keys"]] == [("pay", "anna")]
    assert told["alive"] == 2


def test_to_look_changes_nothing(file: Path) -> None:
    store = store_at(file)
    before = store.news(0)

    assert main(["fleet", "status", "--store", str(file)]) == 0

    assert store.news(0).version == before.version
    assert len(store.workers()) == 2
    store.close()


def test_watch_goes_on_until_it_is_interrupted(file: Path) -> None:
    command = ["-m", "recloser_adapters", "fleet", "status", "--store", str(file)]
    with subprocess.Popen(
        [sys.executable, *command, "--watch", "--every=0.1s", "--json"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))},
        # A shell starts what is in the background with SIGINT ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:
        assert process.stdout is not None
        looks = [json.loads(process.stdout.readline()) for _ in range(3)]
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=PATIENCE)

    assert process.returncode == 130
    assert all(look["keys"][0]["key"] == "pay" for look in looks)


@pytest.mark.parametrize(
    ("place", "status", "says"),
    [
        ("", 2, "which fleet? Give --store PLACE"),
        ("foo://a", 2, "not foo://..."),
        ("redis://:secret@h", 2, "no password in --store"),
        ("redis://h?password=secret", 2, "no password in --store"),
        ("redis://h:port", 2, "this store cannot be read: "),
        ("{tmp}/none.db", 3, "there is no file "),
        ("{tmp}/text/none.db", 3, "there is no file "),
        ("localhost:6379", 3, "or a URL such as redis://"),
        ("{tmp}", 2, "is no file"),
        ("{tmp}/text", 2, "this store cannot be read: "),
        ("unix://{tmp}/none.sock", 3, "no answer from unix://"),
    ],
)
def test_a_bad_place_is_said_in_one_line(
    place: str, status: int, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if "://" in place:
        pytest.importorskip("redis")
    (tmp_path / "text").write_text("This is no database.\n" * 100)

    assert main(["fleet", "status", "--store", place.format(tmp=tmp_path)]) == status

    output = capsys.readouterr()
    [line] = output.err.splitlines()
    assert line.startswith("recloser: ")
    assert says in line
    assert "secret" not in line
    assert output.out == ""
    assert not (tmp_path / "none.db").exists()


def test_a_file_that_may_not_be_looked_at_is_no_missing_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    usual, path = os.stat, str(tmp_path / "recloser.db")

    def refuse(name: Any, **more: Any) -> os.stat_result:
        if name == path:
            raise PermissionError(13, "Permission denied", name)
        return usual(name, **more)

    monkeypatch.setattr(os, "stat", refuse)

    assert main(["fleet", "status", "--store", path]) == 3

    [line] = capsys.readouterr().err.splitlines()
    assert "permission denied" in line
    assert "there is no file" not in line


def test_a_fleet_with_a_name_is_shown_by_its_name(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shop = store_at(file, "shop")
    shop.beat("host/1/x", "{}", 60.0)
    command = ["fleet", "status", "--json", "--store", str(file)]

    alive = []
    for more in ([], ["--namespace", "shop"], ["--namespace", "recloser"]):
        assert main([*command, *more]) == 0
        alive.append(json.loads(capsys.readouterr().out)["alive"])

    assert alive == [2, 1, 2]
    shop.close()


def test_a_namespace_that_cannot_be_used_is_said_in_one_line(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("redis")
    for arguments, says in (
        (["--store", str(file), "--namespace", ""], "namespace must not be empty"),
        (["--store", "redis://h?namespace=a", "--namespace", "b"], "given twice"),
        (["--url", "http://h", "--namespace", "b"], "--namespace is for a store"),
    ):
        assert main(["fleet", "status", *arguments]) == 2
        [line] = capsys.readouterr().err.splitlines()
        assert says in line


def test_wrong_use_is_said_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, says in (
        (["fleet"], "the following arguments are required: COMMAND"),
        (["fleet", "status", "--store", "a", "--url", "u"], "not allowed with argument"),
        (["fleet", "status", "--every", "0s"], "must be a time such as"),
    ):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert ended.value.code == 2
        [line] = capsys.readouterr().err.splitlines()
        assert says in line
    assert main(["fleet", "status", "--store", "a", "--user", "anna"]) == 2
    assert "--user is for a dashboard" in capsys.readouterr().err


# The command, asking a dashboard


@pytest.fixture
def stub() -> Iterator[Stub]:
    with dashboard_stub() as stub:
        yield stub


def test_a_dashboard_is_asked(
    stub: Stub, workers: Workers, capsys: pytest.CaptureFixture[str]
) -> None:
    body = json.dumps(_status(workers)).encode()
    stub.answer = (200, {"Content-Type": "application/json"}, body)

    assert main(["fleet", "status", "--url", stub.url]) == 0

    assert capsys.readouterr().out.startswith("memory:7/0: 4 workers on 2 hosts, 2 open, ")
    assert stub.asked[0][:2] == ("GET", f"{PREFIX}/fleet")


@pytest.mark.parametrize(
    ("detail", "status", "says"),
    [(NO_FLEET, 1, "is in no fleet"), ("There is no such page.", 3, "not as a dashboard")],
)
def test_a_dashboard_without_a_fleet_is_told_from_no_dashboard(
    stub: Stub, detail: str, status: int, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    body = {"type": "about:blank", "title": "No", "status": 404, "detail": detail}
    stub.answer = (404, {"Content-Type": "application/problem+json"}, json.dumps(body).encode())

    assert main(["fleet", "status", "--url", stub.url]) == status

    [line] = capsys.readouterr().err.splitlines()
    assert says in line
