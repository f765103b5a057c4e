"""A world on a virtual clock: callers, a callee, and a breaker between them. All follows from a seed.

What each caller does and how the callee would answer is drawn before the breaker is asked. So a
decision that changes takes no other luck to the calls after it, and the difference stays readable.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from math import inf
from random import Random
from typing import NamedTuple

from tests.support.plays.record import Record

from recloser import Breaker, Permit, Pieces, Policy, Registry
from recloser._permit import LoosePermit
from recloser.testing import ManualClock, no_jitter


class Luck(NamedTuple):
    """What is drawn for one call: a normally distributed number, and one that is uniform in 0.0-1.0."""

    normal: float
    share: float


class Answer(NamedTuple):
    """How a callee answers.

    Attributes:
        after: Seconds; infinite for never.
        end: The method of the permit that ends the call, or `lose` if nobody does.
        wait: Seconds of the pause that it asks for.
        quota: Whether money is used up.
        error: What failed.
        gaps: Seconds until each further piece, if the answer is a stream.
        begins: Seconds until the answer begins, if that is marked; infinite if it is not.
    """

    after: float
    end: str = "success"
    wait: float | None = None
    quota: bool = False
    error: str | None = None
    gaps: tuple[float, ...] = ()
    begins: float = inf


Callee = Callable[["World", Luck], Answer]


class Caller(NamedTuple):
    """What callers do.

    Attributes:
        label: Of their calls.
        size: Of their calls; told at the end if `late`.
        late: Whether label and size are told at the end only.
        patience: Seconds that they wait.
        gives_up: The method of the permit that they end an unanswered call with; one of
            `time_out`, `cut` and `timer` raises.
        retries: How many times they ask again after a failure or refusal.
        sends_for: Seconds that their client takes to send the request; no latency. None: it is there.
        leaves: Seconds after which the client leaves that has not sent it.
    """

    label: str | None = None
    size: float | None = None
    late: bool = False
    patience: float = inf
    gives_up: str = "cancel"
    retries: int = 0
    sends_for: float | None = None
    leaves: float = inf


ANYBODY = Caller()


class CoarseClock(ManualClock):
    """A clock that shows whole steps of some seconds only."""

    def __init__(self, start: float, step: float) -> None:
        super().__init__(start)
        self.step = step

    def __call__(self) -> float:
        return self.now // self.step * self.step if self.step else self.now


class World:
    """A breaker with its callers.

    Args:
        name: Of the play; its random numbers follow from it.
        policy: Of the breaker.
        step: Resolution of the clock in seconds; 0.0 for a perfect one.
        jitter: Whether waits of the breaker are varied at random.
        start: What the clock shows first, in seconds.

    Attributes:
        chance: The random numbers of the play.
        caller: Who makes the present call.
        record: What has happened.
        kept: What the holders of calls keep that never end.
    """

    def __init__(
        self,
        name: str,
        policy: Policy | None = None,
        *,
        step: float = 0.0,
        jitter: bool = False,
        start: float = 1000.0,
    ) -> None:
        self.chance = Random(name)
        self.caller = ANYBODY
        self.clock = CoarseClock(start, step)
        noise = Random(f"jitter of {name}").random
        self.registry = Registry(policy, clock=self.clock, random=noise if jitter else no_jitter)
        self.breaker: Breaker = self.registry["callee"]
        self.record = Record(name, self.breaker, start)
        self.registry.subscribe(self.record)
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._number = 0
        self.kept: list[object] = []

    @property
    def now(self) -> float:
        """The true time, in seconds."""
        return self.clock.now

    def at(self, time: float, action: Callable[[], None]) -> None:
        """Do something at a time in seconds."""
        if time < inf:
            self._number += 1
            heappush(self._due, (time, self._number, action))

    def run(self, seconds: float) -> None:
        """Let time pass."""
        until = self.now + seconds
        while self._due and self._due[0][0] <= until:
            self._do_next()
        self.clock.now = until

    def _do_next(self) -> None:
        # A method, so that nothing keeps a permit that is lost.
        self.clock.now, _, action = heappop(self._due)
        action()

    def beat_for(self, seconds: float) -> None:
        """Let time pass in which this process runs: it beats every 20 ms."""
        end = self.now + seconds
        while self.now < end:
            self.registry.stalls.beat(self.now)
            self.run(0.02)

    def luck(self) -> Luck:
        """Draw for one call."""
        return Luck(self.chance.gauss(0.0, 1.0), self.chance.random())

    def load(
        self,
        rate: float,
        seconds: float,
        callee: Callee,
        *callers: Caller,
        even: bool = False,
        looks: int = 3,
    ) -> None:
        """Make calls for some time, and look at the breaker a few times.

        Args:
            rate: Calls per second.
            seconds: For how long.
            callee: Who answers.
            callers: Who calls, chosen at random.
            even: Whether the calls come at equal distances, not at random.
            looks: How often the figures are noted.
        """
        chance, began = self.chance, self.now
        for look in range(1, looks + 1):
            self.at(began + seconds * look / looks, self.record.look)

        def next_call() -> None:
            luck = self.luck()
            caller = callers[int(chance.random() * len(callers))] if callers else ANYBODY
            gap = 1.0 / rate if even else chance.expovariate(rate)
            if self.now + gap < began + seconds:
                self.at(self.now + gap, next_call)
            self.call(callee, luck, caller, caller.retries)

        self.at(began + (1.0 / rate if even else chance.expovariate(rate)), next_call)
        self.run(seconds)

    def workers(
        self,
        number: int,
        seconds: float,
        callee: Callee,
        caller: Caller = ANYBODY,
        *,
        looks: int = 3,
    ) -> None:
        """Let some workers make one call after another, and look at the breaker a few times."""
        began, until = self.now, self.now + seconds
        for look in range(1, looks + 1):
            self.at(began + seconds * look / looks, self.record.look)

        def work() -> None:
            if self.now < until:
                self.call(callee, self.luck(), caller, then=rest)

        def rest() -> None:
            self.at(self.now + self.chance.expovariate(5.0), work)

        for _ in range(number):
            rest()
        self.run(seconds)

    def call(
        self,
        callee: Callee,
        luck: Luck,
        caller: Caller = ANYBODY,
        retries: int = 0,
        then: Callable[[], None] | None = None,
    ) -> None:
        """Make one call.

        Args:
            callee: Who answers.
            luck: What was drawn for it.
            caller: Who calls.
            retries: How many times to ask again after a failure or refusal.
            then: Is called at the end, if nobody asks again.
        """
        known = (None, None) if caller.late else (caller.label, caller.size)
        permit = self.breaker.try_acquire(*known)

        def over(well: bool) -> None:
            if then is not None:
                then()
            elif retries and not well:
                # The luck of a retry follows from that of the call: nothing else is changed by it.
                fresh = Luck(-luck.normal, (luck.share * 7.0 + 0.3) % 1.0)
                pause = 0.2 * 2.0 ** (caller.retries - retries)
                self.at(self.now + pause, lambda: self.call(callee, fresh, caller, retries - 1))

        if permit is None:
            self.record.refused()
            over(False)
            return
        self.record.admitted(permit)
        if caller.sends_for is None:
            self._send(permit, callee, luck, caller, over)
            return
        assert isinstance(permit, LoosePermit)
        permit.wait()

        def sent() -> None:
            permit.go_on(caller.sends_for or 0.0)
            self._send(permit, callee, luck, caller, over)

        if caller.leaves < caller.sends_for:
            self.at(self.now + caller.leaves, permit.cancel)
        else:
            self.at(self.now + caller.sends_for, sent)
        self.kept.append(permit)  # the client may never send

    def _send(
        self,
        permit: Permit,
        callee: Callee,
        luck: Luck,
        caller: Caller,
        over: Callable[[bool], None],
    ) -> None:
        self.caller = caller
        answer, sent = callee(self, luck), self.now
        if answer.begins < min(answer.after, caller.patience):
            self.at(sent + answer.begins, permit.mark)
        if answer.after > caller.patience:
            self.at(sent + caller.patience, lambda: self._give_up(permit, caller, over))
        elif answer.gaps:
            self.at(sent + answer.after, lambda: self._stream(permit, answer, caller))
        elif answer.after < inf:
            self.at(sent + answer.after, lambda: self._end(permit, answer, caller, over))
        else:
            self.kept.append(permit)

    def _give_up(self, permit: Permit, caller: Caller, over: Callable[[bool], None]) -> None:
        if caller.gives_up == "time_out":
            permit.end_by_error(TimeoutError("no answer"))
        elif caller.gives_up == "cut":
            permit.end_by_error(CancelledError())
        elif caller.gives_up == "timer":
            permit.end_by_error(TimerTimeout())
        else:
            getattr(permit, caller.gives_up)()
        over(False)

    def _end(
        self, permit: Permit, answer: Answer, caller: Caller, over: Callable[[bool], None]
    ) -> None:
        if caller.late and caller.label is not None:
            permit.label = caller.label
        if caller.late and caller.size is not None:
            permit.size = caller.size
        if answer.end == "failure":
            permit.failure(answer.error, retry_after=answer.wait)
        elif answer.end == "throttled":
            permit.throttled(answer.wait, quota=answer.quota)
        elif answer.end != "lose":
            getattr(permit, answer.end)()
        over(answer.end not in ("failure", "throttled"))

    def _stream(self, permit: Permit, answer: Answer, caller: Caller) -> None:
        """The first piece has come."""
        self.record.pieces = permit.pieces()
        self._ask(permit, self.record.pieces, answer, caller)

    def _ask(self, permit: Permit, pieces: Pieces, answer: Answer, caller: Caller) -> None:
        """Ask for the next piece of a stream, or end it."""
        if not answer.gaps:
            self._end(permit, answer, caller, _nothing)
            return
        pieces.asked()
        gap, rest = answer.gaps[0], answer._replace(gaps=answer.gaps[1:])
        if gap < inf:
            self.at(self.now + gap, lambda: self._go_on(permit, pieces, rest, caller))
        else:
            self.kept.append((permit, pieces))

    def _go_on(self, permit: Permit, pieces: Pieces, answer: Answer, caller: Caller) -> None:
        pieces.arrived()
        self._ask(permit, pieces, answer, caller)


def _nothing(well: bool) -> None:
    """What a caller does who does not ask again."""


class CancelledError(BaseException):
    """What a time-out of an event loop throws into a call; known by this name."""


class TimerTimeout(BaseException):
    """What a timer of gevent or eventlet throws into a call; known by this name."""
