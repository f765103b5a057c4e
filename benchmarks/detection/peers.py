"""Small, exact models of other breakers that are not Python packages.

Sources and defaults: the projects' own code and documentation, as of 2026. Each model counts as a
failure what its project does. No model treats a 4xx or a client that disconnects as a failure. Each
of them treats a 429 as a failure.
"""

from __future__ import annotations

from collections import deque
from random import Random

from benchmarks.detection.simulator import Clock, Ending

FAILURES = (Ending.FAILED, Ending.THROTTLED)
"""What these models count as a failure."""


class _Timer:
    """The states of most breakers: closed, open for a fixed time, half-open with some permits."""

    def __init__(self, clock: Clock, open_for: float, permits: int) -> None:
        self.openings: list[float] = []
        self.alarms: list[float] = []
        self._clock = clock
        self._open_for = open_for
        self._permits = permits
        self._state = "closed"
        self._until = 0.0
        self._issued = 0

    def acquire(self) -> object | None:
        if self._state == "open" and self._clock.now >= self._until:
            self._state, self._issued = "half-open", 0
            self._begin_probes()
        if self._state == "open":
            return None
        if self._state == "half-open":
            if self._issued >= self._permits:
                return None
            self._issued += 1
        return self._state

    def _begin_probes(self) -> None: ...

    def _open(self) -> None:
        if self._state == "closed":
            self.openings.append(self._clock.now)
        self.alarms.append(self._clock.now)
        self._state, self._until = "open", self._clock.now + self._open_for

    def _return_permit(self) -> None:
        if self._state == "half-open":
            self._issued = max(self._issued - 1, 0)


class Consecutive(_Timer):
    """Opens after N failures in a row; one probe decides (Envoy, Finagle, most Python breakers)."""

    def __init__(self, clock: Clock, failures: int = 5, open_for: float = 30.0) -> None:
        super().__init__(clock, open_for, 1)
        self._failures = failures
        self._streak = 0

    def end(self, permit: object, ending: Ending, took: float, wait: float) -> None:
        if ending in FAILURES:
            self._streak += 1
            if self._state == "half-open" or (
                self._state == "closed" and self._streak >= self._failures
            ):
                self._open()
        elif ending is Ending.OK:
            self._streak = 0
            if self._state == "half-open":
                self._state = "closed"
        else:
            self._return_permit()


class Ejection:
    """Envoy's outlier detection for one host: 5 in a row, 30 s times the ejections, no probe."""

    def __init__(self, clock: Clock) -> None:
        self.openings = self.alarms = list[float]()
        self._clock = clock
        self._streak = 0
        self._until = 0.0
        self._ejections = 0
        self._swept = 0.0

    def acquire(self) -> object | None:
        now = self._clock.now
        if now < self._until:
            self._swept = self._until
            return None
        # Every 10 s a sweep without an ejection lowers the multiplier by one.
        sweeps = int((now - self._swept) / 10.0)
        if sweeps:
            self._ejections = max(self._ejections - sweeps, 0)
            self._swept += 10.0 * sweeps
        return self

    def end(self, permit: object, ending: Ending, took: float, wait: float) -> None:
        if self._clock.now < self._until:
            return
        if ending in FAILURES:
            self._streak += 1
            if self._streak >= 5:
                self._streak = 0
                self._ejections += 1
                self._until = self._clock.now + min(30.0 * self._ejections, 300.0)
                self.openings.append(self._clock.now)
        elif ending is Ending.OK:
            self._streak = 0


