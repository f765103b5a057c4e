"""What one process of a fleet does: calls, and a report each 50 ms."""

from __future__ import annotations

import ctypes
import faulthandler
import logging
import os
import random
import signal
import time
import traceback
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from benchmarks.fleet_chaos.upstream import ask
from recloser import Registry, State, Transition

RUN, STOP, FORK = 0, 1, 2
KEY = "upstream"
_EVERY = 0.05  # seconds between two reports
_STARTS = 10.0  # seconds for which a worker tries to start
_CHILD_LIVES, _CHILD_HANGS = 0.7, 10.0  # seconds
_NEW_NETWORK = 0x40000000  # CLONE_NEWNET


@dataclass(frozen=True, slots=True)
class Setup:
    """What a worker needs to begin.

    Attributes:
        number: Of it.
        store: The address of its store; "" for none.
        namespace: Its network namespace; "" for ours.
        rate: Its calls per second.
        upstream: The address of the callee; "" for the flag that all see.
        takes: Seconds that a call takes with that flag, about.
    """

    number: int
    store: str
    namespace: str
    rate: float
    upstream: str
    takes: float


@dataclass(frozen=True, slots=True)
class News:
    """What a worker knows.

    Attributes:
        at: When it told, in monotonic seconds.
        name: Its name in the fleet.
        state: Of its breaker.
        alone: Whether it has decided that alone.
        connected: Whether its store works.
        leads: Whether it leads the key.
        good: Calls that were well.
        wasted: Calls that were not.
        refused: Calls that were not made.
        faults: Faults of recloser.
        failures: How often its store failed.
        last_failure: What it said.
        garbage: Texts of no sense.
        in_flight: Calls that have not ended.
        slow_threshold: Of its breaker, in seconds.
        workers: How many it knows of.
        why: What the fleet has decided, for reading.
    """

    at: float
    name: str
    state: str
    alone: bool
    connected: bool
    leads: bool
    good: int
    wasted: int
    refused: int
    faults: int
    failures: int
    last_failure: str
    garbage: int
    in_flight: int
    slow_threshold: float
    workers: int
    why: str


class Caller:
    """Makes the calls of one worker."""

    def __init__(self, setup: Setup, dead: Any, pipe: Connection | None) -> None:
        logging.getLogger("recloser").setLevel(logging.CRITICAL)
        self.setup, self._dead, self._pipe = setup, dead, pipe
        self.begin()
        self.random = random.Random(setup.number * 1000 + os.getpid())
        self.good = self.wasted = self.refused = 0

    def begin(self) -> None:
        """Make the breaker."""
        self.registry = Registry(store=self.setup.store or None)
        self.registry.subscribe(self)
        self.breaker = self.registry[KEY]

    def end_child(self) -> int:
        """End what a forked child has; return its exit code."""
        code = 2 if self.registry.faults else 0
        fleet = self.registry.fleet
        if fleet is not None:
            fleet.close()
        return code

    def on_transition(self, transition: Transition) -> None:
        """Tell of a change."""
        if self._pipe is not None and os.getpid() == self._owner:
            reason = transition.reason
            self._pipe.send((time.monotonic(), transition.after.value, reason.rule))

    _owner = os.getpid()

    def own(self) -> None:
        """Let this process be the one that tells."""
        self._owner = os.getpid()

    def call(self) -> None:
        """One call, if it is admitted."""
        permit = self.breaker.try_acquire()
        if permit is None:
            self.refused += 1
            return
        with permit:
            if not self.ask(permit.is_probe):
                permit.failure()
                self.wasted += 1
                return
        self.good += 1

    def ask(self, is_probe: bool) -> bool:
        """Call the callee; return whether it has answered well."""
        if not self.setup.upstream:
            # Not the same each time: that would teach nothing.
            time.sleep(self.setup.takes * self.random.lognormvariate(0.0, 0.2))
            return not self._dead.value
        at, kind, allowed = time.monotonic(), "c", 0
        if is_probe:
            kind, allowed = self.probe()
        try:
            return ask(self.setup.upstream, self.setup.number, kind, allowed, at)
        except OSError:
            return False

    def probe(self) -> tuple[str, int]:
        """Whether the fleet has sent this probe, and how many it allows at a time."""
        fleet, following = self.registry.fleet, self.breaker.following
        orders = None if following is None else following.orders
        if fleet is None or orders is None:
            return "a", 1
        key = fleet.status().keys.get(KEY)
        if key is None:
            return "a", 1
        probers = fleet.workers if key.probers is None else max(len(key.probers), 1)
        places = 1 if orders.state is State.OPEN else max(int(orders.places), 1)
        return "f", probers * places

    def news(self) -> News:
        """What it knows."""
        fleet, metrics = self.registry.fleet, self.breaker.metrics()
        following = self.breaker.following
        alone = metrics.state is not State.CLOSED and (following is None or not following.orders)
        leads, why = False, ""
        key = None if fleet is None else fleet.status().keys.get(KEY)
        if fleet is not None and key is not None:
            leads = key.leader == fleet.name
            why = f"{key.state.value} for {key.since:.1f} s, limit {key.limit:.1f}: {key.reason}"
        return News(
            time.monotonic(),
            "" if fleet is None else fleet.name,
            metrics.state.value,
            alone,
            fleet is not None and fleet.is_connected,
            leads,
            self.good,
            self.wasted,
            self.refused,
            self.registry.faults,
            0 if fleet is None else fleet.failures,
            "" if fleet is None else fleet.last_failure,
            0 if fleet is None else fleet.garbage,
            metrics.in_flight,
            metrics.slow_threshold,
            1 if fleet is None else fleet.workers,
            why,
        )


