"""The time for which a handler waits for its client. It is no part of the latency of the call."""

from __future__ import annotations

from math import inf

from recloser._circuit.in_flight import WAITING
from recloser._http.request_marks import RequestPermit

# Waits that are shorter than this, in seconds, are not taken off the call yet: that needs a decision
# of the circuit.
_MOMENT = 0.001


class ClientPermit(RequestPermit):
    """The permit of a request whose client may be slow to send it.

    Attributes:
        waited: Seconds of waiting for the client that were not taken off the call yet; not set
            before the first wait.
        waits_since: When the present wait for the client began, in seconds.
    """

    __slots__ = ("waited", "waits_since")

    waited: float
    waits_since: float

    def wait(self) -> None:
        """The handler now waits for its client, until `go_on()`; the call is not overdue meanwhile."""
        if self.answered != inf:
            return  # another task of the handler waits, or the response has begun
        try:
            self.waits_since = self.breaker.clock()
            self.answered = WAITING
        except Exception as error:
            self.breaker.fault("clock", error)

    def go_on(self) -> None:
        """The handler works again."""
        if self.answered != WAITING:
            return
        self.answered = inf
        try:
            now = self.breaker.clock()
            self.waited = getattr(self, "waited", 0.0) + now - self.waits_since
            if self.waited > _MOMENT:
                self.breaker.delay(self, self.waited, now)
                self.waited = 0.0
        except Exception as error:
            self.breaker.fault("clock", error)
