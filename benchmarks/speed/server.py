"""The cost of a breaker on a real server: uvicorn with httptools and uvloop, over loopback.

Each candidate has its own server process. All servers run on one core, and only one server is
loaded at a time, in short and shuffled rounds. The load comes from this process, on another core.
It has a few connections, and each of them sends its next request when it has its answer. So the
server is always busy, and the cost of a middleware lowers the throughput.

Other processes may use a part of a shared core, so the CPU time of each server is read, too. A busy
server uses its whole core, so its CPU time per request is its throughput without the influence of
other processes. The goal applies to this figure. The requests per second are shown next to it.
"""

from __future__ import annotations

import os
import random
import select
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from recloser_adapters.starlette import BreakerMiddleware

from .floors import FLOOR, App, AsgiFloor, Message, Receive, Send
from .report import Goal, Reach, Section
from .rounds import Effort
from .web import BARE, BREAKER, NOOP, NoopAsgi

TIMES = "times and wraps send"
WANTED = ("uvicorn", "httptools", "uvloop")
LEAST_THROUGHPUT = 0.94  # the project's goal, as a share of the bare app's throughput

CONNECTIONS = 16
BATCHES = 80  # length of a round, in batches of the other sections
WARM_UP = 3000  # requests before the first one that is measured; the breaker learns its baseline
TIMEOUT = 30.0  # seconds for a server to start, or to answer
ASKED = b"GET /items/42 HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: */*\r\n\r\n"
BODY = b"ok"

Tick = Callable[[], None]


async def view(request: Request) -> Response:
    return PlainTextResponse(BODY)


