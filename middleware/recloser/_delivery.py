"""Delivery: the events of a circuit reach its listeners in order, one at a time, without a lock."""

from __future__ import annotations

import weakref
from dataclasses import replace

from recloser._circuit.bad_calls import told
from recloser._circuit.by_hand import SteeredCircuit
from recloser._listeners import Listeners
from recloser._locks import Lock, give_back, owns
from recloser._overrides import Override
from recloser._state import Mode


class _Delivery:
    """Stands for a thread, or greenlet, that delivers events."""

    __slots__ = ("__weakref__",)


class Delivering:
    """Delivers the events of a circuit. The base of `LockedCircuit`."""

    __slots__ = (
        "_circuit",
        "_delivering",
        "_listeners",
        "_lock",
        "_mode",
        "_override",
        "_usual",
    )

    _circuit: SteeredCircuit
    # Who delivers events now, as long as that object lives.
    _delivering: weakref.ref[_Delivery] | None
    _listeners: Listeners
    _lock: Lock
    _mode: Mode
    _override: Override | None
    # The mode and the share that hold when the override is over; None without one.
    _usual: tuple[Mode, float] | None

    def _deliver(self) -> None:
        """Deliver events in order, one at a time, without the lock.

        One thread delivers for all threads. Others that add events meanwhile do not wait. Who
        delivers is known by an object that only this frame holds: however the frame ends, by a
        signal handler that raises too, nobody is left who seems to deliver.
        """
        circuit, lock = self._circuit, self._lock
        me = _Delivery()
        mine = weakref.ref(me)
        held = owns(lock)
        try:
            while True:
                with lock:
                    by = self._delivering
                    if by is not None and by is not mine and by() is not None:
                        return
                    if not circuit.events:
                        self._delivering = None
                        return
                    self._delivering = mine
                    # One at a time: if a listener raises a BaseException, the other events are
                    # kept. Two steps, no function call: during a call, a signal handler could add
                    # an event.
                    transition = circuit.events[0]
                    circuit.events = circuit.events[1:]
                mode, override, usual = self._mode, self._override, self._usual
                if override is not None and usual is not None and transition.at >= override.until:
                    mode = usual[0]  # no call has noticed yet that the override is over
                bad_calls = told(circuit.bad_calls)
                transition = replace(transition, mode=mode, bad_calls=bad_calls)
                self._listeners.deliver(transition)
        except BaseException:
            if self._delivering is mine:
                self._delivering = None
            if not held:
                give_back(lock)
            raise
