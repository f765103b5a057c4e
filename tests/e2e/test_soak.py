"""A short soak: faults, outages and hostile clients, on two servers and their unguarded twins."""

from __future__ import annotations

import pytest
from benchmarks.soak.__main__ import main
from benchmarks.soak.servers import missing
from benchmarks.soak.soak import Result
from benchmarks.soak.watch import Sample, slope

KINDS = ["uvicorn-httptools", "gunicorn-gthread"]


@pytest.mark.parametrize("kind", KINDS)
def test_no_promise_is_broken_within_a_quarter_of_a_minute(
    kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if missing(kind):
        pytest.skip(f"not installed: {missing(kind)}")

    status = main(["--minutes=0.25", "--servers", kind])

    assert (status, capsys.readouterr().out.splitlines()[-1]) == (0, "no promise was broken")


def test_what_breaks_a_promise_is_named() -> None:
    sound = Result("any", seconds=600.0, refused=1)
    assert sound.broken() == []

    for broken in (
        {"wrongly_refused": {"GET /": 1}},
        {"differences": {"GET /": 1}},
        {"left": {"GET /": 1}},
        {"faults": 1},
        {"files": (10, 20)},
        {"growth": (2**23, 0.0)},
        {"refused": 0},
    ):
        result = Result("any", **{"seconds": 600.0, "refused": 1, **broken})  # type: ignore[arg-type]
        assert len(result.broken()) == 1, broken


def test_growth_is_that_of_the_second_half() -> None:
    samples = [Sample(float(at), max(at, 30) * 1000, 0) for at in range(60)]

    assert slope(samples) == pytest.approx(60_000.0)
