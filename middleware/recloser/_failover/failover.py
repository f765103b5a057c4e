"""Failover: one call, several providers, each with its own breaker."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Iterator
from random import random as default_random
from typing import Generic, TypeVar

from recloser._failover.attempt import Attempt, attempts_of_call
from recloser._failover.provider import Provider, checked_providers
from recloser._failover.report import Delivery
from recloser._failover.selection import Memory
from recloser._failover.settings import Order, Settings, WhenAllOpen
from recloser._failover.streams import AsyncChunks, Chunks, open_async_chunks, open_chunks
from recloser._outcome import Outcome, classify_error, nothing_sent
from recloser._registry import Registry

T = TypeVar("T")
R = TypeVar("R")


class Failover(Generic[T]):
    """Sends each call to the first provider that can serve it.

        failover = Failover(registry, [Provider("eu", "https://eu.x"), Provider("us", "https://us.x")])
        failover.call(lambda attempt: fetch(attempt.target, attempt.timeout), repeatable=True)

    A provider whose breaker refuses is passed over without waiting. After a failure the next
    provider is tried only where that is safe: nothing was sent, or the call was declared
    `repeatable`. Once the first byte has reached the caller, no other provider is tried. Each
    provider is tried at most once per call, one after the other, never two at a time. A provider
    that recovers gets its calls back as its breaker widens the half-open window; calls that find no
    room in it go on to the next provider.

    A provider that hangs costs a repeatable call `patience` times what the breaker calls slow, not
    a client's whole time-out. `acall` and `astream` cut the attempt off there (on asyncio); a sync
    client must be given `attempt.timeout`. Until a breaker has learned what is slow, the limit is
    `Policy.slow_ceiling`, or an equal part of the time budget if that is less. A call that may not
    be repeated is cut off at the time budget only. It is not used as the first probe of an open
    provider while another provider can serve it.

    Safe to share between threads and tasks.

    Args:
        registry: Where the breakers of the providers' keys are.
        providers: At least one, each key once.
        order: `listed`: in the order given. `weighted`: in an order drawn anew for every call, by
            weight.
        max_attempts: Providers that a call is sent to, 1-1000; one that refuses does not count.
        time_budget: Seconds from the start of a call after which no attempt begins and the running
            one is given up, 0.001-86400. It ends with the first byte of a stream.
        patience: How many times its breaker's slow threshold a repeatable attempt may take while
            another provider could serve, 1-1000; never above `Policy.slow_ceiling`.
        probe_wait: Seconds without a call to an open provider after which even a call that may not
            be repeated can be its first probe, 0-86400.
        when_all_open: What to do when no provider admits the call. `refuse`: raise, with the
            earliest time to try again. `least_bad`: ask the provider that served a call most
            recently, and after it the others by the usual rules. These calls have no vote. A
            provider that asked for a pause, or was opened by hand, is not asked even then. Choose
            `least_bad` where a slow answer is better than none.
        classify: What an exception says of the provider. Only after `FAILURE` and `THROTTLED` can
            another provider help. The default reads HTTP statuses. `Retry-After` is read in any
            case.
        nothing_sent: Whether an exception proves that the request was never sent.
        on_delivery: Called with the report of each call when it is over, on the call's thread.
        random: Uniform in 0.0-1.0, for the weighted order.

    Raises:
        ValueError: No provider, a key twice, only weights of 0, or a value out of range.
        TypeError: A value of the wrong type.

    Attributes:
        providers: The providers, as listed.
    """

    def __init__(
        self,
        registry: Registry,
        providers: Iterable[Provider[T]],
        *,
        order: Order = "listed",
        max_attempts: int = 3,
        time_budget: float = 60.0,
        patience: float = 2.0,
        probe_wait: float = 60.0,
        when_all_open: WhenAllOpen = "refuse",
        classify: Callable[[BaseException], Outcome] = classify_error,
        nothing_sent: Callable[[BaseException], bool] = nothing_sent,
        on_delivery: Callable[[Delivery], object] | None = None,
        random: Callable[[], float] = default_random,
    ) -> None:
        self._settings = Settings(
            registry=registry,
            order=order,
            max_attempts=max_attempts,
            time_budget=time_budget,
            patience=patience,
            probe_wait=probe_wait,
            when_all_open=when_all_open,
            classify=classify,
            nothing_sent=nothing_sent,
            on_delivery=on_delivery,
            random=random,
        )
        self.providers: tuple[Provider[T], ...] = checked_providers(providers)
        if order == "weighted" and not any(each.weight for each in self.providers):
            raise ValueError("weight must be above 0 for at least one provider")
        self._memory = Memory()

    def call(
        self,
        send: Callable[[Attempt[T]], R],
        *,
        repeatable: bool = False,
        prefer: str | None = None,
    ) -> R:
        """Call the first provider that can serve, and return its answer.

        Args:
            send: Makes one attempt: sends to `attempt.target`, within `attempt.timeout` seconds,
                and raises if that fails. A bad HTTP status must be raised too
                (`response.raise_for_status()`).
            repeatable: Whether doing it twice is safe: sending again after a failure is allowed.
            prefer: Key of the provider to try first; None for none in particular.

        Raises:
            BreakerOpenError: Every provider refused; `retry_after` is the earliest of theirs.
            ValueError: `prefer` is no provider's key.
            TypeError: `send` is a coroutine function: that is for `acall`.
            Exception: What the last attempt raised.
        """
        for attempt in self.attempts(repeatable=repeatable, prefer=prefer):
            with attempt:
                answer = send(attempt)
                if inspect.iscoroutine(answer):
                    answer.close()
                    attempt.withdraw(TypeError("send is a coroutine function: use acall()"))
                return answer
        raise AssertionError("the last attempt either serves or raises")

    async def acall(
        self,
        send: Callable[[Attempt[T]], Awaitable[R]],
        *,
        repeatable: bool = False,
        prefer: str | None = None,
    ) -> R:
        """Await the first provider that can serve: `call` for coroutine functions.

        On asyncio an attempt that takes longer than `attempt.timeout` is cancelled.

        Raises:
            TimeoutError: The time budget was used up, or a call that may not be repeated was
                still unanswered then.
            Exception: As `call`.
        """
        for attempt in self.attempts(repeatable=repeatable, prefer=prefer):
            async with attempt:
                answer = send(attempt)
                if not inspect.isawaitable(answer):
                    attempt.withdraw(TypeError("send returned nothing to await: use call()"))
                return await answer
        raise AssertionError("the last attempt either serves or raises")

    def stream(
        self,
        send: Callable[[Attempt[T]], Iterable[R]],
        *,
        repeatable: bool = False,
        prefer: str | None = None,
    ) -> Chunks[R]:
        """Open a stream at the first provider whose first chunk arrives, and return it.

        Another provider may take over until the first chunk is there, never after: what fails
        then is raised by the iteration. Close what you do not read to the end.

        Args:
            send: Opens the stream: a generator function, or returns an iterable of chunks.
            repeatable: As for `call`.
            prefer: As for `call`.

        Raises:
            Exception: As `call`.
        """
        for attempt in self.attempts(repeatable=repeatable, prefer=prefer):
            with attempt:
                source = send(attempt)
                if not isinstance(source, Iterable):
                    attempt.withdraw(TypeError("send returned no iterable of chunks"))
                return open_chunks(attempt, source)
        raise AssertionError("the last attempt either serves or raises")

    async def astream(
        self,
        send: Callable[[Attempt[T]], AsyncIterable[R] | Awaitable[AsyncIterable[R]]],
        *,
        repeatable: bool = False,
        prefer: str | None = None,
    ) -> AsyncChunks[R]:
        """Await the first chunk of the first provider that sends one: `stream` for async ones.

        Args:
            send: Opens the stream: an async generator function, or a coroutine function that
                returns an async iterable, as the LLM SDKs do.
            repeatable: As for `call`.
            prefer: As for `call`.

        Raises:
            Exception: As `acall`.
        """
        for attempt in self.attempts(repeatable=repeatable, prefer=prefer):
            async with attempt:
                opened = send(attempt)
                source = await opened if inspect.isawaitable(opened) else opened
                if not isinstance(source, AsyncIterable):
                    attempt.withdraw(TypeError("send returned no async iterable of chunks"))
                return await open_async_chunks(attempt, source)
        raise AssertionError("the last attempt either serves or raises")

    def attempts(
        self, *, repeatable: bool = False, prefer: str | None = None
    ) -> Iterator[Attempt[T]]:
        """Go through the attempts of one call by hand; the other methods are short for this.

            for attempt in failover.attempts(repeatable=True):
                with attempt:
                    return fetch(attempt.target, timeout=attempt.timeout)

        The iterator ends when an attempt has served the call, or none is left.

        Raises:
            ValueError: `prefer` is no provider's key.
            BreakerOpenError: On the first step: every provider refused; `retry_after` is the
                earliest of theirs.
        """
        return attempts_of_call(
            self._settings, self._memory, self.providers, repeatable=repeatable, prefer=prefer
        )

    @property
    def registry(self) -> Registry:
        """Where the breakers of its providers are."""
        return self._settings.registry

    def __repr__(self) -> str:
        registry = self.registry
        states = (f"{each.key}: {registry[each.key].state.value}" for each in self.providers)
        return f"<{type(self).__name__} [{', '.join(states)}]>"