class TimedAsgi:
    """The least work of a breaker with latencies: it reads the clock twice and wraps `send`."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.latency = 0.0

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        started = time.perf_counter()

        async def timed_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                self.latency = time.perf_counter() - started
            await send(message)

        await self.app(scope, receive, timed_send)


def app_of(candidate: str) -> Starlette:
    """Make an app of one route, with the middleware of a candidate."""
    app = Starlette(routes=[Route("/items/{id}", view)])
    if candidate == NOOP:
        app.add_middleware(NoopAsgi)
    elif candidate == TIMES:
        app.add_middleware(TimedAsgi)
    elif candidate == FLOOR:
        app.add_middleware(AsgiFloor, key_of=lambda scope: "GET /items/{id}")
    elif candidate == BREAKER:
        app.add_middleware(BreakerMiddleware)
    return app


def obstacle() -> str | None:
    """Return the reason why this benchmark cannot run here; None if it can."""
    missing = [name for name in WANTED if find_spec(name) is None]
    if missing:
        return f"{', '.join(missing)} not installed"
    if not hasattr(os, "sched_setaffinity"):
        return "this system does not let a process choose its core"
    if len(os.sched_getaffinity(0)) < 2:
        return "it needs two cores, one for the server and one for the load"
    return None


@dataclass(frozen=True, slots=True)
class Sample:
    """The mean cost of a request in one round with one server, in seconds.

    Attributes:
        wall: Wall-clock time.
        cpu: CPU time of the server.
    """

    wall: float
    cpu: float


def real_server(effort: Effort, tick: Tick) -> Section:
    """Load a server of each candidate, and compare their throughput and CPU time."""
    cores = os.sched_getaffinity(0)
    of_load, of_servers = sorted(cores)[:2]
    os.sched_setaffinity(0, {of_load})
    try:
        with ExitStack() as stack:
            servers = {
                name: stack.enter_context(serving(command_of(name), of_servers))
                for name in (BARE, NOOP, TIMES, FLOOR, BREAKER)
            }
            return _section(compared(servers, effort, tick))
    finally:
        os.sched_setaffinity(0, cores)


def compared(servers: Mapping[str, Served], effort: Effort, tick: Tick) -> list[dict[str, Sample]]:
    """Load one server after the other, in rounds. Return the fastest rounds."""
    for server in servers.values():
        server.load(TIMEOUT, WARM_UP)
    seconds = BATCHES * effort.batch_ns / 1e9
    taken: list[dict[str, Sample]] = []
    for _ in range(effort.rounds):
        samples = {
            name: servers[name].load(seconds) for name in random.sample([*servers], len(servers))
        }
        taken.append({name: samples[name] for name in servers})
        tick()
    taken.sort(key=lambda one: sum(sample.cpu for sample in one.values()))
    return taken[: effort.keep]


def _section(kept: Sequence[dict[str, Sample]]) -> Section:
    section = Section(
        "A real server: uvicorn, a Starlette app of one route",
        [
            "",
            "requests/s",
            "to bare",
            "IQR",
            "CPU of a request, µs",
            "added to bare, µs",
            "IQR",
            "goal, µs",
        ],
    )
    goal = Reach(FLOOR, (1 / LEAST_THROUGHPUT - 1) * _typical(kept, BARE))
    typical: dict[str, float] = {}
    for name in kept[0]:
        rate = statistics.median(1.0 / one[name].wall for one in kept)
        low, to_bare, high = _quartiles([one[BARE].wall / one[name].wall for one in kept])
        least, added, most = _quartiles([(one[name].cpu - one[BARE].cpu) * 1e6 for one in kept])
        typical[name] = added
        row: list[str | float] = [name, rate, "", "", f"{_typical(kept, name):.1f}", "", "", ""]
        if name != BARE:
            row[2:4] = f"{to_bare:.3f}", f"{low:.3f} to {high:.3f}"
            row[5:7] = f"{added:.2f}", f"{least:.2f} to {most:.2f}"
        if name in (FLOOR, BREAKER):
            row[7] = f"{goal.most:.2f}"
        section.rows.append(row)
    section.notes.append(goal.note(BREAKER, typical[BREAKER], typical[FLOOR], "µs"))
    busy = statistics.median(one[BARE].cpu / one[BARE].wall for one in kept)
    section.notes.append(
        f"While it was loaded, the bare server used {busy:.0%} of its core. Much less than 100% "
        "means that other processes used the core, so the requests per second are not reliable."
    )
    section.goals.append(
        Goal(
            "CPU time of a request to a real server, to one without the breaker",
            statistics.median(one[BREAKER].cpu / one[BARE].cpu for one in kept),
            round(1.0 / LEAST_THROUGHPUT, 4),
        )
    )
    return section


def _typical(kept: Sequence[dict[str, Sample]], name: str) -> float:
    """Return the CPU time of a request, in microseconds."""
    return statistics.median(one[name].cpu for one in kept) * 1e6


def _quartiles(values: Sequence[float]) -> list[float]:
    return statistics.quantiles(values, n=4)


# Servers and their load


class Served:
    """A server process, and the connections to it.

    Args:
        process: The server.
        port: Its port. The server may still be starting.
    """

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        # On Linux clock_getcpuclockid(3) computes this from a process id. The clock counts
        # nanoseconds; /proc/<pid>/stat counts hundredths of a second.
        self._cpu_clock = (~process.pid << 3) | 2
        self._poll = select.epoll()
        self._wires: dict[int, socket.socket] = {}
        for _ in range(CONNECTIONS):
            wire = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT)
            wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._wires[wire.fileno()] = wire
            self._poll.register(wire, select.EPOLLIN)
        self._answer = self._first_answer()

    def close(self) -> None:
        """Close the connections."""
        self._poll.close()
        for wire in self._wires.values():
            wire.close()

    def load(self, seconds: float, requests: int = 1_000_000) -> Sample:
        """Keep the server busy for a time, or until it has answered a number of requests.

        Args:
            seconds: The time, > 0.
            requests: The number of requests, >= 1.

        Raises:
            ConnectionError: An answer differs from the first one, or does not arrive.
        """
        wires, poll, length = self._wires, self._poll, len(self._answer)
        missing = dict.fromkeys(wires, length)
        answered, waiting = 0, len(wires)
        clock = time.perf_counter
        cpu, start = time.clock_gettime(self._cpu_clock), clock()
        until = start + seconds
        for wire in wires.values():
            wire.send(ASKED)
        while waiting:
            ready = poll.poll(TIMEOUT)
            if not ready:
                raise ConnectionError("the server does not answer")
            for number, _ in ready:
                data = wires[number].recv(65536)
                missing[number] -= len(data)
                # Head and body may arrive separately.
                if missing[number] > 0 and data:
                    continue
                if missing[number] < 0 or not data.endswith(BODY):
                    raise ConnectionError(f"the answer differs from the first one: {data!r}")
                answered += 1
                if clock() < until and answered < requests:
                    missing[number] = length
                    wires[number].send(ASKED)
                else:
                    waiting -= 1
        wall = clock() - start
        cpu = time.clock_gettime(self._cpu_clock) - cpu
        return Sample(wall / answered, cpu / answered)

    def _first_answer(self) -> bytes:
        # All answers of one server have the same length, because the date has a fixed length.
        wire = next(iter(self._wires.values()))
        wire.sendall(ASKED)
        answer = b""
        while not answer.endswith(b"\r\n\r\n" + BODY):
            data = wire.recv(65536)
            if not data:
                raise ConnectionError(f"the server answers with {answer!r}")
            answer += data
        return answer


def command_of(candidate: str) -> list[str]:
    """Return the command that serves a candidate, without the arguments for socket and core."""
    return [sys.executable, "-m", "benchmarks.speed.server", candidate]


@contextmanager
def serving(
    command: Sequence[str], core: int, environment: Mapping[str, str] | None = None
) -> Generator[Served]:
    """Run a server on a core until the block ends."""
    with socket.create_server(("127.0.0.1", 0), backlog=CONNECTIONS) as listener:
        port = listener.getsockname()[1]
        number = listener.fileno()
        process = subprocess.Popen(
            [*command, str(number), str(core)],
            stdin=subprocess.PIPE,
            pass_fds=[number],
            cwd=Path(__file__).parents[2],
            env=environment,
        )
    # This process has closed its listener, so it does not wait for a server that has died.
    try:
        with closing(Served(process, port)) as served:
            yield served
    finally:
        process.kill()
        process.communicate()


def _serve(candidate: str, number: int, core: int) -> None:
    """Serve a candidate in this process until the parent process ends."""
    import uvicorn

    os.sched_setaffinity(0, {core})
    threading.Thread(target=_end_with_parent, daemon=True).start()
    config = uvicorn.Config(
        app_of(candidate),
        loop="uvloop",
        http="httptools",
        log_level="warning",
        access_log=False,
        timeout_keep_alive=3600,  # seconds; a connection is idle while the other servers are loaded
    )
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=number)])


def _end_with_parent() -> None:
    sys.stdin.buffer.read()
    os._exit(0)


if __name__ == "__main__":
    _serve(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
