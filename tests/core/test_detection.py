"""What detection promises, on the benchmark's own scenarios; and that the benchmark is sound."""

from __future__ import annotations

import gzip
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import fmean

import pytest

from recloser import Policy, State

# The benchmarks are no part of the wheel that tox tests.
ROOT = Path(__file__).parents[2]
if str(ROOT) not in sys.path:
    sys.path.append(str(ROOT))
pytest.importorskip("benchmarks.detection")

from benchmarks.detection import packages, peers, traces
from benchmarks.detection.__main__ import main
from benchmarks.detection.bound import ROWS, Delay, delays, intervals
from benchmarks.detection.entrants import Recloser
from benchmarks.detection.pictures import STATE_COLOURS, draw
from benchmarks.detection.report import Results, markdown, table
from benchmarks.detection.scenarios import scenarios
from benchmarks.detection.scores import Score, score
from benchmarks.detection.simulator import Clock, Contender, Ending, simulate

STORIES = {story.name: story for story in scenarios()}


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, logger="recloser")


def played(name: str, make: Callable[[Clock], Contender] | None = None, seed: int = 1) -> Score:
    clock, world = Clock(), STORIES[name].world(seed)
    contender = make(clock) if make else Recloser(clock, Policy(), seed)
    return score(world, simulate(world, contender, clock))


# The benchmark itself


