"""The load: sends the same requests to both apps at the same times, while the schedule runs.

Run it as `python -m recloser_adapters._command.demo.load UPSTREAM GUARDED BARE SECONDS`. It has its
own process, so that drawing the screen does not add to the latencies. All times of the record are
from its clock. After the schedule it continues until its standard input ends.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Sequence
from itertools import count, cycle

import httpx

from recloser_adapters._command.demo.caller import Caller
from recloser_adapters._command.demo.children import emit, end_with_parent
from recloser_adapters._command.demo.plan import (
    ARMS,
    BARE,
    GUARDED,
    PATIENCE,
    RATE,
    STATUS_PATH,
    TURN,
    schedule,
)

FLUSH_EVERY = 0.1  # seconds
LOOK_EVERY = 0.2
# Callers that wait at once, at most. Without a limit they would pile up at the bare app.
MAX_WAITING = 1500
CALLERS_TIMEOUT = 15.0  # seconds; longer than the apps' own time-outs


class Load:
    """Sends requests at a steady rate, independent of the answers, and reports each result."""

    def __init__(self, urls: dict[str, str], upstream: str) -> None:
        self._callers = {arm: Caller(url, timeout=CALLERS_TIMEOUT) for arm, url in urls.items()}
        self._guarded = httpx.AsyncClient(base_url=urls[GUARDED])
        self._upstream = httpx.AsyncClient(base_url=upstream)
        self._ended: list[tuple[str, str, float, float, str]] = []
        self._late: list[float] = []
        self._unanswered: set[tuple[str, str, float]] = set()
        self._waiting = dict.fromkeys(urls, 0)
        self._tasks: set[asyncio.Task[None]] = set()
        self._begun = time.perf_counter()

    def _now(self) -> float:
        return time.perf_counter() - self._begun

    async def run(self, seconds: float) -> None:
        """Follow the schedule, then continue for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._send())
            group.create_task(self._flush())
            group.create_task(self._look())
            group.create_task(self._follow(seconds))

    async def _follow(self, seconds: float) -> None:
        for phase in schedule(seconds):
            await self._upstream.put(f"/phase/{phase.name}")
            emit({"event": "phase", "at": self._now(), "phase": phase.name})
            await asyncio.sleep(phase.seconds)
        # "over" must come after the last answers and transitions of the schedule.
        await asyncio.sleep(2 * LOOK_EVERY)
        now = self._now()
        # Callers that are still waiting count as well: an overloaded app gives no answers to count.
        self._ended += [
            (arm, route, sent, now - sent, "waiting")
            for arm, route, sent in self._unanswered
            if now - sent > PATIENCE
        ]
        self._emit_calls()
        emit({"event": "over", "at": now})
        await self._follow_by_hand()

    async def _follow_by_hand(self) -> None:
        known = ""
        while True:
            phase = (await self._upstream.get("/phase")).json()["phase"]
            if known and phase != known:
                emit({"event": "phase", "at": self._now(), "phase": phase})
            known = phase
            await asyncio.sleep(LOOK_EVERY)

    async def _send(self) -> None:
        turn = cycle(TURN)
        for number in count():
            # The clock decides, not the last answer: a slow app must not reduce its own load.
            due = number / RATE
            await asyncio.sleep(max(0.0, due - self._now()))
            self._late.append(self._now() - due)
            route = next(turn)
            for arm in ARMS:
                if self._waiting[arm] < MAX_WAITING:
                    task = asyncio.create_task(self._call(arm, route, number))
                    self._tasks.add(task)
                    task.add_done_callback(self._tasks.discard)

    async def _call(self, arm: str, route: str, number: int) -> None:
        path = route.removeprefix("GET ").replace("{order}", str(number)).replace("{item}", "7")
        self._waiting[arm] += 1
        sent = self._now()
        self._unanswered.add((arm, route, sent))
        try:
            outcome = _outcome(await self._callers[arm].get(path))
        except (OSError, asyncio.IncompleteReadError):
            outcome = "lost"
        finally:
            self._waiting[arm] -= 1
            self._unanswered.discard((arm, route, sent))
        self._ended.append((arm, route, sent, self._now() - sent, outcome))

    async def _flush(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_EVERY)
            self._emit_calls()

    def _emit_calls(self) -> None:
        ended, self._ended = self._ended, []
        late, self._late = self._late, []
        facts = {"calls": ended, "waiting": self._waiting, "late": late}
        emit({"event": "calls", "at": self._now(), **facts})

    async def _look(self) -> None:
        known = 0
        while True:
            status = (await self._guarded.get(STATUS_PATH, params={"since": known})).json()
            now = self._now()
            known += len(status["transitions"])
            for transition in status["transitions"]:
                emit({"event": "transition", "at": now - transition["age"]} | transition)
            emit({"event": "keys", "at": now, "keys": status["keys"]})
            await asyncio.sleep(LOOK_EVERY)


def _outcome(status: int) -> str:
    if status < 500:
        return "good"
    # Only the breakers answer 503 here.
    return "refused" if status == 503 else "failed"


def main(arguments: Sequence[str]) -> None:
    """Send the load to both apps until the parent ends."""
    upstream, guarded, bare, seconds = arguments
    end_with_parent()
    urls = {GUARDED: guarded, BARE: bare}
    asyncio.run(Load(urls, upstream).run(float(seconds)))


if __name__ == "__main__":
    main(sys.argv[1:])
