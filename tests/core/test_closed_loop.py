"""That the closed-loop benchmark is sound: its queues, its clients, and its scores."""

from __future__ import annotations

import json
import logging
import re
import sys
from dataclasses import replace
from itertools import pairwise
from math import exp, inf
from pathlib import Path
from statistics import fmean

import pytest

# The benchmarks are no part of the wheel that tox tests.
ROOT = Path(__file__).parents[2]
if str(ROOT) not in sys.path:
    sys.path.append(str(ROOT))
pytest.importorskip("benchmarks.closed_loop")

from benchmarks.closed_loop import runner
from benchmarks.closed_loop.__main__ import main
from benchmarks.closed_loop.entrants import CUT, NONE, OURS, entrants
from benchmarks.closed_loop.goals import best_peer, goals
from benchmarks.closed_loop.pictures import draw
from benchmarks.closed_loop.scenarios import Fault, Scenario, scenarios
from benchmarks.closed_loop.scores import Score, score
from benchmarks.closed_loop.simulator import Play, World
from benchmarks.detection.peers import Never
from benchmarks.detection.simulator import Clock, Contender, Ending

# The square of the deviation of the service times by that of their mean.
SPREAD = exp(0.25) - 1.0
STORIES = {story.name: story for story in scenarios((8,))}


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, logger="recloser")


def story(**settings: object) -> Scenario:
    short = Scenario("test", "fault", warm_up=10.0, trigger=60.0, cool_down=10.0)
    return replace(short, **settings)  # type: ignore[arg-type]


def played(scenario: Scenario, contenders: list[Contender] | None = None, seed: int = 1) -> Play:
    everyone = contenders or [Never() for _ in range(scenario.workers)]
    return World(scenario, everyone, Clock(), seed).run()


def answered(scenario: Scenario, seed: int = 1) -> float:
    nobody: list[Contender] = [Never() for _ in range(scenario.workers)]
    return score(scenario, played(scenario, nobody, seed), nobody).answered


# Queues


def queue(load: float, discipline: str) -> float:
    """The average time in a queue with one server of 50 ms, in seconds."""
    long = story(
        rates=((0.0, load / 0.05),),
        servers=((0.0, 1),),
        discipline=discipline,
        timeout=inf,
        trigger=4_000.0,
    )
    return fmean(fmean(played(long, seed=seed).latencies) for seed in (1, 2))


@pytest.mark.parametrize("load", [0.4, 0.7])
def test_first_come_first_served_waits_as_long_as_pollaczek_and_khinchine_say(load: float) -> None:
    expected = 0.05 + load / (1.0 - load) * (1.0 + SPREAD) / 2.0 * 0.05

    assert queue(load, "fifo") == pytest.approx(expected, rel=0.06)


@pytest.mark.parametrize("load", [0.4, 0.7])
def test_shared_processors_take_as_long_as_theory_says(load: float) -> None:
    assert queue(load, "sharing") == pytest.approx(0.05 / (1.0 - load), rel=0.06)


# Clients


@pytest.mark.parametrize(("retries", "expected"), [(0, 50.0), (1, 75.0), (3, 93.75)])
def test_a_client_tries_again_as_often_as_it_may(retries: int, expected: float) -> None:
    half = story(fault=Fault("fail", 0.5), retries=retries)

    assert answered(half) == pytest.approx(expected, abs=1.5)


class Noting(Never):
    """Admits all and notes how it ended."""

    def __init__(self, timeout: float = inf, refuses: bool = False) -> None:
        super().__init__()
        self.timeout, self.refuses, self.asked = timeout, refuses, 0
        self.ends: list[tuple[Ending, float, float]] = []

    def acquire(self) -> object | None:
        self.asked += 1
        return None if self.refuses else self

    def end(self, permit: object, ending: Ending, took: float, wait: float) -> None:
        self.ends.append((ending, took, wait))


