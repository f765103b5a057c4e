"""Failover next to LiteLLM's Router on the same fake providers.

LiteLLM is installed from the package index into a virtual environment of its own. For each fault of
the primary, all clients send the same load at the same time, each to two providers of its own: the
primary is well, then sick, then well again.

`p95` is the latency in the outage that 5 % of the calls exceed, `lost` the calls without an answer,
`sends` how often the sick provider was asked, `noticed` the time of the last of these sends before a
pause of a second, and `back` the time after the outage until eight calls in a row are served by it.
"""

from __future__ import annotations

import http.client
import itertools
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import venv
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from benchmarks.failover.chat_provider import FAULTS
from benchmarks.failover.chat_users import CLIENTS

HERE = Path(__file__).parent
RATE = 8.0  # calls per second
WELL, SICK, AFTER = 12.0, 15.0, 11.0  # seconds
LITELLM = "litellm>=1.108"  # 1.107 was withdrawn


def litellm_python(folder: Path | None) -> str:
    """The Python of an environment with LiteLLM, which is made if there is none.

    Raises:
        SystemExit: It cannot be installed.
    """
    folder = folder or Path(tempfile.gettempdir()) / "recloser-benchmark-litellm"
    python = folder / "bin" / "python"
    if not python.exists():
        print(f"installing LiteLLM into {folder}", flush=True)
        venv.create(folder, with_pip=True)
        if subprocess.run([python, "-m", "pip", "install", "-q", LITELLM], check=False).returncode:
            sys.exit("LiteLLM cannot be installed")
    return str(python)


@dataclass(frozen=True, slots=True)
class Result:
    """What one client's users noticed in one outage."""

    p95: float
    lost: int
    sends: int
    noticed: float | None
    back: float | None

    def __str__(self) -> str:
        noticed = "never" if self.noticed is None else f"{self.noticed:.1f}"
        back = f"> {AFTER:.0f}" if self.back is None else f"{self.back:.1f}"
        return f"{self.p95:6.2f} s{self.lost:6}{self.sends:7}{noticed:>9}{back:>7}"


def compare(folder: Path | None) -> None:
    """Print the table."""
    routers = litellm_python(folder)
    print(f"{'primary':12}{'client':14}{'p95':>8}{'lost':>6}{'sends':>7}{'noticed':>9}{'back':>7}")
    for fault in FAULTS:
        results: dict[str, Result] = {}
        threads = [
            threading.Thread(target=_measure, args=(client, fault, routers, results))
            for client in CLIENTS
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for client in CLIENTS:
            print(f"{fault:12}{client:14}{results[client]}", flush=True)


class Pipe(Protocol):
    """A stream of text."""

    def readline(self) -> str:
        """The next line."""
        ...


def _measure(client: str, fault: str, routers: str, results: dict[str, Result]) -> None:
    """Send the load of one client, and make its provider sick meanwhile."""
    python = sys.executable if client == "recloser" else routers
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.failover.chat_provider"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as providers:
        ports: list[int] = json.loads(_line(providers.stdout))
        count = str(int(RATE * (WELL + SICK + AFTER)))
        arguments = [client, *map(str, ports), count, str(RATE), str(fault == "stall")]
        with subprocess.Popen(
            [python, HERE / "chat_users.py", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
            if client == "recloser"
            else None,
        ) as users:
            while _line(users.stdout).strip() != "ready":
                pass
            time.sleep(WELL)
            _get(ports[0], f"/mode/{fault.replace(' ', '%20')}")
            began = time.monotonic()
            time.sleep(SICK)
            _get(ports[0], "/mode/ok")
            ended = time.monotonic()
            calls: list[tuple[float, float, str]] = json.loads(_last(users.stdout))
        sends: list[float] = _get(ports[0], "/sends")
        providers.communicate()
    results[client] = _result(calls, [at for at in sends if began <= at < ended], began, ended)


def _line(pipe: Pipe | None) -> str:
    assert pipe is not None
    line = pipe.readline()
    if not line:
        raise RuntimeError("a process of the benchmark has ended")
    return line


def _last(pipe: Pipe | None) -> str:
    line = _line(pipe)
    while not line.startswith("["):  # LiteLLM prints hints
        line = _line(pipe)
    return line


def _result(
    calls: list[tuple[float, float, str]], sends: list[float], began: float, ended: float
) -> Result:
    outage = sorted(took for at, took, _ in calls if began <= at < ended)
    lost = sum(not served_by for at, _, served_by in calls if began <= at < ended)
    pauses = [*sends, ended]
    noticed = next(
        (at - began for at, then in itertools.pairwise(pauses) if then - at > 1.0),
        None if sends else 0.0,
    )
    run, back = 0, None
    for at, _, served_by in calls:
        if at < ended or back is not None:
            continue
        run = run + 1 if served_by == "primary" else 0
        if run == 8:
            back = max(at - 7 / RATE - ended, 0.0)
    return Result(outage[int(0.95 * len(outage))], lost, len(sends), noticed, back)


def _get(port: int, path: str) -> Any:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", path)
    answer = json.loads(connection.getresponse().read())
    connection.close()
    return answer
