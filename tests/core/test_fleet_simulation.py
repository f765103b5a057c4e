"""A fleet on virtual time: what it must reach in an outage, a restart, and with a store that fails.

These are small runs of `benchmarks.fleet`, and tests of its own parts.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from math import inf
from pathlib import Path
from statistics import fmean
from xml.etree import ElementTree

import pytest

# The benchmarks are no part of the wheel that tox tests.
ROOT = Path(__file__).parents[2]
if str(ROOT) not in sys.path:
    sys.path.append(str(ROOT))
pytest.importorskip("benchmarks.fleet")

from benchmarks.detection.simulator import Clock
from benchmarks.fleet import growth, idle, loops, outage, restart, sick, trouble
from benchmarks.fleet.__main__ import main
from benchmarks.fleet.cases import Case, Figures, Options, Section, spread
from benchmarks.fleet.network import Link, Network
from benchmarks.fleet.parts import PARTS
from benchmarks.fleet.report import as_json, from_json
from benchmarks.fleet.traffic import Record, Traffic, dying
from benchmarks.fleet.workers import ALONE, FLEET, ONE, Worker, contenders

from recloser import State
from recloser._fleet.store import StoreError


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, logger="recloser")


# A dead callee


def dead(
    entrant: str, workers: int, what: str = "fails", rate: float = 120.0, seed: int = 1
) -> Figures:
    return outage.play(
        Case(part="outage", what=what, entrant=entrant, workers=workers, rate=rate), seed
    )


def served(entrant: str, workers: int) -> float:
    """How many of the calls after the recovery are answered, in %: in one run, it is chance when
    the next probe is due."""
    return fmean(dead(entrant, workers, seed=seed)["served"] for seed in range(3))


@pytest.fixture(scope="module", autouse=True)
def quiet() -> Iterator[None]:
    log = logging.getLogger("recloser")
    level = log.level
    log.setLevel(logging.CRITICAL)
    yield
    log.setLevel(level)


@pytest.fixture(scope="module")
def one() -> Figures:
    return dead(ONE, 1)


def test_eight_workers_waste_no_more_than_half_as_much_again_as_one(one: Figures) -> None:
    fleet, alone = dead(FLEET, 8), dead(ALONE, 8)

    assert fleet["wasted"] <= 1.5 * one["wasted"] < alone["wasted"]
    assert fleet["opened"] == 100.0
    assert fleet["apart"] <= 0.06
    assert fleet["probes"] == 1
    assert fleet["early"] == fleet["faults"] == 0


def test_many_workers_waste_no_more_than_twice_as_much_as_one(one: Figures) -> None:
    fleet = dead(FLEET, 32)

    assert fleet["wasted"] <= 2.0 * one["wasted"]
    assert fleet["apart"] <= 0.06
    assert fleet["probes"] <= fleet["tickets"] < inf


def test_after_a_recovery_a_fleet_serves_about_as_many_as_one_worker() -> None:
    one = served(ONE, 1)

    for workers in (8, 32):
        assert served(FLEET, workers) >= one - 2.0


def test_a_callee_that_hangs_is_probed_by_one_worker_at_a_time() -> None:
    one, fleet = dead(ONE, 1, "hangs", 10.0), dead(FLEET, 8, "hangs", 10.0)

    assert fleet["probes"] == 1
    assert fleet["wasted"] <= 1.5 * one["wasted"]


# What is lost on the way to the store


@pytest.mark.parametrize(
    ("delay", "lost", "failing"), [(0.2, 0.0, 0.0), (0.02, 0.5, 0.0), (0.02, 0.0, 0.05)]
)
def test_a_slow_store_opens_nothing_by_itself(delay: float, lost: float, failing: float) -> None:
    case = Case(
        part="growth", what="", workers=16, rate=300.0, delay=delay, lost=lost, failing=failing
    )

    figures = growth.play(case, 1)

    assert figures["early"] == figures["faults"] == 0
    # 300 calls/s for the second in which a fleet of this size and delay must know, and 30 probes.
    assert figures["wasted"] <= 330
    assert figures["all"] <= 1.0


# New workers


@pytest.mark.parametrize("how", ["all at once", "all at once, killed", "one is new"])
def test_what_was_learned_outlives_the_workers(how: str) -> None:
    fleet = restart.play(Case(part="restart", what=how, workers=8), 1)
    alone = restart.play(Case(part="restart", what=how, entrant=ALONE, workers=8), 1)

    assert fleet["share 1"] == 100.0 > alone["share 1"]
    assert fleet["threshold 1"] == pytest.approx(fleet["threshold before"], rel=0.05)
    # Of one run: there are ten failures a worker, so the shares of single workers are rough.
    assert fleet["rate 1"] == pytest.approx(fleet["rate before"], rel=0.2)
    assert fleet["opened"] == fleet["faults"] == 0


# A store while nothing is wrong


def test_the_load_on_the_store_does_not_depend_on_the_traffic() -> None:
    few, many = (
        idle.play(Case(part="idle", what="1 key", workers=8, rate=rate), 1) for rate in (1.0, 200.0)
    )

    assert max(few["highest"], many["highest"]) <= 2.0
    assert many["mean"] == pytest.approx(few["mean"], abs=0.2)
    assert many["openings"] == many["refused"] == 0


def test_many_keys_are_kept_at_the_same_pace() -> None:
    figures = idle.play(Case(part="idle", what="1,000 keys", workers=8, rate=100.0), 1)

    assert figures["highest"] <= 2.0


# A store that fails


@pytest.mark.parametrize("phase", ["dead", "recovers"])
@pytest.mark.parametrize("what", ["fails", "half cut off", "flushed"])
def test_states_agree_soon_after_the_store_is_back(phase: str, what: str) -> None:
    case = Case(part="trouble", what=f"{phase}, {what}", workers=8)
    alone = Case(part="trouble", what=f"{phase}, none", entrant=ALONE, workers=8)

    fleet = trouble.play(case, 1)

    assert fleet["agree"] <= 2.0
    assert fleet["shrunk"] == fleet["faults"] == 0
    # In %: a look may fall into the milliseconds that news of a change take.
    assert fleet["apart"] <= 0.2
    assert fleet["answered"] >= trouble.play(alone, 1)["answered"] - 2.0


@pytest.mark.parametrize("what", ["fails", "half cut off", "flushed, a new worker"])
def test_a_store_that_fails_opens_nothing(what: str) -> None:
    figures = trouble.play(Case(part="trouble", what=f"well, {what}", workers=8), 1)

    assert figures["opened"] == figures["faults"] == 0


# A worker that is sick


@pytest.mark.parametrize("what", list(sick.SICK))
def test_a_sick_worker_opens_nobody_else(what: str) -> None:
    fleet = sick.play(Case(part="sick", what=what, workers=8), 1)
    alone = sick.play(Case(part="sick", what=what, entrant=ALONE, workers=8), 1)

    if sick.SICK[what][0] >= 1:
        assert fleet["openings of the well"] == 0
        assert fleet["refused by the well"] == 0
    # If most are cut off, it may take some probes until that is sure.
    assert fleet["refused by the well"] <= 2.0
    assert fleet["refused by the sick"] >= alone["refused by the sick"] - 5.0
    assert fleet["answered"] >= alone["answered"] - 2.0


# The parts of the benchmark


def test_a_run_is_the_same_each_time() -> None:
    case = Case(part="growth", what="", workers=8, rate=100.0, delay=0.02, lost=0.2, failing=0.02)

    assert growth.play(case, 3) == growth.play(case, 3) != growth.play(case, 4)


def test_an_operation_that_does_not_reach_the_store_fails() -> None:
    clock = Clock()
    network = Network(clock, 1)
    links = [Link(network, number, lambda: None) for number in range(2)]
    network.cut.add(1)

    assert links[0].swap("key a", 0, 1, '{"tickets":null,"places":1,"state":"open"}', 60.0)
    with pytest.raises(StoreError):
        links[1].get("key a")
    network.cut.clear()
    assert links[1].get("key a") is not None
    assert links[1].operations == 2
    network.failing = 1.0
    with pytest.raises(StoreError):
        links[0].get("key a")


def test_an_epoch_that_shrinks_is_noted() -> None:
    network = Network(Clock(), 1)
    link = Link(network, 0, lambda: None)
    for epoch, shrunk in ((5, 0), (6, 0)):
        assert link.swap("mode a", epoch - 1, epoch, "{}", 60.0)
        assert network.data.shrunk == shrunk

    network.data.flush()
    assert link.swap("mode a", 0, 3, "{}", 60.0)

    assert network.data.shrunk == 1


@pytest.mark.parametrize(
    ("cut", "lost", "heard"), [(False, 0.0, 1), (True, 0.0, 0), (False, 1.0, 0)]
)
def test_the_bell_reaches_who_is_connected(cut: bool, lost: float, heard: int) -> None:
    clock = Clock()
    network = Network(clock, 1, lost=lost)
    first, second = (Worker(clock, network, number, number) for number in range(2))
    planned = list[float]()
    network.schedule = lambda at, handler, argument: planned.append(at)
    second.is_running = True
    if cut:
        network.cut.add(second.number)

    first.store.ring()

    assert len(planned) == heard
    assert all(0.5 * network.delay <= at <= 1.5 * network.delay for at in planned)


def test_a_fleet_takes_as_many_operations_as_its_store_counts() -> None:
    clock = Clock()
    network = Network(clock, 1)
    everyone = contenders(FLEET, 3, clock, network, 1)
    traffic = Traffic(clock, everyone, 50.0, 20.0, dying(10.0, 20.0, 0.02), 1)
    network.schedule = traffic.schedule
    traffic.run()

    counted = [each.store.operations for each in everyone if isinstance(each, Worker)]

    assert network.data.total == sum(counted) > 60
    assert {each.breaker.state for each in everyone} <= {State.OPEN, State.HALF_OPEN}


def test_a_record_counts_what_was_in_flight_at_once() -> None:
    record = Record()
    for start, took, admitted, bad in (
        (1.0, 2.0, 1, 1),
        (2.0, 2.0, 1, 1),
        (2.5, 1.0, 0, 1),
        (2.6, 1.0, 1, 0),
        (4.5, 1.0, 1, 1),
    ):
        record.starts.append(start)
        record.workers.append(0)
        record.tooks.append(took)
        record.admitted.append(admitted)
        record.good.append(not bad)
        record.bad.append(bad)

    assert record.peak(0.0, 10.0) == 2
    assert record.peak(1.5, 10.0) == 1
    assert record.wasted() == 3
    assert record.answered() == pytest.approx(20.0)
    assert record.refused(2.1, 3.0) == pytest.approx(50.0)


def test_every_part_has_its_cases() -> None:
    for name, part in PARTS.items():
        cases = part.cases(Options(workers=(8,)))

        assert {case.part for case in cases} == {name}
        assert len(set(cases)) == len(cases)
        assert all(case.entrant in (ONE, ALONE, FLEET) for case in cases)


def test_the_threads_of_a_scenario_are_shared_by_its_workers() -> None:
    shared = loops.scenario("0.25 hang, 8 x 8 threads", 64)

    assert (shared.workers, shared.threads) == (64, 1)
    assert loops.scenario("0.25 hang", 64).threads == 0


def test_a_goal_is_met_or_missed() -> None:
    section = Section()
    section.at_most("a", 2.0, 2.0)
    section.at_most("b", 2.0, inf, " s")
    section.at_least("c", 2.0, 1.9)

    assert [goal.met for goal in section.goals] == [True, False, False]
    assert section.goals[1].measured == "never"
    assert spread([{"x": 1.0}, {"x": inf}], "x") == "1 (1-never)"


def test_the_command_writes_a_report_and_its_figures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["outage", "--only", "fails, fleet, 2 workers, 10/s", "--workers", "2"]
    words += ["--seeds", "1", "--processes", "1", "--json", str(tmp_path / "a.json")]

    assert main(words) == 0

    assert "python -m benchmarks.fleet outage --seeds 1" in capsys.readouterr().out
    text = (tmp_path / "a.json").read_text()
    [played] = json.loads(text)
    assert played["cases"][0]["runs"][0]["opened"] == 100.0
    [again] = from_json(text, PARTS)
    assert as_json([again]) == text
    assert main(["--read", str(tmp_path / "a.json")]) == 0
    assert "| fails" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["[", "[1]", '[{"part": "none"}]', "{}x"])
def test_figures_that_are_none_are_an_error(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "a.json"
    file.write_text(text)

    assert main(["--read", str(file)]) == 2
    assert "--read: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nothing"], "none of outage"),
        (["--seeds", "0"], "--seeds must be 1 or more"),
        (["--workers", "1"], "--workers"),
    ],
)
def test_bad_words_are_named(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)

    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_a_case_that_is_not_there_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["outage", "--only", "no such case"]) == 2
    assert "no such case" in capsys.readouterr().err


def test_growth_is_drawn() -> None:
    figures = {"most": 0.2, "wasted": 120.0, "busy": 900.0, "idle": 70.0}
    results = {
        Case(part="growth", what="20 ms", workers=number): [figures] for number in (8, 10_000)
    }

    picture = ElementTree.fromstring(growth.picture(results))

    assert len(picture.findall("{*}polyline")) == 4
