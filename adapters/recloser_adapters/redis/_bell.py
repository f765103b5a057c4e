"""Bell: a subscription, and how to wait for what it brings."""

from __future__ import annotations

import select
import time
from typing import Any

from recloser_adapters.redis._bounded import LIMIT, abandon, ask, drop, set_deadline
from recloser_adapters.redis._servers import Servers

_FIRST_PAUSE = 1.0  # seconds between two attempts to subscribe; then twice as long each time
_LONGEST_PAUSE = 60.0
# Where the socket cannot be watched, so often is looked whether something has come.
_SLICE = 0.05


class Bell:
    """The subscription of one worker. Nothing here raises.

    Args:
        servers: Where to subscribe.
        channel: What to subscribe to.
        own: What this worker publishes: it does not hear itself.
    """

    def __init__(self, servers: Servers, channel: str, own: str) -> None:
        self._servers = servers
        self._channel = channel
        self._own = own.encode()
        self._connection: Any = None
        self._lost = False
        # Whether rings may have been lost, so that it counts as rung.
        self._missed = False
        self.hope()

    def hope(self) -> None:
        """Try again at once: the server is well again."""
        self._pause = _FIRST_PAUSE
        self._next = 0.0

    def open(self, until: float) -> None:
        """Subscribe if it is not done, by then."""
        if self._connection is not None or time.monotonic() < self._next:
            return
        connection: Any = None
        try:
            connection = self._servers.connected(until)
            # A subscription confirms itself: it is the answer.
            ask(connection, "SUBSCRIBE", self._channel)
        except Exception:
            if connection is not None:
                drop(connection)
            self._next = time.monotonic() + self._pause
            self._pause = min(2 * self._pause, _LONGEST_PAUSE)
        else:
            self._connection = connection
            self._missed, self._lost = self._lost, False
            self.hope()

    def wait(self, until: float, wake: int) -> bool:
        """Wait until it rings, `wake` can be read, or the time is over; return whether it rang."""
        if self._missed:
            self._missed = False
            return True
        while True:
            # First what was read together with an earlier ring.
            if self._heard():
                return True
            left = until - time.monotonic()
            if left <= 0:
                return False
            socket = self._descriptor()
            watched = [wake] if socket is None else [wake, socket]
            blind = socket is None and self._connection is not None
            if wake in _readable(watched, min(left, _SLICE) if blind else left):
                return self._heard()

    def _descriptor(self) -> int | None:
        try:
            number = self._connection.bounded.raw.fileno()
        except Exception:
            return None
        return number if isinstance(number, int) and number >= 0 else None

    def _heard(self) -> bool:
        """Read all that has come; return whether another worker rang."""
        rang = False
        connection = self._connection
        if connection is None:
            return False
        try:
            set_deadline(connection, time.monotonic() + LIMIT)
            while connection.can_read(0):
                kind, *_, payload = connection.read_response()
                rang = rang or (kind == b"message" and payload != self._own)
        except Exception:
            self.close()
        return rang

    def close(self) -> None:
        """Unsubscribe. What rings until it is open again is lost, and then it counts as rung."""
        connection, self._connection = self._connection, None
        if connection is not None:
            self._lost = True
            drop(connection)

    def after_fork(self, own: str) -> None:
        """Forget the subscription of the parent."""
        self._own = own.encode()
        connection, self._connection = self._connection, None
        self._lost = self._missed = False
        self.hope()
        if connection is not None:
            abandon(connection)


def _readable(descriptors: list[int], seconds: float) -> set[int]:
    """Those that can be read, after so many seconds at most. One that is closed is waited for in vain."""
    # Not select(): it cannot watch descriptors over 1023.
    if not hasattr(select, "poll"):
        return set(select.select(descriptors, [], [], seconds)[0])
    poll = select.poll()
    for each in descriptors:
        if each >= 0:
            poll.register(each, select.POLLIN)
    found = poll.poll(seconds * 1000 + 0.5)
    closed = [each for each, events in found if events & select.POLLNVAL]
    if closed:
        time.sleep(min(seconds, _SLICE))
    return {each for each, _ in found if each not in closed}
