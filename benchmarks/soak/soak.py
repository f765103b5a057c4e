"""One server under load, with faults and hostile clients, compared with its unguarded twin."""

from __future__ import annotations

import http.client
import random
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.soak.hostile import Attackers, Target
from benchmarks.soak.outages import Outages
from benchmarks.soak.servers import KINDS, Running, running
from benchmarks.soak.users import Answer, Request, User, request_of
from benchmarks.soak.watch import Sample, Watch, measure, slope

USERS, ATTACKERS = 4, 4
WARM_UP = 400  # requests
# Seconds that slow attackers keep a connection; a sync worker serves nobody meanwhile.
PATIENCE, PATIENCE_OF_ONE = 1.0, 0.05
SETTLED_WITHIN = 20.0  # seconds after the last request, until no call is in flight
# What is judged as growth: more than this beside the twin, in bytes a minute over at least so many
# seconds, and more files than this. Answers of a megabyte in flight move the memory by 10 MB up and
# down; 200 bytes kept of each request would be 5 MB a minute.
MOST_GROWTH, LONG_ENOUGH = 4 * 2**20, 240.0
MOST_FILES = 4


@dataclass(slots=True)
class Result:
    """What came of a soak.

    Attributes:
        kind: The server.
        seconds: How long it took.
        asked: Requests that were sent to both.
        refused: Those that the breaker of a route in an outage refused.
        wrongly_refused: Refusals of healthy routes, by route.
        differences: Answers that the twin gave otherwise, by route.
        lost: Requests that got no answer of the guarded server or of the twin.
        attacks: How many were made.
        growth: Of memory, in bytes a minute: the guarded server's and the twin's.
        files: Open files of the guarded server before and after.
        left: Calls that are in flight at the end, by key.
        faults: Faults of recloser itself.
    """

    kind: str
    seconds: float = 0.0
    asked: int = 0
    refused: int = 0
    wrongly_refused: Counter[str] = field(default_factory=Counter)
    differences: Counter[str] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)
    attacks: int = 0
    growth: tuple[float, float] = (0.0, 0.0)
    memory: int = 0
    files: tuple[int, int] = (0, 0)
    left: Mapping[str, int] = field(default_factory=dict)
    faults: int = 0

    def broken(self) -> list[str]:
        """The promises that it broke."""
        found: list[str] = []
        if self.wrongly_refused:
            found.append(f"refused healthy routes: {dict(self.wrongly_refused)}")
        if self.differences:
            found.append(f"answers altered: {dict(self.differences)}")
        if self.left:
            found.append(f"calls in flight at the end: {dict(self.left)}")
        if self.faults:
            found.append(f"faults of recloser: {self.faults}")
        guarded, bare = self.growth
        if self.seconds >= LONG_ENOUGH and guarded - max(bare, 0.0) > MOST_GROWTH:
            found.append(
                f"memory grows by {guarded / 1024:.0f} KiB a minute, {bare / 1024:.0f} bare"
            )
        if self.files[1] - self.files[0] > MOST_FILES:
            found.append(f"open files: {self.files[0]} before, {self.files[1]} after")
        if not self.refused and self.seconds >= LONG_ENOUGH:
            found.append("no outage was noticed, so this soak proves nothing")
        return found


def soak(kind: str, seconds: float, seed: int) -> Result:
    """Run a server and its twin for so long.

    Args:
        kind: One of `KINDS`.
        seconds: How long they are under load.
        seed: Of requests, faults, outages and attacks.
    """
    with tempfile.TemporaryDirectory(prefix="soak-") as place:
        places = [Path(place, name) for name in ("guarded", "bare")]
        for each in places:
            each.mkdir()
        with (
            running(kind, places[0], seed=seed) as guarded,
            running(kind, places[1], guarded=False, seed=seed) as bare,
        ):
            return _Soak(guarded, bare, seed).run(seconds)


class _Soak:
    def __init__(self, guarded: Running, bare: Running, seed: int) -> None:
        self._guarded, self._bare = guarded, bare
        self._apps = guarded.apps
        self._seed = seed
        self._result = Result(guarded.kind)
        self._lock = threading.Lock()
        self._outages = Outages([guarded, bare], seed)

    def run(self, seconds: float) -> Result:
        result = self._result
        self._load(0.0, WARM_UP)
        result.asked = 0
        files = self._at_rest().files
        kind = KINDS[result.kind]
        patience = PATIENCE if kind.overlaps else PATIENCE_OF_ONE
        target, other = (
            Target(each.port, self._apps, patience, kind.spared)
            for each in (self._guarded, self._bare)
        )
        began = time.monotonic()
        with (
            Watch(self._guarded.process.pid) as watch,
            Watch(self._bare.process.pid) as twin,
            self._outages,
            # The twin as well, so that memory can be compared.
            Attackers(target, ATTACKERS, self._seed) as made,
            Attackers(other, ATTACKERS, self._seed),
        ):
            self._load(seconds)
        result.seconds = time.monotonic() - began
        result.attacks = sum(made.values())
        result.growth = slope(watch.samples), slope(twin.samples)
        result.files = files, self._at_rest().files
        result.memory = watch.samples[-1].memory if watch.samples else 0
        described = self._guarded.described()
        result.faults = described["faults"]
        calls = {key: each["in_flight"] for key, each in described["breakers"].items()}
        result.left = {key: count for key, count in calls.items() if count}
        return result

    def _at_rest(self) -> Sample:
        """Wait until no call is in flight and no connection is open, or for so long; measure."""
        deadline = time.monotonic() + SETTLED_WITHIN
        fewest = measure(self._guarded.process.pid)
        while time.monotonic() < deadline:
            time.sleep(0.5)
            breakers = self._guarded.described()["breakers"].values()
            now = measure(self._guarded.process.pid)
            is_stable = now.files == fewest.files
            fewest = now if now.files < fewest.files else fewest
            if is_stable and not any(each["in_flight"] for each in breakers):
                break
        return fewest

    def _load(self, seconds: float, count: int = 0) -> None:
        until = time.monotonic() + seconds
        with ThreadPoolExecutor(USERS) as pool:
            tasks = [
                pool.submit(self._use, number, until, count // USERS) for number in range(USERS)
            ]
            for task in tasks:
                task.result()

    def _use(self, number: int, until: float, count: int) -> None:
        chance = random.Random(f"{self._seed} {number} {count}")
        users = User(self._guarded.port), User(self._bare.port)
        while count > 0 or time.monotonic() < until:
            count -= 1
            request = request_of(chance.choice(self._apps), chance, faults=True)
            self._compare(request, *users)
        for user in users:
            user.leave()

    def _compare(self, request: Request, guarded: User, bare: User) -> None:
        since = time.monotonic()
        answers = [self._ask(request, guarded, "guarded"), self._ask(request, bare, "bare")]
        result, route = self._result, f"{request.method} {'/'.join(request.path.split('/')[:3])}"
        with self._lock:
            result.asked += 1
            answer, other = answers
            if answer is None or other is None:
                return
            is_outage = request.route == "outage"
            if answer.is_refusal and not other.is_refusal:
                if is_outage and self._outages.may_refuse(since):
                    result.refused += 1
                else:
                    result.wrongly_refused[route] += 1
            elif answer != other and not (is_outage and self._outages.may_differ(since)):
                result.differences[f"{route} {answer.status} {other.status}"] += 1

    def _ask(self, request: Request, user: User, who: str) -> Answer | None:
        try:
            return user.ask(request)
        except (OSError, http.client.HTTPException) as error:
            user.leave()
            with self._lock:
                self._result.lost[f"{who}: {type(error).__name__}"] += 1
            return None
