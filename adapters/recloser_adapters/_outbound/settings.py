"""The settings that all client adapters share: stated, documented and checked here.

A fault is counted by the registry (`Registry.faults`), and never reaches the caller.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Generic, Literal, TypedDict, TypeVar

from recloser import BreakerOpenError, Outcome, Registry
from recloser_adapters._outbound.permit import CallReport

RequestT = TypeVar("RequestT")
ResponseT = TypeVar("ResponseT")
WordT = TypeVar("WordT", bound=str)

RaiseOrResponse = Literal["raise", "response"]
"""The words for `on_refuse` where the library lets us make a response."""


class AnswerSettings(TypedDict, Generic[RequestT, ResponseT, WordT], total=False):
    """The part of `CallSettings` that a failover transport has, too: it explains them."""

    on_refuse: WordT | Callable[[RequestT, BreakerOpenError], ResponseT]
    classify: Callable[[ResponseT | BaseException], Outcome | None] | None
    sse_errors: bool


class CallSettings(AnswerSettings[RequestT, ResponseT, WordT], total=False):
    """The settings of a guarded client, as keyword arguments; each of them is optional.

    Attributes:
        key: One key for all requests (a provider's name), or what makes it from a request; by
            default `by_host`. A callable that returns None leaves the request unguarded. One that
            raises, or returns anything else than a str, is a fault; the request is then keyed by
            host.
        on_refuse: What a refused call gets. `"raise"`, the default, raises the refusal as an error
            of the client library. `"response"` answers a 503 that the OpenAI and Anthropic SDKs
            do not retry; with aiohttp, where no response can be made, it is not allowed. A callable
            makes the response from the request and the refusal. If it raises, that is a fault, and
            the refusal is raised.
        classify: Overrules the outcome of a response (its headers are there, its body is not) or of
            an error. None from it leaves the usual outcome. If it raises, or returns anything else
            than an `Outcome`, that is a fault, and the usual outcome stays.
        sse_errors: Whether an error event within an event stream is a failure. By default False,
            but True for a failover transport.
        on_end: Called with a `CallReport` after the end of each admitted call, on the thread that
            ended it. What it raises is a fault.
    """

    key: str | Callable[[RequestT], str | None]
    on_end: Callable[[CallReport], None] | None


def check_names(settings: Iterable[str], known: frozenset[str]) -> None:
    """Raise if a setting is none of those that there are.

    Raises:
        TypeError: It is none.
    """
    for name in settings:
        if name not in known:
            there_are = ", ".join(sorted(known))
            raise TypeError(f"unexpected keyword argument {name!r}: the settings are {there_are}")


def check_settings(
    registry: object, settings: Mapping[str, object], *, words: tuple[str, ...]
) -> None:
    """Raise if a setting cannot be.

    Args:
        registry: What was given as registry.
        settings: What was given beside it.
        words: What `on_refuse` may be other than a callable.

    Raises:
        TypeError: A setting of the wrong type, or one that does not exist.
        ValueError: An empty key, or an unknown `on_refuse`.
    """
    if registry is not None and not isinstance(registry, Registry):
        raise TypeError(f"registry must be a Registry, not {registry!r}")
    check_names(settings, CallSettings.__optional_keys__)
    if "key" in settings:
        key = settings["key"]
        if not isinstance(key, str) and not callable(key):
            raise TypeError(f"key must be a str or a callable, not {key!r}")
        if key == "":
            raise ValueError("key must not be empty")
    on_refuse = settings.get("on_refuse", "raise")
    if not callable(on_refuse) and on_refuse not in words:
        allowed = ", ".join(f'"{word}"' for word in words)
        raise ValueError(f"on_refuse must be {allowed} or a callable, not {on_refuse!r}")
    for name in ("classify", "on_end"):
        hook = settings.get(name)
        if hook is not None and not callable(hook):
            raise TypeError(f"{name} must be a callable, not {hook!r}")
