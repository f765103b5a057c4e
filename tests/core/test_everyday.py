"""That the benchmark of everyday load is sound: its load is what it says it is."""

from __future__ import annotations

import logging
import sys
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest

from recloser import State

# The benchmarks are no part of the wheel that tox tests.
ROOT = Path(__file__).parents[2]
if str(ROOT) not in sys.path:
    sys.path.append(str(ROOT))
pytest.importorskip("benchmarks.everyday")

from benchmarks.detection.simulator import Ending
from benchmarks.everyday import beliefs, latencies, populations, steps, waits
from benchmarks.everyday.__main__ import main
from benchmarks.everyday.key import Fate, Key
from benchmarks.everyday.runner import scenarios
from benchmarks.everyday.scenario import CHANGES, REFUSED, Goal, Result, judge, result

WELL = latencies.lognormal(0.05, 0.2)


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, logger="recloser")


def factors(factor: latencies.Factor, seconds: float, gap: float = 0.05) -> list[float]:
    random = Random(1)
    return [factor(random, index * gap) for index in range(int(seconds / gap))]


# A key on virtual time


def test_a_healthy_key_is_asked_at_its_rate_and_refuses_nothing() -> None:
    key = Key(1)

    key.play(WELL, 20.0, 600.0)

    assert key.clock.now == pytest.approx(600.0)
    assert key.tally.calls == pytest.approx(12_000, rel=0.05)
    assert key.tally.good == key.tally.admitted == key.tally.calls
    assert result(key)[REFUSED] == result(key)[CHANGES] == 0


def test_refused_calls_are_never_sent_and_only_good_ones_are_counted_as_good() -> None:
    key, sent = Key(1), [0]

    def send(now: float, fate: Fate) -> Fate:
        sent[0] += 1
        return fate

    key.play(WELL, 20.0, calls=500)
    key.measure()
    key.play(latencies.dead(), 20.0, calls=100, send=send)
    key.play(WELL, 20.0, 1.0, send=send)

    tally = key.tally
    assert sent[0] == tally.admitted < tally.calls
    assert tally.good == tally.calls - 100
    assert 0 < tally.good_refused <= tally.good
    assert result(key).openings == result(key).limitings == 1
    assert key.state is not State.CLOSED


def test_the_same_seed_gives_the_same_result() -> None:
    play = scenarios()["prompts in blocks of a size"].play

    assert play(0.0, 1) == play(0.0, 1) != play(0.0, 2)


# Load


def test_a_full_queue_makes_calls_wait_in_order() -> None:
    queue = latencies.Queue(2)

    took = [queue.send(10.0, Fate(1.0)).took for _ in range(5)]

    assert took == [1.0, 1.0, 2.0, 2.0, 3.0]
    assert queue.send(20.0, Fate(1.0)).took == 1.0


@pytest.mark.parametrize("zipf", [True, False])
def test_a_flushed_cache_refills_by_admitted_and_answered_calls_alone(zipf: bool) -> None:
    cache, random = latencies.Cache(50, 0.8, zipf=zipf), Random(1)
    cache.fill()

    def hits(calls: int, begin: float, *, send: bool = True) -> float:
        cache.hits = 0
        for index in range(calls):
            fate = cache.draw(random, 0.0)
            if send:
                cache.send(begin + index, fate)
        return cache.hits / calls

    assert hits(2_000, 0.0) == pytest.approx(0.8, abs=0.03)
    cache.flush()
    hits(2_000, 3_000.0, send=False)
    first = cache.send(6_000.0, cache.draw(Random(2), 0.0))
    assert first.took > 0.05
    hits(2_000, 7_000.0)
    assert hits(2_000, 10_000.0) == pytest.approx(0.8, abs=0.03)


def test_an_entry_is_not_filled_before_its_answer() -> None:
    cache, random = latencies.Cache(1, 1.0, zipf=False), Random(1)

    slow = cache.send(0.0, cache.draw(random, 0.0))
    cache.send(slow.took / 2, cache.draw(random, 0.0))
    assert cache.hits == 0
    cache.send(slow.took + 1.0, cache.draw(random, 0.0))

    assert cache.hits == 1


@pytest.mark.parametrize("share", [0.05, 0.15])
def test_uploads_have_their_share_and_come_in_clusters(share: float) -> None:
    drawn = factors(populations.uploads(share), 20_000.0)

    slow = [factor >= 10.0 for factor in drawn]
    runs = sum(now and not before for before, now in pairwise(slow))
    assert sum(slow) / len(slow) == pytest.approx(share, rel=0.2)
    assert 30 <= sum(slow) / runs <= 45
    assert max(drawn) <= 40.0