def _started(make: type[Caller], setup: Setup, dead: Any, pipe: Connection) -> Caller:
    """A worker cannot start while there is a folder in place of its file: it is started again then."""
    deadline = time.monotonic() + _STARTS
    while True:
        try:
            return make(setup, dead, pipe)
        except ValueError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def work(
    setup: Setup, order: Any, dead: Any, pipe: Connection, make: type[Caller] = Caller
) -> None:
    """Make calls until the order says stop."""
    # Whoever stops the benchmark by the keyboard stops the parent, and that ends us.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if setup.namespace:
        _enter(setup.namespace)
    caller = _started(make, setup, dead, pipe)
    caller.own()
    children: list[int] = []
    try:
        _work(caller, order, pipe, children)
    except Exception:
        pipe.send(f"an exception reached a call: {traceback.format_exc()}")
    pipe.send(caller.news())


def _work(caller: Caller, order: Any, pipe: Connection, children: list[int]) -> None:
    next_call = next_news = time.monotonic()
    while order.value != STOP or children:
        if order.value == FORK:
            order.value = RUN
            children.append(_fork(caller))
        now = time.monotonic()
        if now >= next_news:
            pipe.send(caller.news())
            next_news = now + _EVERY
            _bury(children, pipe)
        if now < next_call:
            time.sleep(min(next_call, next_news) - now if next_news > now else 0.0)
            continue
        # After a pause, what was missed is not made up for.
        next_call = max(next_call, now - 0.1) + caller.random.expovariate(caller.setup.rate)
        if order.value != STOP:
            caller.call()


def _enter(namespace: str) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    with open(f"/run/netns/{namespace}", "rb") as file:
        if libc.setns(file.fileno(), _NEW_NETWORK):
            raise OSError(ctypes.get_errno(), "setns")


def _fork(caller: Caller) -> int:
    """Fork while the thread of the fleet is at work; the child is one more worker for a while."""
    child = os.fork()
    if child:
        return child
    code = 1
    # One that hangs says where, and is an exception that has reached a call.
    faulthandler.dump_traceback_later(_CHILD_HANGS, exit=True)
    try:
        end = time.monotonic() + _CHILD_LIVES
        while time.monotonic() < end:
            time.sleep(caller.random.expovariate(caller.setup.rate))
            caller.call()
        code = caller.end_child()
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def _bury(children: list[int], pipe: Connection) -> None:
    for child in [*children]:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            children.remove(child)
            if status:
                said = os.waitstatus_to_exitcode(status)
                pipe.send(f"a forked child ended with {said}")
