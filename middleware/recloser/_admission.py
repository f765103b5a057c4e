"""Admission: whether one call may pass. There are three answers, the same ones everywhere.

- a `Permit`: the call is admitted. Whoever asked makes the call and ends the permit.
- `Refused`: the call must not be made.
- `UNGUARDED`: the call is made as if there were no breaker. Nothing is counted, nothing is to end.

`Breaker.admit` gives the answer. Middlewares and adapters find the breaker of a request first; where
none guards it, their answer is `UNGUARDED` as well.
"""

from __future__ import annotations

from typing import Final, final

from recloser._errors import BreakerOpenError
from recloser._operations import OperableCircuit


@final
class Refused:
    """The breaker refused the call. One object stands for all refusals of its breaker.

    Attributes:
        breaker: The breaker that refused.
        at: When it refused last, in seconds of its clock.
        probe_at: When the next probe may pass, as of then, in the same seconds. In the past where
            probes are in flight.
    """

    __slots__ = ("at", "breaker", "probe_at")

    def __init__(self, breaker: OperableCircuit) -> None:
        self.breaker: OperableCircuit = breaker
        self.at: float = 0.0
        self.probe_at: float = 0.0

    def error(self) -> BreakerOpenError:
        """The refusal as an error, to be raised or shown."""
        return self.breaker.refusal()


@final
class Unguarded:
    """The answer for a call that no breaker guards. `UNGUARDED` is the only one."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "UNGUARDED"

    def __reduce__(self) -> str:
        # By name: a copy is the same object.
        return "UNGUARDED"


UNGUARDED: Final = Unguarded()
"""No breaker guards the call: it is exempt, the breaker is off, or only observes."""
