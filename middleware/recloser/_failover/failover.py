"""Failover: one call, several providers, each with its own breaker."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Iterator
from random import random as default_random
from typing import Generic, TypeVar, Unpack

from recloser._classify_error import classify_error
from recloser._failover.attempt import Attempt
from recloser._failover.attempts import attempts_of_call
from recloser._failover.call import CallOptions, call_of
from recloser._failover.hedge_budget import HedgeBudget, Hedging
from recloser._failover.memory import Memory
from recloser._failover.provider import Provider, checked_providers
from recloser._failover.report import AttemptWatch, Delivery
from recloser._failover.settings import Order, Settings, WhenAllOpen
from recloser._failover.streams import AsyncChunks, Chunks, open_async_chunks, open_chunks
from recloser._outcome import Outcome, nothing_sent
from recloser._registry import Registry
from recloser.hints import knows_names

T = TypeVar("T")
R = TypeVar("R")


class Failover(Generic[T]):
    """Sends each call to the first provider that can serve it.

        failover = Failover(registry, [Provider("eu", "https://eu.x"), Provider("us", "https://us.x")])
        failover.call(lambda attempt: fetch(attempt.target, attempt.timeout), repeatable=True)

    A provider whose breaker refuses is skipped without waiting. One that asked for a pause (HTTP
    429) is tried last until the pause is over. After a failure, the next provider
    is tried only if that is safe: nothing was sent, or the call was declared `repeatable`. Once the
    first byte has reached the caller, no other provider is tried. Each provider is tried at most
    once per call, one after the other, and never two at a time without `hedge`. A provider that recovers gets its calls
    back as its breaker widens the half-open window. A call that finds no room in the window goes to
    the next provider.

    A repeatable call that another healthy provider can serve is given up when its answer is
    hopeless, so a provider that hangs does not cost a client's whole time-out. Slowness is no reason:
    the answer would be paid twice. See `_failover/cut_offs.py` for the rule; in short, nothing has
    come, hardly any call of this kind takes so long (`Permit.timeout`, learned), and either the
    provider has answered no other call meanwhile, or `patience` times as long has passed. Until that
    is learned, nothing is given up before the time-out of your client. `acall` and `astream` cancel
    the attempt (on asyncio); to a sync client, pass `attempt.timeout`. A call that may not be
    repeated is cancelled only at the end of the time budget, if you set one. It is not used as the
    first probe of an open provider while another provider can serve it.

    It is safe to share between threads and tasks.

    Args:
        registry: The registry with the breakers of the providers' keys.
        providers: At least one, each key once.
        order: `listed`: in the order given. `weighted`: in a random order by weight, drawn again
            for every call.
        max_attempts: How many providers a call is sent to at most, 1-1000. A provider that refuses
            does not count.
        time_budget: Seconds from the start of a call, 0.001-86400. After them no attempt begins,
            and the running one is given up. The budget no longer applies after the first byte of a
            stream. None, the default, for none: your client's own time-outs hold.
        patience: After how many times as long as hardly any call takes an attempt is given up for
            another provider, if nothing else shows that this one hangs, 1-1000. It is never above
            `Policy.slow_ceiling` if you set that below its default.
        probe_wait: Seconds without a call to an open provider after which even a call that may not
            be repeated can be its first probe, 0-86400.
        when_all_open: What to do when no provider admits the call. `refuse`: raise, with the
            earliest time to try again. `least_bad`: try the provider that served a call most
            recently, and then the others by the usual rules. These calls have no vote. A provider
            that asked for a pause, was opened by hand, or has as many calls as it can take is not
            tried even then. Choose `least_bad` if a slow answer is better than none.
        classify: Returns the outcome of a call from the exception that it raised. Another provider
            is tried only after `FAILURE` and `THROTTLED`. The default reads HTTP statuses.
            `Retry-After` is read in any case.
        nothing_sent: Returns whether an exception proves that the request was never sent.
        on_delivery: Called with the report of each call when it is over, on the call's thread.
        on_attempt: Called with each attempt when it begins, on the call's thread. It may return an
            `AttemptWatch`, which is told how the attempt ended.
        random: Returns uniform numbers in 0.0-1.0, for the weighted order.
        hedge: The share of calls that may be sent twice, 0.0-0.05; 0.0, the default, for none. A
            `repeatable` call of `acall` that takes longer than the slow threshold of its provider is
            sent a second time, to the next healthy provider, or to the same one if there is only one.
            The first good answer is returned, and the other attempt is cancelled. Other calls are
            never sent twice at a time: what runs in a thread cannot be cancelled, and of a stream
            the first chunk is no proof that the rest is fast. It needs asyncio.

    Raises:
        ValueError: No provider, a key twice, only weights of 0, or a value out of range.
        TypeError: A value of the wrong type.

    Attributes:
        providers: The providers, as listed.
    """

    @knows_names
    def __init__(
        self,
        registry: Registry,
        providers: Iterable[Provider[T]],
        *,
        order: Order = "listed",
        max_attempts: int = 3,
        time_budget: float | None = None,
        patience: float = 4.0,
        probe_wait: float = 60.0,
        when_all_open: WhenAllOpen = "refuse",
        classify: Callable[[BaseException], Outcome] = classify_error,
        nothing_sent: Callable[[BaseException], bool] = nothing_sent,
        on_delivery: Callable[[Delivery], object] | None = None,
        on_attempt: Callable[[Attempt[T]], AttemptWatch | None] | None = None,
        random: Callable[[], float] = default_random,
        hedge: float = 0.0,
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
            on_attempt=on_attempt,
            random=random,
            hedge=hedge,
        )
        self.providers: tuple[Provider[T], ...] = checked_providers(providers)
        if order == "weighted" and not any(each.weight for each in self.providers):
            raise ValueError("weight must be above 0 for at least one provider")
        self._keys = tuple(each.key for each in self.providers)
        self._memory = Memory()
        self._hedges = HedgeBudget(hedge) if hedge else None

    def call(
        self,
        send: Callable[[Attempt[T]], R],
        **options: Unpack[CallOptions],
    ) -> R:
        """Call the first provider that can serve, and return its answer.

        Args:
            send: Makes one attempt: sends to `attempt.target`, within `attempt.timeout` seconds,
                and raises if that fails. It must also raise for a bad HTTP status
                (`response.raise_for_status()`).
            **options: `repeatable`, whether it is safe to make the call twice, so that it may be
                sent again after a failure, and what else is known of the call: see `Call`.

        Raises:
            BreakerOpenError: Every provider refused. `retry_after` is the shortest of all.
            ValueError: `prefer` or `only` is not the key of a provider.
            TypeError: `send` is a coroutine function; use `acall` for it.
            Exception: What the last attempt raised.
        """
        for attempt in self.attempts(**options):
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
        **options: Unpack[CallOptions],
    ) -> R:
        """Await the first provider that can serve: `call` for coroutine functions.

        On asyncio, an attempt that takes longer than `attempt.timeout` is cancelled.

        Raises:
            TimeoutError: The last attempt had no answer within its time limit, which is usually
                the end of the time budget.
            Exception: As for `call`.
        """
        for attempt in self.attempts(**options):
            async with attempt:
                answer = send(attempt)
                if not inspect.isawaitable(answer):
                    attempt.withdraw(TypeError("send must return an awaitable, or use call()"))
                if self._hedges is None or not options.get("repeatable") or not attempt.is_timed:
                    return await answer
                # Imported here, because it needs asyncio.
                from recloser._failover.hedging import Hedge

                return await Hedge(attempt, send, self._hedges).first_of(answer)
        raise AssertionError("the last attempt either serves or raises")

    def stream(
        self,
        send: Callable[[Attempt[T]], Iterable[R]],
        **options: Unpack[CallOptions],
    ) -> Chunks[R]:
        """Open a stream at the first provider whose first chunk arrives, and return it.

        Another provider can take over until the first chunk has arrived. After that, the iteration
        raises any failure. Close a stream that you do not read to its end.

        Args:
            send: Opens the stream: a generator function, or a function that returns an iterable of
                chunks.
            **options: As for `call`.

        Raises:
            Exception: As for `call`.
        """
        for attempt in self.attempts(**options):
            with attempt:
                source = send(attempt)
                if not isinstance(source, Iterable):
                    attempt.withdraw(TypeError("send must return an iterable of chunks"))
                return open_chunks(attempt, source)
        raise AssertionError("the last attempt either serves or raises")

    async def astream(
        self,
        send: Callable[[Attempt[T]], AsyncIterable[R] | Awaitable[AsyncIterable[R]]],
        **options: Unpack[CallOptions],
    ) -> AsyncChunks[R]:
        """Open an async stream at the first provider whose first chunk arrives, and return it.

        It is `stream` for async streams.

        Args:
            send: Opens the stream: an async generator function, or a coroutine function that
                returns an async iterable, as the LLM SDKs do.
            **options: As for `call`.

        Raises:
            Exception: As for `acall`.
        """
        for attempt in self.attempts(**options):
            async with attempt:
                opened = send(attempt)
                source = await opened if inspect.isawaitable(opened) else opened
                if not isinstance(source, AsyncIterable):
                    attempt.withdraw(TypeError("send must return an async iterable of chunks"))
                return await open_async_chunks(attempt, source)
        raise AssertionError("the last attempt either serves or raises")

    def attempts(self, **options: Unpack[CallOptions]) -> Iterator[Attempt[T]]:
        """Iterate over the attempts of one call; the other methods are short forms of this.

            for attempt in failover.attempts(repeatable=True):
                with attempt:
                    return fetch(attempt.target, timeout=attempt.timeout)

        The iterator ends when an attempt has served the call, or none is left.

        Args:
            **options: As for `call`.

        Raises:
            ValueError: `prefer` or `only` is not the key of a provider.
            BreakerOpenError: On the first step, if every provider refused. `retry_after` is the
                shortest of all.
        """
        call = call_of(options, self._keys)
        return attempts_of_call(self._settings, self._memory, self.providers, call)

    @property
    def hedging(self) -> Hedging:
        """How many calls were sent twice so far, and how many may be."""
        return Hedging() if self._hedges is None else self._hedges.figures()

    def explain(self) -> str:
        """Say in one sentence what each provider does now, and what hedging does."""
        registry = self.registry
        states = (f"{each.key}: {registry[each.key].state.value}" for each in self.providers)
        return f"{', '.join(states)}; {self.hedging}"

    @property
    def registry(self) -> Registry:
        """The registry with the breakers of its providers."""
        return self._settings.registry

    def __repr__(self) -> str:
        registry = self.registry
        states = (f"{each.key}: {registry[each.key].state.value}" for each in self.providers)
        return f"<{type(self).__name__} [{', '.join(states)}]>"