class Rates(_Timer):
    """Failure rate and slow-call rate over a window of calls or seconds (such as resilience4j).

    Like resilience4j it counts a result in the state at the end of the call, also a late result.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        calls: int = 100,
        seconds: float = 0.0,
        minimum: int = 100,
        rate: float = 0.5,
        slow: float = 60.0,
        slow_rate: float = 1.0,
        open_for: float = 60.0,
        permits: int = 10,
    ) -> None:
        super().__init__(clock, open_for, permits)
        self._calls, self._seconds, self._minimum = calls, seconds, minimum
        self._rate, self._slow, self._slow_rate = rate, slow, slow_rate
        self._window: deque[tuple[float, bool, bool]] = deque()
        self._forget()

    def _forget(self) -> None:
        self._window.clear()
        self._failed = self._late = 0

    def _begin_probes(self) -> None:
        self._forget()

    def _drop_oldest(self) -> None:
        _, failed, late = self._window.popleft()
        self._failed -= failed
        self._late -= late

    def end(self, permit: object, ending: Ending, took: float, wait: float) -> None:
        if ending in (Ending.CALLER_ERROR, Ending.CANCELLED):
            self._return_permit()
            return
        if self._state == "open":
            return
        now = self._clock.now
        failed, late = ending in FAILURES, took >= self._slow
        self._window.append((now, failed, late))
        self._failed += failed
        self._late += late
        minimum = self._minimum
        if self._state == "half-open":
            minimum = self._permits
        elif self._seconds:
            while self._window[0][0] < now - self._seconds:
                self._drop_oldest()
        elif len(self._window) > self._calls:
            self._drop_oldest()
        total = len(self._window)
        if total < minimum:
            return
        if self._failed >= self._rate * total or self._late >= self._slow_rate * total:
            self._open()
            self._forget()
        elif self._state == "half-open":
            self._state = "closed"
            self._forget()


class FirstResult(_Timer):
    """Polly v8: a failure ratio over seconds; one probe, and the first result decides."""

    def __init__(
        self,
        clock: Clock,
        *,
        ratio: float = 0.1,
        minimum: int = 100,
        seconds: float = 30.0,
        open_for: float = 5.0,
    ) -> None:
        super().__init__(clock, open_for, 1)
        self._ratio, self._minimum, self._seconds = ratio, minimum, seconds
        self._window: deque[tuple[float, bool]] = deque()
        self._failed = 0

    def end(self, permit: object, ending: Ending, took: float, wait: float) -> None:
        # Polly counts every result that is not a failure as a success, also a cancelled call.
        now, failed = self._clock.now, ending in FAILURES
        if self._state == "half-open":
            self._window.clear()
            self._failed = 0
            if failed:
                self._open()
            else:
                self._state = "closed"
            return
        if self._state == "open":
            return
        self._window.append((now, failed))
        self._failed += failed
        while self._window[0][0] < now - self._seconds:
            self._failed -= self._window.popleft()[1]
        total = len(self._window)
        if total >= self._minimum and failed and self._failed >= self._ratio * total:
            self._open()
            self._window.clear()
            self._failed = 0


class Throttle:
    """go-zero: drops each call with the probability of the SRE book, and admits one per second.

    As in the book and in go-zero, dropped calls count as requests.
    """

    def __init__(self, clock: Clock, random: Random) -> None:
        self.openings = self.alarms = list[float]()
        self._clock = clock
        self._random = random.random
        # [number, requests, accepted, failed]: 40 buckets of a quarter second.
        self._buckets: deque[list[int]] = deque()
        self._asked = self._accepted = 0
        self._dropped = -1e9
        self._passed = 0.0

    def acquire(self) -> object | None:
        now = self._clock.now
        number = int(now * 4)
        while self._buckets and self._buckets[0][0] <= number - 40:
            _, asked, accepted, _ = self._buckets.popleft()
            self._asked -= asked
            self._accepted -= accepted
        # With the smallest possible weight, a healthy service needs no look at the buckets.
        if self._asked - 5 - 1.1 * self._accepted <= 0.0:
            return self
        working = failing = 0
        for _, _, accepted, failed in self._buckets:
            working = 0 if failed else working + (accepted > 0)
            failing = 0 if accepted else failing + (failed > 0)
        weight = 1.5 - 0.4 * failing / 40
        ratio = (self._asked - 5 - weight * self._accepted) / (self._asked + 1)
        if ratio <= 0.0:
            return self
        if self._passed and now - self._passed > 1.0:
            self._passed = now
            return self
        if self._random() >= ratio * (40 - working) / 40:
            self._passed = now
            return self
        self._count(0, 0)
        if now - self._dropped > 10.0:
            self.openings.append(now)
        self._dropped = now
        return None

    def end(self, permit: object, ending: Ending, took: float, wait: float) -> None:
        if ending is not Ending.CANCELLED:
            accepted = ending not in FAILURES
            self._count(accepted, not accepted)

    def _count(self, accepted: int, failed: int) -> None:
        number = int(self._clock.now * 4)
        if not self._buckets or self._buckets[-1][0] != number:
            self._buckets.append([number, 0, 0, 0])
        bucket = self._buckets[-1]
        bucket[1] += 1
        bucket[2] += accepted
        bucket[3] += failed
        self._asked += 1
        self._accepted += accepted


class Expression:
    """Traefik: an expression over 10 s of errors and 60 s of latency; a ramp to half, then all."""

    def __init__(
        self, clock: Clock, *, errors: float = 0.3, slow: float = 0.0, minimum: int = 1
    ) -> None:
        self.openings: list[float] = []
        self.alarms: list[float] = []
        self._clock = clock
        self._errors, self._slow, self._minimum = errors, slow, minimum
        self._results: deque[tuple[float, bool]] = deque()
        self._failed = 0
        self._tooks: deque[tuple[float, bool]] = deque()
        self._late = 0
        self._state = "standby"
        self._until = self._checked = 0.0
        self._allowed = self._denied = 0

    def _tripped(self, now: float) -> bool:
        while self._results and self._results[0][0] < now - 10.0:
            self._failed -= self._results.popleft()[1]
        while self._tooks and self._tooks[0][0] < now - 60.0:
            self._late -= self._tooks.popleft()[1]
        total = len(self._results)
        if total < self._minimum:
            return False
        # LatencyAtQuantileMS(50.0) is above the limit if half of the calls are.
        return self._failed > self._errors * total or (
            self._slow > 0.0 and self._late > 0.5 * len(self._tooks)
        )

    def acquire(self) -> object | None:
        now = self._clock.now
        if self._state == "tripped":
            if now < self._until:
                return None
            self._state, self._until = "recovering", now + 10.0
            self._allowed = self._denied = 0
        if self._state == "recovering":
            if now >= self._until:
                self._state = "standby"
                return self
            target = 0.5 * (1.0 - (self._until - now) / 10.0)
            if self._allowed + 1 >= target * (self._allowed + 1 + self._denied):
                self._denied += 1
                return None
            self._allowed += 1
        return self

    def end(self, permit: object, ending: Ending, took: float, wait: float) -> None:
        if ending in (Ending.CALLER_ERROR, Ending.CANCELLED):
            return
        now, failed, late = self._clock.now, ending in FAILURES, took > self._slow
        self._results.append((now, failed))
        self._failed += failed
        self._tooks.append((now, late))
        self._late += late
        if self._state == "tripped" or now - self._checked < 0.1:
            return
        self._checked = now
        if self._tripped(now):
            if self._state == "standby":
                self.openings.append(now)
            self.alarms.append(now)
            self._state, self._until = "tripped", now + 10.0
            self._results.clear()
            self._tooks.clear()
            self._failed = self._late = 0


class RawZScore:
    """llmkit 0.1.3, from which this project's mission comes, as it is written.

    One failure, or one latency above mean + 2.5 sigma, opens it. Mean and sigma include the outlier
    itself. Only an operator can close it.
    """

    def __init__(self, clock: Clock) -> None:
        self.openings = self.alarms = list[float]()
        self._clock = clock
        self._tooks: deque[float] = deque()
        self._sum = self._squares = 0.0
        self._open = False

    def acquire(self) -> object | None:
        return None if self._open else self

    def end(self, permit: object, ending: Ending, took: float, wait: float) -> None:
        if ending in (Ending.CALLER_ERROR, Ending.CANCELLED) or self._open:
            return
        self._tooks.append(took)
        self._sum += took
        self._squares += took * took
        if len(self._tooks) > 1000:
            old = self._tooks.popleft()
            self._sum -= old
            self._squares -= old * old
        mean = self._sum / len(self._tooks)
        sigma = max(self._squares / len(self._tooks) - mean * mean, 0.0) ** 0.5
        if ending in FAILURES or (sigma > 0.0 and (took - mean) / sigma > 2.5):
            self._open = True
            self.openings.append(self._clock.now)


class Never:
    """No breaker: nothing is refused."""

    def __init__(self) -> None:
        self.openings = self.alarms = list[float]()

    def acquire(self) -> object | None:
        return self

    def end(self, permit: object, ending: Ending, took: float, wait: float) -> None: ...
