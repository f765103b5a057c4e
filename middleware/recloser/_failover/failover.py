"""Failover: one call, several providers, each with its own breaker."""

from __future__ import annotations

import inspect
import math
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable
from random import random as default_random
from typing import Generic, Literal, TypeVar, get_args

from recloser._failover.attempt import Attempt
from recloser._failover.attempts import Attempts, Rules
from recloser._failover.delivery import Delivery, Provider, check_range
from recloser._failover.streams import AsyncChunks, Chunks
from recloser._outcome import Outcome, classify_error, nothing_sent
from recloser._registry import Registry

T = TypeVar("T")
R = TypeVar("R")

Order = Literal["listed", "weighted"]
WhenAllOpen = Literal["refuse", "least_bad"]


class Failover(Generic[T]):
    """Sends each call to the first provider that can serve it.

        failover = Failover(registry, [Provider("eu", "https://eu.x"), Provider("us", "https://us.x")])
        failover.call(lambda attempt: fetch(attempt.target, attempt.timeout), repeatable=True)

    A provider whose breaker refuses is passed over without waiting. After a failure the next one
    is tried only where that is safe: nothing was sent, or the call was declared `repeatable`; and
    never once the first byte reached the caller. Each provider is tried at most once per call, one
    after the other: nothing is hedged. A provider that recovers gets its calls back as its breaker
    widens the half-open window; those that find no room in it go on to the next.

    A provider that hangs costs a repeatable call `patience` times what the breaker calls slow, not
    a client's whole time-out: `acall` and `astream` cut the attempt off there (on asyncio);
    a sync client must be given `attempt.timeout`. Until a breaker has learned what is slow, the
    limit is `Policy.slow_ceiling`, or an equal part of the time budget if that is less. A call that
    may not be repeated is not cut short, and does not serve as the first probe of an open
    provider while another one can take it.

    Safe to share between threads and tasks.

    Args:
        registry: Where the breakers of the providers' keys are.
        providers: At least one, each key once.
        order: `listed`: the first that can. `weighted`: drawn anew for every call, by weight.
        max_attempts: Providers that a call is sent to, >= 1; one that refuses does not count.
        time_budget: Seconds from a call's start after which no attempt begins and the running one
            is given up, 0.001-86400. It ends with the first byte of a stream.
        patience: How many times its breaker's slow threshold a repeatable attempt may take while
            another provider could serve, 1-1000; never above `Policy.slow_ceiling`.
        probe_wait: Seconds without a call to an open provider after which even a call that may not
            be repeated is its first probe, 0-86400.
        when_all_open: When nobody else admits the call: `refuse` with the earliest time to try again,
            or go to the `least_bad`, whoever gave the latest good answer, and by the usual rules
            to the next. These calls have no vote. A provider that asked for a pause, or was
            opened by hand, is left alone even so. Choose it where a slow answer beats none.
        classify: What an exception says of the provider. Only `FAILURE` and `THROTTLED` are worth
            another provider. The default reads HTTP statuses, and `Retry-After` with them.
        nothing_sent: Whether an exception proves that the request was never sent.
        on_delivery: Told how each call went, on the thread of the call, after it.
        random: Uniform in 0.0-1.0, for the weighted order.

    Raises:
        ValueError: No provider, a key twice, only weights of 0, or a value out of range.
        TypeError: A value of the wrong type.
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
        if not isinstance(registry, Registry):
            raise TypeError(f"registry must be a Registry, not {type(registry).__name__}")
        _check_choice("order", order, get_args(Order))
        _check_choice("when_all_open", when_all_open, get_args(WhenAllOpen))
        if isinstance(max_attempts, bool) or not isinstance(max_attempts, int):
            raise TypeError(f"max_attempts must be an int, not {type(max_attempts).__name__}")
        check_range("max_attempts", max_attempts, 1, 1000)
        check_range("time_budget", time_budget, 0.001, 86400.0)
        check_range("patience", patience, 1.0, 1000.0)
        check_range("probe_wait", probe_wait, 0.0, 86400.0)
        _check_hooks(classify=classify, nothing_sent=nothing_sent, random=random)
        if on_delivery is not None:
            _check_hooks(on_delivery=on_delivery)
        self.providers: tuple[Provider[T], ...] = _checked(providers)
        if order == "weighted" and not any(each.weight for each in self.providers):
            raise ValueError("weight must be above 0 for at least one provider")
        self._weighted = order == "weighted"
        self._random = random
        self._rules = Rules(
            registry=registry,
            clock=registry.clock,
            max_attempts=max_attempts,
            time_budget=time_budget,
            patience=patience,
            probe_wait=probe_wait,
            least_bad=when_all_open == "least_bad",
            classify=classify,
            nothing_sent=nothing_sent,
            on_delivery=on_delivery,
            admitted_at={},
            served_at={},
        )

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
                return Chunks(attempt, source)
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
                return await AsyncChunks(attempt, source).open()
        raise AssertionError("the last attempt either serves or raises")

    def attempts(self, *, repeatable: bool = False, prefer: str | None = None) -> Attempts[T]:
        """Go through the attempts of one call by hand; the other methods are short for this.

            for attempt in failover.attempts(repeatable=True):
                with attempt:
                    return fetch(attempt.target, timeout=attempt.timeout)

        Raises:
            ValueError: `prefer` is no provider's key.
        """
        return Attempts(self._rules, self._ordered(prefer), repeatable=repeatable)

    @property
    def registry(self) -> Registry:
        """Where the breakers of its providers are."""
        return self._rules.registry

    def _ordered(self, prefer: str | None) -> list[Provider[T]]:
        providers = list(self.providers)
        if self._weighted:
            providers.sort(key=self._draw, reverse=True)
        if prefer is not None:
            if prefer not in (keys := [each.key for each in providers]):
                raise ValueError(f"prefer must be one of {sorted(keys)!r}, not {prefer!r}")
            providers.insert(0, providers.pop(keys.index(prefer)))
        return providers

    def _draw(self, provider: Provider[T]) -> float:
        # Efraimidis and Spirakis 2006: sorted by log(u) / w, each place is drawn by weight from
        # those that are left.
        if not provider.weight:
            return -math.inf
        return math.log(1.0 - self._random()) / provider.weight

    def __repr__(self) -> str:
        registry = self._rules.registry
        states = (f"{each.key}: {registry[each.key].state.value}" for each in self.providers)
        return f"<{type(self).__name__} [{', '.join(states)}]>"


def _checked(providers: Iterable[Provider[T]]) -> tuple[Provider[T], ...]:
    checked = tuple(providers)
    if not checked:
        raise ValueError("providers must name at least one Provider")
    seen: set[str] = set()
    for each in checked:
        if not isinstance(each, Provider):
            raise TypeError(f"providers must be of Provider, not {type(each).__name__}")
        if each.key in seen:
            raise ValueError(f"providers must have each key once, not {each.key!r} twice")
        seen.add(each.key)
    return checked


def _check_hooks(**hooks: object) -> None:
    for name, hook in hooks.items():
        if not callable(hook):
            raise TypeError(f"{name} must be a callable, not {type(hook).__name__}")


def _check_choice(name: str, value: object, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{name} must be one of {allowed!r}, not {value!r}")
