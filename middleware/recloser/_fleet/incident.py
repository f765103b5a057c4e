"""An incident: one key that a fleet watches, by the worker that leads it.

It begins when a worker suspects something. All workers then report what their calls do, and the leader
puts that into the circuit of the fleet, in the order of time. The fleet has the state of that circuit.
It ends when the circuit has been closed and calm for a while.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from math import ceil
from operator import itemgetter

from recloser._circuit.journal import Begun, Ended
from recloser._circuit.learned import Learned
from recloser._circuit.pooled import PooledCall, PooledCircuit
from recloser._circuit.votes import Ending
from recloser._events import Reason
from recloser._fleet import reporting_worker
from recloser._fleet.facts import KeyFact
from recloser._fleet.permits import Permits
from recloser._fleet.reporting_worker import ReportingWorker, most_are_closed, most_are_open
from recloser._fleet.reports import PACE, Report, of_late
from recloser._fleet.watch import Watch
from recloser._outcome import Outcome
from recloser._state import State

# As plain globals: to look up a member of an enum takes 60 ns on Python 3.11.
_CLOSED = State.CLOSED
_OPEN, _HALF_OPEN = State.OPEN, State.HALF_OPEN

_RENEWED = 0.3  # a leader says something at least after this part of its lease
# A ticket for a probe is valid for `_TICKET_GAPS` of the usual times between two calls of a worker, but
# at least `_TICKET` and at most `_TICKET_LONGEST` seconds. If its worker dies, the probe is late by that.
_TICKET_GAPS, _TICKET, _TICKET_LONGEST = 3.0, 1.0, 5.0
# Tickets are given out `_SOON` seconds before it is time to probe. The next ones are given out `_MARGIN`
# seconds after these have expired.
_SOON, _MARGIN = 1.0, 0.1
# With up to `_SINGLE` workers, one probe is sent at a time. With more, the worker with the only ticket
# would wait too long for a call of its own. So as many get tickets as give `_PROBES` probes at a time.
_SINGLE, _PROBES = 8, 0.3
_AVERAGED = 0.5  # seconds over which rates are averaged
_TELLING = 0.05  # by how much a number must change before it is worth telling
# A limit that has changed is in force in all workers after this many paces.
_SETTLES = 2.5
# It is settled when the calls in flight are between these parts of the limit, or at the latest after this
# many seconds.
_NEAR, _SETTLES_AT_LATEST = (0.6, 1.2), 2.0
# Workers are told of a share of bad calls that is normal from here on: they would be alarmed by it.
_WORTH_TELLING = 0.05
# The rules of a closing that has taught something.
_TEACHES = frozenset({"new_normal", "mixed"})


class Incident:
    """The circuit of a fleet for one key, and what is told of it.

    Args:
        me: The worker that leads.
        circuit: The circuit.
        workers: How many workers there are.
        random: Returns uniform numbers in 0.0-1.0.
        now: Seconds.
        by_hand: What an operator has done, if that is why it begins: `open` or `half_open`; "" otherwise.

    Attributes:
        circuit: As given.
        workers: How many workers there are.
        pace: Seconds between two reports of a worker.
        seen: What is known of each worker that has reported.
        one_in: One call in this many is written down.
        by_hand: As given, for as long as the circuit decides nothing else.
        watch: How long it lasts, and how closely its leader looks.
        permits: How many calls the workers may have in flight, while limited.
    """

    def __init__(
        self,
        me: str,
        circuit: PooledCircuit,
        workers: int,
        random: Callable[[], float],
        now: float,
        by_hand: str = "",
    ) -> None:
        self.circuit = circuit
        self.workers = workers
        self.pace = PACE
        self.seen: dict[str, ReportingWorker] = {}
        self.one_in = 1
        self.by_hand = by_hand
        self._me = me
        self._random = random
        self._began = self._time = self._decided_at = self._state_since = now
        self.watch = Watch(circuit, now)
        self._held: list[tuple[float, str, Begun | Ended]] = []  # it is not their time yet
        self._reason: Reason | None = None
        self._taught = False
        self._lessons: tuple[tuple[float, float] | None, Learned | None] = None, None
        self.permits = Permits(circuit.counts.rate)
        self._size: float = 0.0
        self._settles_at = now
        self._settled = True
        self._tickets: tuple[str, ...] | None = ()
        self._tickets_until = self._ticket = 0.0
        self._told: KeyFact | None = None
        self._told_at = 0.0
        self._grant(now)  # a worker that takes over a limit tells it at once

    # What workers report

    def decide(self, reports: Iterable[Report], now: float) -> None:
        """Take reports into account, and let time go on to `now` seconds."""
        reports = [*reports]
        asked, ended, refused = self._take(reports)
        self._note_earlier(reports, now)
        passed = max(now - self._decided_at, 1e-3)
        self._measure(asked, passed)
        self._decided_at = now
        self._drop_silent(now)
        until, circuit = self._known_until(now), self.circuit
        self._feed_known(until)
        self._forget_lost(reports)
        self._time = max(until, self._time)
        if refused:
            circuit.count_refused(ceil(refused / self.one_in), self._time)
        circuit.tick(self._time)
        if circuit.state is _CLOSED:
            self._judge_alone(now)
        elif not self.by_hand and circuit.divided.is_sure:
            circuit.leave_alone(self._time)
        elif not self.by_hand and circuit.divided.is_likely:
            circuit.hurry(self._time)
        self.watch.note(now)
        self._note_changes(now)
        running = circuit.running * self.one_in
        self.permits.note(asked.total(), ended * self.one_in, running, passed)
        self._grant(now)

    def _take(self, reports: Iterable[Report]) -> tuple[Counter[str], int, int]:
        """Take what is reported; return how many calls were asked for, have ended, and were refused."""
        asked, ended, refused = Counter[str](), 0, 0
        for report in reports:
            seen = self.seen.setdefault(report.worker, ReportingWorker())
            seen.written, seen.alone, seen.why = report.written, report.alone, report.why
            refused += report.refused
            begun = sum(isinstance(entry, Begun) for entry in report.entries)
            asked[report.worker] += report.refused + begun * self.one_in
            ended += len(report.entries) - begun
            self._held += [(entry.at, report.worker, entry) for entry in report.entries]
        return asked, ended, refused

    def _drop_silent(self, now: float) -> None:
        """Forget the calls of workers that are silent for too long: they say nothing any more."""
        for seen in self.seen.values():
            if seen.is_silent(now, self.pace):
                for token, _ in seen.calls.values():
                    self._forget(token)
                seen.calls.clear()
                seen.earlier.clear()

    def _known_until(self, now: float) -> float:
        """Until when it is known what all workers did: the end of a call may not be told yet.

        If time ran on without them, calls that have ended long ago would seem to hang. A worker that
        is silent for too long is not waited for.
        """
        begins = {worker for _, worker, entry in self._held if isinstance(entry, Begun)}
        until = now
        for worker, seen in self.seen.items():
            runs = seen.calls or seen.earlier or worker in begins
            if runs and not seen.is_silent(now, self.pace):
                until = min(until, seen.written)
        return until

    def _feed_known(self, until: float) -> None:
        """Let the circuit see what happened until then, in the order of time; hold back the rest."""
        self._held.sort(key=itemgetter(0))
        known = [each for each in self._held if each[0] <= until]
        del self._held[: len(known)]
        for at, worker, entry in known:
            self._time = max(at, self._time)
            self._feed(worker, entry)

    def _measure(self, asked: Counter[str], passed: float) -> None:
        self.watch.demand = of_late(self.watch.demand, asked.total(), passed, _AVERAGED)
        for worker, seen in self.seen.items():
            seen.asked = of_late(seen.asked, asked[worker], passed, _AVERAGED)

    def _feed(self, worker: str, entry: Begun | Ended) -> None:
        circuit, seen, now = self.circuit, self.seen[worker], self._time
        if isinstance(entry, Begun):
            if entry.token in seen.calls:  # it was told twice
                self._forget(seen.calls.pop(entry.token)[0])
            token, call = next(circuit.calls.tokens), PooledCall(worker, now)
            seen.calls[entry.token] = token, call
            circuit.begin(token, call, now)
            return
        if entry.token not in seen.calls:
            return  # it began before the watch
        token, call = seen.calls.pop(entry.token)
        circuit.note_end(call, entry.outcome, entry.latency)
        _, _, outcome, latency, wait, rule, what = entry
        circuit.end(Ending(token, outcome, latency, now, what, wait, rule))

    def _note_earlier(self, reports: Iterable[Report], now: float) -> None:
        """Note the calls in flight that began before the watch: their begin was not told."""
        begun = {(worker, entry.token) for _, worker, entry in self._held}
        are_overtaken = self.circuit.has_overtaken(self._began, now)
        for report in reports:
            worker, seen = report.worker, self.seen[report.worker]
            unknown = () if are_overtaken else {*report.open} - seen.calls.keys()
            sample = {token for token in unknown if token % self.one_in == 0}
            seen.earlier = {token for token in sample if (worker, token) not in begun}
        self.circuit.earlier = sum(len(seen.earlier) for seen in self.seen.values())

    def _forget_lost(self, reports: Iterable[Report]) -> None:
        """Forget calls whose end was told in a report that was lost, with its store for example."""
        waiting = {worker for _, worker, _ in self._held}
        still_open = {report.worker: set(report.open) for report in reports}
        for worker in still_open.keys() - waiting:
            calls = self.seen[worker].calls
            for theirs in calls.keys() - still_open[worker]:
                self._forget(calls.pop(theirs)[0])

    def _forget(self, token: int) -> None:
        self.circuit.end(Ending(token, Outcome.IGNORED, 0.0, self._time))

    def _judge_alone(self, now: float) -> None:
        """Open for all if most workers have opened alone, and no other one is well."""
        divided, demand = self.circuit.divided, self.watch.demand
        reason = most_are_open(self.seen, self.workers, divided, demand, now - self._began)
        if reason is not None:
            self.circuit.open_for_all(now, reason)

    def _note_changes(self, now: float) -> None:
        circuit = self.circuit
        events, circuit.events = circuit.events, ()
        for event in events:
            self._state_since = now
            self.watch.has_changed = True
            self._reason = event.reason
            self._taught = self._taught or event.reason.rule in _TEACHES
            self._tickets, self._tickets_until = (), 0.0
            self._lessons = self._learn(now)
            if event.reason.rule not in ("manual", "reset"):
                self.by_hand = ""

    # What is told

    @property
    def looks_every(self) -> float:
        """Seconds between two looks at what workers have reported; 0.0 for as often as they do."""
        return self.watch.looks_every(self.one_in)

    def news(self, now: float) -> KeyFact | None:
        """What to tell the fleet at `now` seconds; None if there is nothing new."""
        fact, told = self._fact(now), self._told
        if told is None or self._is_news(told, fact):
            return fact
        return None if now - self._told_at < _RENEWED * told.lease else fact

    def tell(self, fact: KeyFact, now: float) -> None:
        """Note that the fleet was told."""
        self._told, self._told_at = fact, now

    def _is_news(self, told: KeyFact, fact: KeyFact) -> bool:
        if told.decision != fact.decision:
            return True
        if fact.state is _OPEN:
            passed = self._decided_at - self._told_at
            return abs(told.wait - passed - fact.wait) > _MARGIN and fact.wait > 0.0
        return abs(told.permits - fact.permits) > _TELLING * told.permits

    def _fact(self, now: float) -> KeyFact:
        circuit = self.circuit
        state, recovery, limit = circuit.state, circuit.recovery, circuit.limit
        reason = circuit.reason or Reason("", "watching the calls of all workers")
        wait, size, tickets, places = 0.0, 0.0, self._tickets, 1
        expected, learned = self._lessons if state is _CLOSED else (None, None)
        self._choose_sample()
        if limit is not None and recovery is not None:
            size = limit.size * self.one_in
            tickets = None
        elif recovery is not None:
            wait = max(circuit.probe_at - now, 0.0)
            tickets, places = self._tickets_for(now)
        return KeyFact(
            state=state,
            leader=self._me,
            lease=self.watch.lease(self.one_in) + self.pace,
            reason=reason,
            by_hand=self.by_hand,
            since=now - self._state_since,
            wait=wait,
            size=size,
            permits=self.permits.number,
            demand=self.watch.demand,
            workers=self.workers,
            tickets=tickets,
            ticket=self._ticket,
            places=places,
            one_in=self.one_in,
            overrules=self._overrules,
            expected=expected,
            learned=learned,
        )

    @property
    def _overrules(self) -> bool:
        return most_are_closed(self.seen, self.workers)

    def closing(self, now: float) -> KeyFact:
        """What to tell the fleet when it is over."""
        expected, learned = self._learn(now)
        return KeyFact(
            state=_CLOSED,
            leader="",
            lease=0.0,
            reason=self._reason or Reason("", "calls are as usual"),
            since=now - self._state_since,
            workers=self.workers,
            overrules=self._overrules,
            expected=expected,
            learned=learned,
        )

    def _learn(self, now: float) -> tuple[tuple[float, float] | None, Learned | None]:
        """What workers are to know when they are closed; else their own calls would open them again."""
        rate = self.circuit.counts.rate / max(self.workers, 1)
        learned = Learned.of(self.circuit.detector, rate, now)
        if self.circuit.divided.is_sure:
            return None, None  # what is a mixture of all is normal for none
        expected = learned.shares if sum(learned.shares) >= _WORTH_TELLING else None
        return expected, learned if self._taught else None

    def _choose_sample(self) -> None:
        one_in = self.watch.sample(self.one_in)
        if one_in != self.one_in:
            self.one_in = one_in
            # A call in flight that is not in the new sample would count as `one_in` calls.
            for seen in self.seen.values():
                for token in [token for token in seen.calls if token % one_in]:
                    self._forget(seen.calls.pop(token)[0])

    def _grant(self, now: float) -> None:
        """Choose how many permits there are, so that as many calls are in flight as the limit allows."""
        circuit, limit = self.circuit, self.circuit.limit
        if limit is None:
            self._size = 0.0
            self.permits.number = 0.0
            return
        size = limit.size * self.one_in
        if limit.is_pausing:
            level = max(limit.level, circuit.detector.baseline.median, 1e-3)
            size *= level / (level + limit.pauses)
        running = circuit.running * self.one_in
        if size != self._size:
            self._size, self._settles_at = size, now + _SETTLES * self.pace
            self._settled = False
        if not self._settled:
            near = _NEAR[0] * size - 1.0 <= running <= _NEAR[1] * size + 1.0
            late = now - self._settles_at > _SETTLES_AT_LATEST
            self._settled = now >= self._settles_at and (near or late)
            circuit.await_limit()
        self.permits.choose(size, self.workers)

    def _tickets_for(self, now: float) -> tuple[tuple[str, ...] | None, int]:
        """Which workers may send probes (None: all), and how many at a time each."""
        circuit, recovery = self.circuit, self.circuit.recovery
        if recovery is None:
            return (), 1
        if circuit.state is _HALF_OPEN and not recovery.good and circuit.calls.probes:
            return (), 1
        if circuit.state is _HALF_OPEN and recovery.good:
            window = float(recovery.places)
            number = max(self._number(window), min(window, self.workers))
        else:
            window = 1.0
            number = 1.0 if self.workers <= _SINGLE else max(self._number(_PROBES), 1.0)
            if now < self._tickets_until:
                return self._tickets, 1
            if circuit.state is _OPEN and circuit.probe_at > now + _SOON:
                return (), 1
            gaps = _TICKET_GAPS * self.workers / (number * max(self.watch.demand, 1e-3))
            self._ticket = min(max(gaps, _TICKET), _TICKET_LONGEST)
            self._tickets_until = max(circuit.probe_at, now) + self._ticket + _MARGIN
        if number >= self.workers:
            self._tickets = None
            return None, max(int(window // self.workers), 1)
        chosen = reporting_worker.probers(self.seen, circuit.divided, self._random) or [self._me]
        self._tickets = tuple(chosen[: ceil(number)])
        return self._tickets, max(int(window // len(self._tickets)), 1)

    def _number(self, probes: float) -> float:
        """How many workers may send probes so that about `probes` are in flight at a time."""
        rate = self.watch.rate(self.one_in) / max(self.workers, 1)
        takes = max(self.circuit.detector.baseline.median, 1e-3) + self.pace
        return probes / max(rate * takes, 1e-9)
