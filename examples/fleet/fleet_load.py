"""The load, and what is counted: open loop, so a slow answer does not hold back the next call."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path

WARM, OUTAGE, AFTER = 4.0, 6.0, 6.0  # seconds
MOST = 300  # calls in flight; further ones are not sent, and count as not served
_SETTLED = 0.5  # seconds after the last opening, when its last admitted calls have ended


@dataclass(frozen=True, slots=True)
class Call:
    """One call of the load.

    Attributes:
        sent: When, in seconds since 1970.
        status: The status of the answer; 0 for none.
    """

    sent: float
    status: int


@dataclass(frozen=True, slots=True)
class Result:
    """What one run has shown.

    Attributes:
        wasted: Calls that reached the upstream while it was down.
        opened: How many workers refused before it worked again. One that got few calls may not.
        until_all: Seconds from the failure until the last of these refused.
        spread: Seconds from the first worker's opening to the last one's.
        probes: Calls at the upstream from then on, until it worked again.
        in_flight: The most of them at the same time.
        served: The share of calls in the seconds after the recovery that were served, 0.0-1.0.
    """

    wasted: int
    opened: int
    until_all: float
    spread: float
    probes: int
    in_flight: int
    served: float


async def play(urls: list[str], folder: Path, rate: float) -> Result:
    """Let the upstream work, fail and work again under load, and count what happens.

    Args:
        urls: The servers, asked in turn.
        folder: Of the upstream and the notes of the workers.
        rate: Calls per second in all.
    """
    calls: list[Call] = []
    down = folder / "down"
    load = asyncio.create_task(_load(urls, rate, calls))
    try:
        await asyncio.sleep(WARM)
        down_at = time.time()
        down.touch()
        await asyncio.sleep(OUTAGE)
        down.unlink()
        up_at = time.time()
        await asyncio.sleep(AFTER)
    finally:
        load.cancel()
        await asyncio.wait([load], timeout=5.0)
    return _result(calls, folder, down_at, up_at)


async def _load(urls: list[str], rate: float, calls: list[Call]) -> None:
    async with asyncio.TaskGroup() as group:
        began, in_flight = time.monotonic(), set[asyncio.Task[None]]()
        for number in range(1_000_000):
            await asyncio.sleep(max(0.0, began + number / rate - time.monotonic()))
            if len(in_flight) >= MOST:
                calls.append(Call(time.time(), 0))
                continue
            task = group.create_task(_call(urls[number % len(urls)], calls))
            in_flight.add(task)
            task.add_done_callback(in_flight.discard)


async def _call(url: str, calls: list[Call]) -> None:
    sent, status = time.time(), 0
    host, _, port = url.removeprefix("http://").partition(":")
    try:
        async with asyncio.timeout(5.0):
            reader, writer = await asyncio.open_connection(host, int(port))
            try:
                # A new connection each time, so that the system chooses the worker.
                writer.write(b"GET /price HTTP/1.1\r\nHost: fleet\r\nConnection: close\r\n\r\n")
                status = int((await reader.readline()).split()[1])
                await reader.read()
            finally:
                writer.close()
    except (OSError, TimeoutError, IndexError, ValueError):
        status = 0
    calls.append(Call(sent, status))


def _result(calls: list[Call], folder: Path, down_at: float, up_at: float) -> Result:
    openings: dict[str, float] = {}
    for line in _lines(folder / "notes"):
        at, worker, _, after = line
        if after == "open" and down_at <= float(at) <= up_at:
            openings.setdefault(worker, float(at))
    last = max(openings.values(), default=up_at)
    reached = [(float(began), float(ended)) for began, ended in _lines(folder / "calls")]
    dead = [each for each in reached if down_at <= each[0] < up_at]
    probes = [each for each in dead if each[0] > last + _SETTLED]
    answers = [call.status == 200 for call in calls if up_at <= call.sent]
    return Result(
        wasted=len(dead),
        opened=len(openings),
        until_all=last - down_at,
        spread=last - min(openings.values(), default=last),
        probes=len(probes),
        in_flight=_most_at_once(probes),
        served=sum(answers) / len(answers) if answers else 0.0,
    )


def _lines(path: Path) -> list[list[str]]:
    return [line.split() for line in path.read_text().splitlines()] if path.exists() else []


def _most_at_once(calls: list[tuple[float, float]]) -> int:
    return max((sum(began <= at < ended for began, ended in calls) for at, _ in calls), default=0)
