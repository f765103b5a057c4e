"""The settings that all client adapters share: their types, documentation and checks.

A "fault" is an error in one of the user's functions. The registry counts it (`Registry.faults`);
the caller never gets it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Generic, Literal, TypedDict, TypeVar

from recloser import BreakerOpenError, Outcome, Registry
from recloser.hints import check_function, check_registry, meant, no_setting
from recloser_adapters._outbound.permit import CallReport
from recloser_adapters._outbound.verdicts import Preset, Verdict, check_verdict

RequestT = TypeVar("RequestT")
ResponseT = TypeVar("ResponseT")
WordT = TypeVar("WordT", bound=str)

RaiseOrResponse = Literal["auto", "raise", "response"]
"""The words that `on_refuse` accepts if the library allows us to make a response."""
Raise = Literal["auto", "raise"]
"""The words that it accepts elsewhere."""


class AnswerSettings(TypedDict, Generic[RequestT, ResponseT, WordT], total=False):
    """The settings that a failover transport also has. `CallSettings` explains them."""

    on_refuse: WordT | Callable[[RequestT, BreakerOpenError], ResponseT]
    classify: Callable[[ResponseT | BaseException], Outcome | None] | None
    sse_errors: bool
    verdict: Verdict | Preset | None


class CallSettings(AnswerSettings[RequestT, ResponseT, WordT], total=False):
    """The settings of a guarded client, as keyword arguments. Each of them is optional.

    Attributes:
        key: One key for all requests (such as a provider's name), or a callable that makes the key
            from a request: `by_model` (the default: by host, and by model where a known API of
            models is called), `by_host`, `by_route`, `by_credential`, or your own. If the callable
            returns None, the request is unguarded. If it raises, or returns an empty str or another
            type, that is a fault, and the request is keyed by host. Waits (429) are always kept by
            credential and model or route, see `scopes.py`.
        label_by: What explains the latency of a request: a callable that returns a label, a size or
            None, as for `Breaker.acquire`; None for nothing. By default that is known for calls to
            models: the route, whether the answer is a stream, the effort, and the bytes of the
            request. If the callable raises, that is a fault, and nothing is known.
        on_refuse: How a refused call is answered. `"raise"` raises the refusal as an error of the
            client library. `"response"` returns a 503; aiohttp does not allow it, because no
            response can be made there. `"auto"`, the default, raises, unless the request was sent by
            an SDK that would retry every error, but not such a response (openai, anthropic, groq,
            stripe ...). An SDK that would sleep for the response and retry it (cohere, supabase)
            always gets the error. A callable makes the response from the request and the refusal. If
            it returns None, the refusal is raised. If it raises, that is a fault, and the refusal is
            raised.
        classify: Overrules the outcome of a response (whose body has not been read yet) or of an
            error. It returns an `Outcome`, or None to keep the usual outcome. If it raises, or
            returns another type, that is a fault, and the usual outcome is kept.
        sse_errors: Whether an error event in a stream counts as the error that it names. By default
            only if a model is asked (a POST to a path of a known API), but in all streams for a
            failover transport.
        verdict: Overrules the outcome of an answer by the beginning of its body. It is called with
            the status, the headers and the decoded beginning, once: when the body is complete, is
            closed, or has 16 KiB. It returns an `Outcome`, or None to keep the usual one. If it
            raises, or returns another type, that is a fault. Or it is a name: `"llm"` finds the
            errors that providers of models report in a good answer, and `"graphql"` those of GraphQL
            servers. By default that is so for the paths of known APIs of models, and for `/graphql`.
            An error counts as its HTTP status would.
        cut_off: Whether a call ends when an answer is hopeless (`Permit.timeout`, which is learned).
            By default False. The time-out of the request is lowered to that until its headers have
            arrived, and never raised; one that has none gets it. The caller gets the time-out error
            of the library, and it is a failure. The request is not sent again because of it, but it
            may have had an effect.
        on_end: Called with a `CallReport` after the end of each admitted call, on the thread that
            ended it. An error that it raises is a fault.
    """

    key: str | Callable[[RequestT], str | None]
    label_by: Callable[[RequestT], str | float | None] | None
    cut_off: bool
    on_end: Callable[[CallReport], None] | None


def check_names(settings: Iterable[str], known: frozenset[str]) -> None:
    """Check that all settings exist.

    Raises:
        TypeError: A setting does not exist.
    """
    for name in settings:
        if name not in known:
            raise no_setting("", name, known)


def check_settings(
    registry: object, settings: Mapping[str, object], *, words: tuple[str, ...]
) -> None:
    """Check the registry and the settings that the user gave.

    Args:
        registry: The argument `registry`.
        settings: The other arguments, by name.
        words: The words that `on_refuse` accepts beside a callable.

    Raises:
        TypeError: A setting has the wrong type or does not exist.
        ValueError: The key is empty, or `on_refuse` is unknown.
    """
    if registry is not None:
        check_registry(registry, Registry)
    check_names(settings, CallSettings.__optional_keys__)
    if "key" in settings:
        key = settings["key"]
        if not isinstance(key, str):
            check_function("key", key, "a str or a callable")
        if key == "":
            raise ValueError("key must not be empty")
    on_refuse = settings.get("on_refuse", "auto")
    if callable(on_refuse):
        check_function("on_refuse", on_refuse)
    elif on_refuse not in words:
        allowed, hint = ", ".join(f'"{word}"' for word in words), meant(on_refuse, words)
        raise ValueError(f"on_refuse must be {allowed} or a callable, not {on_refuse!r}{hint}")
    cut_off = settings.get("cut_off", False)
    if not isinstance(cut_off, bool):
        raise TypeError(f"cut_off must be True or False, not {cut_off!r}")
    check_verdict(settings.get("verdict"))
    for name in ("classify", "label_by", "on_end"):
        hook = settings.get(name)
        if hook is not None:
            check_function(name, hook, "a callable")