def test_a_refused_call_is_not_tried_again() -> None:
    nobody = Noting(refuses=True)

    play = played(story(), [nobody])

    assert nobody.asked == len(play.starts) == sum(play.refused)
    assert sum(play.good) == play.attempts == 0


def test_every_attempt_ends_once_and_at_the_time_out_at_the_latest() -> None:
    seen = Noting()

    play = played(story(fault=Fault("hang", 0.3)), [seen])

    assert len(seen.ends) == play.attempts == seen.asked > len(play.starts)
    failed = [took for ending, took, _ in seen.ends if ending is Ending.FAILED]
    assert failed == pytest.approx([2.0] * len(failed))


def test_an_attempt_is_cut_off_at_the_timeout_of_its_permit_if_the_entrant_wants_it() -> None:
    hang = story(fault=Fault("hang", 0.3), retries=0)
    cut, whole = Noting(timeout=0.5), Noting(timeout=0.5)

    World(hang, [cut], Clock(), 1, cut=True).run()
    World(hang, [whole], Clock(), 1).run()

    assert max(took for _, took, _ in cut.ends) == pytest.approx(0.5)
    assert max(took for _, took, _ in whole.ends) == pytest.approx(2.0)


def test_a_throttled_attempt_says_how_long_to_wait() -> None:
    seen = Noting()

    played(story(fault=Fault("throttle", 0.1, wait=20.0)), [seen])

    waits = [wait for ending, _, wait in seen.ends if ending is Ending.THROTTLED]
    assert waits
    assert set(waits) == {20.0}


def test_the_callee_goes_on_with_what_nobody_waits_for() -> None:
    # In 10 s come 4,000 calls, of which it serves 2,000. The rest keeps it busy for another 10 s.
    crowd = story(rates=((0.0, 50.0), (10.0, 400.0), (20.0, 50.0)), retries=0)

    play = played(crowd)

    seconds: dict[int, list[int]] = {}
    for start, good in zip(play.starts, play.good, strict=True):
        seconds.setdefault(int(start), []).append(good)
    assert fmean(seconds[11]) == 1.0
    assert sum(sum(seconds[second]) for second in range(20, 26)) == 0
    assert fmean(seconds[36]) == 1.0


def test_a_callee_that_sheds_answers_as_many_as_it_can() -> None:
    crowd = story(rates=((0.0, 100.0), (10.0, 400.0), (70.0, 100.0)), sheds=60)
    waiting: list[int] = []
    world = World(crowd, [Never()], Clock(), 1)

    play = world.run(lambda _: waiting.append(world.waiting))

    assert max(waiting) == 60
    assert sum(play.good[i] for i, at in enumerate(play.starts) if 20 <= at < 60) == pytest.approx(
        200 * 40, rel=0.03
    )


def test_each_worker_asks_its_own_breaker() -> None:
    workers = [Noting() for _ in range(8)]

    play = played(story(workers=8), list[Contender](workers))

    assert sum(worker.asked for worker in workers) == len(play.starts)
    for worker in workers:
        assert worker.asked == pytest.approx(len(play.starts) / 8, rel=0.15)


def test_a_hanging_call_keeps_its_thread_and_users_leave_after_their_patience() -> None:
    # Every call hangs for 10 s, so each of four threads serves one in 20 s, with a retry.
    stuck = story(
        fault=Fault("hang", 1.0), threads=2, workers=2, timeout=10.0, patience=10.0, cool_down=30.0
    )
    seen = [Noting(), Noting()]

    play = played(stuck, list[Contender](seen))

    during = [good for at, good in zip(play.starts, play.good, strict=True) if 11 <= at < 60]
    assert sum(during) == 0
    hung = [took for each in seen for ending, took, _ in each.ends if ending is Ending.FAILED]
    assert len(hung) <= 4 * 7
    assert len(play.starts) == pytest.approx(120 * 100, rel=0.05)


def test_arrivals_depend_on_the_seed_alone() -> None:
    first, again = played(story()), played(story(), [Noting(refuses=True)])

    assert first.starts == again.starts
    assert first.starts != played(story(), seed=2).starts
    assert all(a <= b for a, b in pairwise(first.starts))


