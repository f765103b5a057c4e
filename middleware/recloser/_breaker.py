"""Breaker: gives calls their permits, one by one or around a block or a function."""

from __future__ import annotations

import sys
from collections.abc import Callable
from math import inf
from types import CoroutineType, TracebackType
from typing import Any, ParamSpec, TypeVar, cast, final

from recloser._admission import Injected, Refused, Unguarded
from recloser._admitting_circuit import AdmittingCircuit
from recloser._decorator import IS_LAZY, awaited, guarded, labelled, struck
from recloser._permit import (
    AnyPermit,
    LabelledPermit,
    LoosePermit,
    Permit,
    voteless,
)
from recloser._state import Mode, State
from recloser._with import BlockPermit, block_of, give_up, innermost, innermost_of
from recloser.hints import check_function, knows_names

P = ParamSpec("P")
T = TypeVar("T")

# As plain globals: to look up a member of an enum takes 60 ns on Python 3.11.
_ENFORCE, _DISABLED = Mode.ENFORCE, Mode.DISABLED
_OPEN = State.OPEN
_frame = sys._getframe
# Python 3.11 does not specialize a method call on an imported name: 110 ns for each block.
_get_innermost, _set_innermost = innermost.get, innermost.set


@final
class Breaker(AdmittingCircuit):
    """The breaker of one key: guards calls, as a block, a decorator, or in two steps.

    `with breaker:`, `async with breaker:`, `@breaker` on functions, coroutine functions,
    generators and async generators, `breaker.call(f)`, or `permit = breaker.acquire()`. It never
    waits, and holds its lock only while it decides, never over the user's call.

    Args:
        key: What it guards.
        policy: When it opens; the default needs no tuning.
        clock: Monotonic seconds.
        random: Uniform in 0.0-1.0, for jitter.
        mode: Whether it refuses, only reports, or does nothing.

    Raises:
        TypeError: The key is no str, or the policy no Policy.

    Attributes:
        clock: Monotonic seconds.
    """

    __slots__ = ()

    # Admission

    def _permit_of(
        self, admission: AnyPermit | Refused | Unguarded, kind: type[AnyPermit]
    ) -> AnyPermit:
        """The permit in an admission, one without effect where nothing is guarded.

        Raises:
            BreakerOpenError: The call is refused.
        """
        if isinstance(admission, Refused):
            raise admission.error()
        if isinstance(admission, Injected):
            return cast("AnyPermit", admission.permit)  # who makes the call knows of no faults
        return voteless(self, kind) if isinstance(admission, Unguarded) else admission

    def acquire(self, label: str | None = None, size: float | None = None) -> Permit:
        """Ask for admission of one call.

        What is known of the call explains a part of its latency: how long calls of each label or
        size take is learned, and only what is left is evidence. Sizes within a factor of two are
        alike, and labels and sizes beyond 64 are.

        Args:
            label: A name for calls that take about as long, such as "export"; None for none.
            size: How much work it is, in any unit, >= 0: bytes, tokens of a prompt; None if it is
                unknown. What is known at the end only is set there: `permit.size = tokens`.

        Raises:
            BreakerOpenError: The call is refused; nothing was sent.
        """
        if label is not None or size is not None:
            return self._permit_of(self.admit_labelled(label, size), LabelledPermit)
        admission = self.admit(LoosePermit)
        if type(admission) is LoosePermit:
            return admission
        return self._permit_of(admission, LoosePermit)

    def try_acquire(self, label: str | None = None, size: float | None = None) -> Permit | None:
        """Like `acquire()`, but return None if the call is refused."""
        if label is not None or size is not None:
            answer = self.admit_labelled(label, size)
            refused = isinstance(answer, Refused)
            return None if refused else self._permit_of(answer, LabelledPermit)
        admission = self.admit(LoosePermit)
        return None if isinstance(admission, Refused) else self._permit_of(admission, LoosePermit)

    def admit_labelled(
        self, label: str | None, size: float | None
    ) -> LabelledPermit | Refused | Unguarded:
        """`admit` for a call of which something is known; the arguments are those of `acquire`."""
        admission = self.admit(LabelledPermit)
        if isinstance(admission, LabelledPermit):
            self.note(admission, label, size, begins=True)
        return admission

    def labelled_by(
        self, known: Callable[..., str | float | None]
    ) -> Callable[[Callable[P, T]], Callable[P, T]]:
        """Guard a function as `@breaker` does; what is known of each call explains its latency.

            @breaker.labelled_by(lambda prompt: len(prompt))
            async def ask(prompt: str) -> str: ...

        Args:
            known: Called with the arguments of each call before it. It returns a label or a size as
                for `acquire`, or None if nothing is known. If it raises, nothing is.

        Returns:
            A decorator for plain, coroutine and generator functions.
        """
        check_function("known", known, "a function of the arguments")

        def decorate(function: Callable[P, T]) -> Callable[P, T]:
            return labelled(self.acquire, self.fault, known, function)

        return decorate

    # Whole calls

    def call(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a function under guard; for a coroutine function the result is to be awaited.

        Raises:
            BreakerOpenError: The call is refused.
        """
        code = getattr(function, "__code__", None)
        is_class = isinstance(function, type)
        if not is_class and (code is None or code.co_flags & IS_LAZY):
            return self(function)(*args, **kwargs)
        # The wrapper that guarded() makes, written out: to make it costs each call 300 ns.
        permit = self.admit_strict(Permit)
        # All in the try block: a signal handler may raise anywhere.
        try:
            if type(permit) is not Permit:
                permit = struck(self._permit_of, permit)
            result = function(*args, **kwargs)
            if type(result) is CoroutineType:
                return cast("T", awaited(permit, cast("Any", result)))
            permit.success()
        except BaseException as error:
            if isinstance(permit, Permit):
                try:
                    permit.end_by_error(error)
                except BaseException:
                    permit.cancel()  # a signal handler raised
                    raise
            raise
        return result

    def __call__(self, function: Callable[P, T]) -> Callable[P, T]:
        """Guard a function, coroutine function, generator or async generator function."""
        return guarded(self.admit_strict, self._permit_of, self.acquire, function)

    @knows_names
    def with_timeout(
        self, cap: float = inf, *, argument: str | None = None
    ) -> Callable[[Callable[P, T]], Callable[P, T]]:
        """Guard a function as `@breaker` does, and end its calls when an answer is hopeless.

        A call may take `Permit.timeout` seconds, which is learned, and `cap` at most. A coroutine
        that takes longer is cancelled. A plain function cannot be interrupted, so it is handed the
        time, to pass on to a client:

            @breaker.with_timeout(cap=10.0)
            async def ask() -> str: ...

            @breaker.with_timeout(argument="timeout")
            def get(url: str, timeout: float | None = None) -> bytes: ...

        A time-out that the caller or the default of the parameter gives is lowered, never raised.
        The call is made once: what was cut off may have had an effect. It counts as a failure.

        Args:
            cap: Seconds that no call may take longer than, > 0; infinite for none. It holds in
                every mode of the breaker, the learned time only in the mode enforce.
            argument: The parameter of a plain function that takes a time-out in seconds.

        Returns:
            A decorator. What it makes raises `HopelessError`, a `TimeoutError`, where it cancels a
            coroutine. That needs asyncio: under trio it raises `RuntimeError`, and calls nothing.

        Raises:
            TypeError: An argument is of the wrong type. By the decorator: the function is a
                generator, or plain and `argument` is missing or is none of its parameters, or
                async and `argument` is given.
            ValueError: `cap` is not above 0.
        """
        # Imported here: most programs do not use it.
        from recloser._with_timeout import check_cap, limited

        check_cap(cap, argument)

        def decorate(function: Callable[P, T]) -> Callable[P, T]:
            return limited(self.acquire, function, cap, argument)

        return decorate

    def __enter__(self) -> Permit:
        permit = self.admit_strict(BlockPermit)
        try:
            if type(permit) is not BlockPermit:
                permit = self._permit_of(permit, BlockPermit)
            # It may have ended; `__exit__` drops it then.
            permit.around = _get_innermost()
            permit.frame = _frame(1)
            _set_innermost(permit)
        except BaseException:
            # A signal handler raised: the block is not entered.
            if type(permit) is BlockPermit:
                permit.frame = None
                permit.cancel()
            raise
        return permit

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        permit = None
        try:
            found = _get_innermost()
            frame = _frame(1)
            if found is None or found.frame is not frame or found.breaker is not self:
                found = block_of(self, self._calls.all(), frame)
                if found is None:
                    return
            permit = found
            permit.frame = None
            around = permit.around
            if around is not None and around.frame is None:
                permit.around = innermost_of(around)
            if error is None:
                permit.success()
            else:
                permit.end_by_error(error)
        except BaseException:
            # A signal handler raised.
            if permit is None:
                permit = block_of(self, self._calls.all(), _frame(1))
            if permit is not None:
                permit.frame = None
                permit.cancel()
            raise

    async def __aenter__(self) -> Permit:
        try:
            permit: Any = self.__enter__()
            permit.frame = _frame(1)
        except BaseException:
            # A signal handler raised: the block is not entered.
            give_up(_get_innermost(), _frame(0))
            raise
        return permit  # type: ignore[no-any-return]  # it is a BlockPermit

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        permit = _get_innermost()
        try:
            frame = _frame(1)
            if permit is None or permit.frame is not frame:
                permit = block_of(self, self._calls.all(), frame)
            if permit is not None and permit.frame is frame:
                permit.frame = _frame(0)  # from where __exit__ is called
            self.__exit__(kind, error, traceback)
        except BaseException:
            give_up(permit, _frame(0))  # a signal handler raised
            raise