class Counting(peers.Never):
    """Refuses every third call and counts what it sees."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.asked = self.ended = 0
        self.took: list[float] = []
        self._clock = clock

    def acquire(self) -> object | None:
        self.asked += 1
        return self._clock.now if self.asked % 3 else None

    def end(self, permit: object, ending: Ending, took: float, wait: float) -> None:
        self.ended += 1
        assert isinstance(permit, float)
        self.took.append(self._clock.now - permit - took)


def test_a_breaker_that_never_opens_harms_exactly_the_bad_calls() -> None:
    result = played("60 % fail", lambda clock: peers.Never())

    assert result.bad_admitted == result.bad > 0
    assert result.good_refused == 0
    assert result.harm == result.bad / result.calls
    assert result.noticed == 0


def test_every_call_is_asked_for_once_and_every_admitted_one_ends_when_it_should() -> None:
    clock, world = Clock(), STORIES["hang until a 30 s time-out"].world(1)
    contender = Counting(clock)

    run = simulate(world, contender, clock)

    assert contender.asked == len(world) == len(run.admitted)
    assert contender.ended == sum(run.admitted) == len(world) - len(world) // 3
    assert max(map(abs, contender.took)) < 1e-6


def test_a_world_depends_on_its_seed_alone() -> None:
    story = STORIES["one-second blips"]

    assert story.world(1).starts == story.world(1).starts
    assert story.world(1).starts != story.world(2).starts


def test_calls_of_a_world_come_in_order_and_bad_ones_only_in_faults() -> None:
    for name in ("recovery that limps", "429 with Retry-After", "3x slower", "down, 0.1/s"):
        world = STORIES[name].world(1)
        assert all(a <= b for a, b in zip(world.starts, world.starts[1:], strict=False))
        spans = [(fault.start, fault.end) for fault in world.faults]
        bad = [at for at, is_bad in zip(world.starts, world.bad, strict=True) if is_bad]
        assert all(any(start <= at <= end for start, end in spans) for at in bad[::50])
        assert bad


@pytest.mark.parametrize("package", ["circuitbreaker", "purgatory"])
def test_a_package_driven_on_virtual_time_does_what_its_model_does(package: str) -> None:
    if not packages.installed(package):
        pytest.skip(f"{package} is not installed")

    driven = played("fast failures", getattr(packages, package))

    assert driven.wasted == played("fast failures", peers.Consecutive).wasted


def test_columns_of_a_table_line_up() -> None:
    lines = table(["a", "long head"], [["1", "2"], ["three", "4"]]).splitlines()

    assert len({len(line) for line in lines}) == 1


def test_the_command_reports_writes_and_draws(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--quick", "--only", "cold start", "--processes", "1"]
    arguments += ["--markdown", str(tmp_path / "r.md"), "--json", str(tmp_path / "r.json")]

    assert main([*arguments, "--pictures", str(tmp_path)]) == 0

    assert "cold start in an outage" in capsys.readouterr().out
    assert (tmp_path / "r.md").read_text().startswith("# How good")
    assert '"harm"' in (tmp_path / "r.json").read_text()
    assert "<svg" in (tmp_path / "cold-start-in-an-outage.svg").read_text()


def test_every_state_has_a_colour_of_its_own() -> None:
    assert set(STATE_COLOURS) == set(State)
    assert len(set(STATE_COLOURS.values())) == len(State)


def test_a_run_that_was_limited_is_drawn(tmp_path: Path) -> None:
    picture = draw(STORIES["5x slower"], tmp_path).read_text()

    assert STATE_COLOURS[State.LIMITED] in picture


def test_the_report_shows_every_row_of_the_bound_and_whether_it_is_near() -> None:
    found = [Delay(*row, calls=15.0, error=0.5, bound=10.0 - 2 * row[1]) for row in ROWS]

    text = markdown(Results("", [], {}, [], {}, delays=found))

    assert text.count("15.0 +- 0.5") == len(ROWS) == 16
    assert text.count("calls to detection over the Lorden bound") == 16
    assert text.count("**missed**") == 16, "eight rows, in two tables"
    assert "8 of 16 rows are within the goal" in text


# Traces


def trace(directory: Path, text: str, name: str = "a.csv") -> Path:
    (directory / name).write_text(text)
    return directory


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("t_seconds,ok\n0,1\n", "row 1: no column latency_ms"),
        ("", "row 1: no column t_seconds, latency_ms, ok"),
        ("t_seconds,latency_ms,ok\n", "row 2: no rows"),
        ("t_seconds,latency_ms,ok\n0,1,1\n1,x,1\n", "row 3: not three numbers"),
        ("t_seconds,latency_ms,ok\n0,1,1\n1,2\n", "row 3: not three numbers"),
        ("t_seconds,latency_ms,ok\n0,nan,1\n", "row 2: wants a finite"),
        ("t_seconds,latency_ms,ok\ninf,1,1\n", "row 2: wants a finite"),
        ("t_seconds,latency_ms,ok\n0,-1,1\n", "row 2: wants a finite"),
        ("t_seconds,latency_ms,ok\n0,1,2\n", "row 2: wants a finite"),
        ("t_seconds,latency_ms,ok\n5,1,1\n4,1,1\n", "row 3: time 4 comes after 5"),
    ],
)
def test_a_bad_trace_is_one_line_that_names_file_and_row(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, complaint: str
) -> None:
    assert main(["--only", "cold start", "--traces", str(trace(tmp_path, text))]) == 2

    (line,) = capsys.readouterr().err.splitlines()
    assert f"a.csv: {complaint}" in line


def test_labels_and_compressed_files_are_checked_too(tmp_path: Path) -> None:
    trace(tmp_path, "t_seconds,latency_ms,ok\n0,1,1\n")
    (tmp_path / "labels.json").write_text('{"a": [[1, 2]]}')
    with pytest.raises(traces.TraceError, match=r"labels\.json"):
        list(traces.load(tmp_path))

    (tmp_path / "labels.json").unlink()
    (tmp_path / "b.csv.gz").write_bytes(gzip.compress(b"t_seconds,latency_ms,ok\n0,1,1\n")[:-9])
    with pytest.raises(traces.TraceError, match=r"b\.csv\.gz: cannot be read"):
        list(traces.load(tmp_path))

    with pytest.raises(traces.TraceError, match=r"no .* file"):
        list(traces.load(tmp_path / "nowhere"))


def test_a_trace_tells_how_far_a_label_raised_the_median(tmp_path: Path) -> None:
    rows = [f"{second},{400 if 100 <= second <= 120 else 100},1" for second in range(200)]
    trace(tmp_path, "t_seconds,latency_ms,ok\n" + "\n".join(rows) + "\n")
    (tmp_path / "labels.json").write_text('{"a": [[100, 120, "fault:delay"], [150, 151, "few"]]}')

    (series,) = traces.load(tmp_path)

    assert series.raised == [4.0, 0.0]
    assert not series.sampled


def test_the_report_says_which_traces_nobody_tuned_for() -> None:
    score = (False, traces.TraceScore(healthy=1))
    seen = {("nezha_tt_basic", "recloser"): score}
    settings = {"recloser": "ours"}

    alone = markdown(Results("", [], settings, [], {}, traces=seen))
    both = markdown(Results("", [], settings, [], {}, traces={**seen, ("mine", "recloser"): score}))

    assert "None of these series is held out" in alone
    assert "per request, unseen" not in alone
    assert "Unseen are only: mine." in both
    assert "per request, unseen" in both


# What was won


@pytest.mark.parametrize(
    ("name", "most"),
    [
        ("fast failures", 7),
        ("hang until a 30 s time-out", 50 * 0.3 + 8),
        ("hang, client cancels at 10 s", 50 * 0.3 + 8),
        ("cold start in an outage", 8),
        # Some forty in a row: a share of the calls may be asked, and the others be served. With four,
        # a key of which 80 % were asked refused for the whole wait nearly all that were served.
        ("429 with Retry-After", 40 + 50 * 0.1),
        ("10x slower", 50 * 0.3 + 8),
    ],
)
def test_an_outage_wastes_few_calls_before_it_is_noticed(name: str, most: float) -> None:
    result = played(name)

    assert result.noticed == result.faults
    assert fmean(result.wasted) <= most


@pytest.mark.parametrize(
    "name",
    [
        "lognormal",
        "Pareto",
        "exponential",
        "20 % of calls 20x slower",
        "30 % of calls 20x slower",
        "20 % errors",
        "4xx storm",
        "clients disconnect",
        "lognormal, 0.1/s",
        "bursts after idle nights",
        "1.3x slower for good",
    ],
)
def test_a_healthy_service_is_left_alone(name: str) -> None:
    assert played(name).openings == 0


@pytest.mark.parametrize("kind", ["errors", "slow"])
@pytest.mark.parametrize("chain", ["2 % stay 0.5", "5 % stay 0.7", "1 % stay 0.8"])
def test_runs_of_everyday_trouble_are_learned(kind: str, chain: str) -> None:
    result = played(f"{kind}: {chain}")

    assert result.refused <= 0.005
    assert result.learned_false_openings <= 6


@pytest.mark.parametrize("factor", ["2.5", "3", "3.5"])
def test_a_service_that_hovers_at_its_threshold_does_not_flap(factor: str) -> None:
    result = played(f"{factor}x slower for good")

    assert result.openings <= 6
    assert result.refused <= 0.005


@pytest.mark.parametrize("seed", [1, 2])
def test_a_slower_service_is_accepted_after_the_patience(seed: int) -> None:
    result = played("6x slower for good", seed=seed)

    # The patience begins when it is noticed, after one slow threshold at the latest.
    assert result.refused_after_patience <= 50 * 0.3
    assert result.openings == 1


@pytest.mark.parametrize("name", ["fast failures", "10x slower", "429 with Retry-After"])
def test_each_outage_opens_or_limits_once_and_nothing_else_does(name: str) -> None:
    result = played(name)

    assert result.openings == result.noticed == result.faults
    assert result.false_openings == 0


@pytest.mark.parametrize(
    ("name", "most"),
    [
        ("fast failures", 110),
        ("down, 1/s", 30),
        ("one-second blips", 60),
        ("429 with Retry-After", 100),  # see above
        # Two seconds to tell sickness from load, a call now and then, and four seconds until the
        # load has returned step by step.
        ("10x slower", 300),
    ],
)
def test_one_outage_harms_few_calls_all_in_all(name: str, most: float) -> None:
    assert fmean(played(name).harmed) <= most


def test_the_load_returns_within_seconds_after_a_slow_callee_is_well_again() -> None:
    assert fmean(played("10x slower").recoveries) <= 4.5


# Rows whose bound is less than the fifth failure, or which know too few failures to know their runs.
FAR = {(0.001, False, 1.0): 2.6, (0.001, False, 0.6): 3.0, (0.001, True, 0.6): 1.9}


def test_detection_of_a_fresh_key_is_near_the_theoretical_bound() -> None:
    found = delays(8)

    assert [(delay.p0, delay.runs, delay.p1) for delay in found] == ROWS
    for delay in found:
        most = FAR.get((delay.p0, delay.runs, delay.p1), 1.6)
        assert delay.ratio <= most + 2.0 * delay.error / delay.bound, delay


def test_chance_opens_no_more_often_than_asked() -> None:
    for interval in intervals(20_000):
        assert interval.ratio >= 0.7, interval
