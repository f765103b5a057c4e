"""Admission: whether one call may pass. There are three answers, the same ones everywhere.

- a `Permit`: the call is admitted. Whoever asked makes the call and ends the permit.
- `Refused`: the call must not be made.
- `UNGUARDED`: the call is made as if there were no breaker. Nothing is counted, nothing is to end.

`Breaker.admit` gives the answer. Middlewares and adapters find the breaker of a request first; where
none guards it, their answer is `UNGUARDED` as well.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, final

from recloser._errors import BreakerOpenError
from recloser._operations import OperableCircuit
from recloser._outcome import Outcome

if TYPE_CHECKING:
    from recloser._permit import Permit


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


class Unguarded:
    """The answer for a call that no breaker guards. `UNGUARDED` is the only one.

    `Injected` is of this class, too, so that who does not know it makes the call.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return "UNGUARDED"

    def __reduce__(self) -> str:
        # By name: a copy is the same object.
        return "UNGUARDED"


UNGUARDED: Final = Unguarded()
"""No breaker guards the call: it is exempt, the breaker is off, or only observes."""


@final
class Injected(Unguarded):
    """The answer for a call with a fault that is injected on purpose; see `_chaos.py`.

    Only who asks for it gets it: `Breaker.admit(kind, injects=True)`.

    Args:
        permit: The permit of the call.
        seconds: How long to wait before anything else happens.
        error: What is raised then, instead of the call; None if the call is made.
        sleep: Waits, in a thread.
        moves: Is called in place of a wait on asyncio, for a clock of a test; None to wait.

    Attributes:
        permit: The permit of the call.
    """

    __slots__ = ("_error", "_moves", "_seconds", "_sleep", "permit")

    def __init__(
        self,
        permit: Permit,
        seconds: float,
        error: Exception | None,
        sleep: Callable[[float], object],
        moves: Callable[[float], object] | None,
    ) -> None:
        self.permit: Any = permit
        self._seconds = seconds
        self._error = error
        self._sleep = sleep
        self._moves = moves

    def strike(self, wire: type[BaseException] = Exception, limit: float = 86400.0) -> Any:
        """Let the fault happen, in a thread.

        Args:
            wire: The class of errors that the caller of a client expects. The error is of it, too.
            limit: Seconds after which an answer is hopeless, where that is cut off.

        Returns:
            The permit, of a call that is slow: now it is made.

        Raises:
            ChaosError: The call failed or hung on purpose. Its permit has ended.
        """
        try:
            if self._seconds:
                self._sleep(min(self._seconds, limit))
        except BaseException as error:
            self.permit.end_by_error(error)
            raise
        return self._happened(wire)

    async def strike_async(
        self, wire: type[BaseException] = Exception, limit: float = 86400.0
    ) -> Any:
        """`strike` on asyncio."""
        import asyncio

        try:
            if self._seconds:
                seconds = min(self._seconds, limit)
                if self._moves is not None:
                    self._moves(seconds)
                    seconds = 0.0
                await asyncio.sleep(seconds)
        except BaseException as error:
            self.permit.end_by_error(error)
            raise
        return self._happened(wire)

    def _happened(self, wire: type[BaseException]) -> Any:
        if self._error is None:
            return self.permit
        # Not more than the class: what it is made of differs from library to library.
        kind = type(self._error)
        error = self._error
        if wire is not Exception:
            error = type(kind.__name__, (kind, wire), {})(str(error))
        self.permit.end(Outcome.FAILURE, error=error)
        raise error

    def __repr__(self) -> str:
        return f"<Injected {self._error or f'slow by {self._seconds:g} s'}>"

    def __reduce__(self) -> str:
        return "UNGUARDED"