def test_deploys_and_batches_are_slow_for_as_long_as_they_say() -> None:
    deploy = factors(populations.deploy, 2_400.0)
    cold = factors(populations.cold_instance, 2_400.0)
    batch = factors(populations.batch(0.3), 600.0)

    assert max(deploy) == pytest.approx(5.0)
    assert sum(factor > 1.0 for factor in deploy) * 0.05 == pytest.approx(30.0, abs=0.2)
    assert sum(factor == 8.0 for factor in cold) * 0.05 == pytest.approx(15.0, rel=0.15)
    assert sum(factor == 10.0 for factor in batch) * 0.05 == pytest.approx(18.0, rel=0.15)


def test_bursts_and_tenants_have_their_rates() -> None:
    cron = populations.cron(20.0)
    _, tenants = populations.tenants()

    assert callable(cron)
    assert callable(tenants)
    assert [cron(at) for at in (0.0, 56.9, 57.0, 59.9, 60.0)] == [10, 10, 200, 200, 10]
    assert [tenants(3600.0 * hour) for hour in range(7)] == [5, 5, 5, 5, 5, 10, 5]


def test_prompts_come_in_blocks_of_one_labelled_size() -> None:
    draw, random = latencies.prompts(), Random(1)
    labels = [draw(random, 0.0).label for _ in range(20_000)]

    changes = sum(a != b for a, b in pairwise(labels))
    assert {float(label) for label in labels} == set(latencies.SIZES)
    assert 40 <= len(labels) / changes <= 60  # a sixth of the blocks repeats the size before


def test_some_calls_are_429_and_some_fail() -> None:
    random, throttled = Random(1), waits.throttled(0.3)
    failing = latencies.failing(WELL, 0.6)

    ends = [throttled(random, 0.0) for _ in range(5_000)]
    failed = sum(failing(random, 0.0).ending is Ending.FAILED for _ in range(5_000))

    waiting = [fate for fate in ends if fate.ending is Ending.THROTTLED]
    assert len(waiting) / 5_000 == pytest.approx(0.3, abs=0.03)
    assert {fate.wait for fate in waiting} == {30.0}
    assert failed / 5_000 == pytest.approx(0.6, abs=0.03)


def test_an_outage_of_a_fresh_key_costs_a_few_calls() -> None:
    key = Key(1)
    key.play(WELL, 20.0, 60.0)

    assert 5 <= beliefs.cost(key, latencies.dead()) <= 8


def test_overload_makes_a_breaker_open_and_close_again() -> None:
    key = Key(1)
    key.play(WELL, 10.0, calls=500)

    key.measure()
    beliefs.flapping_overload(key, 120.0)

    assert result(key).openings >= 2
    assert key.tally.admitted > key.tally.calls / 4


def test_a_key_that_is_not_closed_is_never_closed_for_good() -> None:
    key = Key(1)
    key.play(WELL, 20.0, calls=500)
    key.measure()
    assert steps.closed_for_good_after(key) == 0.0

    key.play(latencies.dead(), 20.0, 30.0)
    assert steps.closed_for_good_after(key) == float("inf")

    key.play(WELL, 20.0, 60.0)
    assert 0.5 <= steps.closed_for_good_after(key) <= 1.5


# Goals and the command


def test_a_goal_is_missed_if_one_variant_misses_it() -> None:
    def run(changes: int, variant: str) -> Result:
        return Result(10, 10, 0, changes, 0, 0, "closed", variant=variant)

    runs = [run(0, "2x"), run(0, "2x"), run(0, "3x"), run(4, "3x")]

    judged = judge(Goal(CHANGES, 0.0, always=True), runs)
    assert (judged.met, judged.worst, judged.missed, judged.of) == (False, "3x", ("3x",), 2)
    assert (judged.mean, judged.low, judged.high) == (1.0, 0.0, 4.0)
    assert judge(Goal(CHANGES, 2.0), runs).met
    assert not judge(Goal(CHANGES, 2.0, always=True), runs).met


def test_names_of_scenarios_differ_and_a_quick_run_has_all_parts() -> None:
    parts = (populations, steps, beliefs, waits)
    every = scenarios().values()

    assert len(every) == sum(len(part.scenarios()) for part in parts)
    assert {scenario.group[:2] for scenario in every if scenario.chosen(quick=True)} == {
        "A.",
        "B.",
        "C.",
        "D.",
    }


def test_the_command_reports_and_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--quick", "--only", "100 % are 429", "--processes", "1"]
    arguments += ["--markdown", str(tmp_path / "r.md"), "--json", str(tmp_path / "r.json")]

    assert main(arguments) == 0

    assert "calls sent per wait" in capsys.readouterr().out
    assert (tmp_path / "r.md").read_text().startswith("# What does it do")
    assert '"good_refused"' in (tmp_path / "r.json").read_text()


def test_the_command_names_what_it_cannot_use(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--only", "nothing like it"]) == 2
    assert "'nothing like it'" in capsys.readouterr().err

    with pytest.raises(SystemExit) as caught:
        main(["--seeds", "0"])
    assert caught.value.code == 2
    assert "--seeds must be 1 or more, not 0" in capsys.readouterr().err