# Scores


def test_recovery_is_the_first_second_after_which_all_goes_well_for_five() -> None:
    short, play = story(trigger=10.0, cool_down=20.0), Play()
    for number in range(400):
        at = number / 10.0
        play.starts.append(at)
        play.good.append(at < 10.0 or at >= 24.0)
        play.refused.append(10.0 <= at < 12.0)

    result = score(short, play, [Never()])

    assert (result.answered, result.refused, result.recovery) == (0.0, 20.0, 4.0)
    late = play.starts.index(38.0)
    play.good[240:late] = bytes(late - 240)
    assert score(short, play, [Never()]).recovery == inf


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("flash crowd 1.2x", 7.6),
        ("flash crowd 2x, sheds", 50.1),
        ("retry storm", 3.1),
        ("lock", 81.0),
        ("pause of 1 s", 100.0),
        ("0.25 hang", 93.8),
        ("10 % 429, 1 s", 99.0),
    ],
)
def test_without_a_breaker_users_get_what_arithmetic_says(name: str, expected: float) -> None:
    assert answered(STORIES[name]) == pytest.approx(expected, abs=1.5)


def test_names_are_unique_and_workers_get_rows_of_their_own() -> None:
    every = scenarios((1, 8))

    assert len({each.name for each in every}) == len(every)
    assert STORIES["flash crowd 2x, 8 workers"].workers == 8
    assert len({each.name for each in entrants()}) == len(entrants())


def test_goals_compare_with_no_breaker_and_with_the_best_peer() -> None:
    def runs(percent: float, changes: float = 0.0) -> list[Score]:
        return [Score(percent, 0.0, changes, 0.0, 0.0, 1.0)]

    crowd = STORIES["flash crowd 2x"]
    scores = {
        (crowd.name, NONE): runs(10.0),
        (crowd.name, OURS): runs(47.0, 3.0),
        (crowd.name, CUT): runs(99.0),
        (crowd.name, "peer"): runs(50.0),
    }

    assert best_peer(scores, crowd.name) == ("peer", 50.0)
    assert [goal.met for goal in goals([crowd], scores)] == [True, False, False, True]


# The command


def test_the_command_reports_writes_and_draws(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--quick", "--only", "retry storm", "--processes", "1", "--workers", "1,2"]
    arguments += ["--entrants", "none,recloser, cut off,recloser"]
    arguments += ["--markdown", str(tmp_path / "r.md"), "--json", str(tmp_path / "r.json")]

    assert main([*arguments, "--pictures", str(tmp_path)]) == 0

    assert "retry storm, 2 workers" in capsys.readouterr().out
    assert (tmp_path / "r.md").read_text().startswith("# What does it do")
    assert len(json.loads((tmp_path / "r.json").read_text())["scores"]) == 4
    assert "<polyline" in (tmp_path / "retry-storm.svg").read_text()


def test_a_picture_shows_the_limit(tmp_path: Path) -> None:
    picture = draw(STORIES["flash crowd 1.2x"], tmp_path).read_text()

    lines = re.findall(r'<polyline points="([^"]*)"[^>]*stroke="#000"', picture)
    assert len(lines[0].split()) > 60  # once a second


@pytest.mark.parametrize(
    "arguments", [["--seeds", "0"], ["--processes", "0"], ["--workers", "0"], ["--entrants", "x"]]
)
def test_the_command_says_what_it_does_not_understand(
    capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    with pytest.raises(SystemExit):
        main(arguments)

    assert arguments[0] in capsys.readouterr().err
    assert main(["--only", "no such"]) == 2


def test_every_entrant_can_play() -> None:
    short = story(trigger=5.0, warm_up=5.0, fault=Fault("fail", 0.5))

    for entrant in entrants():
        result = runner.play(short, entrant, 1)
        assert 0.0 <= result.answered + result.refused <= 100.0
