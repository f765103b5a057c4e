"""Admission of the calls of one channel: their keys, and what explains their latency."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypedDict, cast

from recloser import LONG_POLL, LoosePermit, Registry
from recloser.hints import check_registry
from recloser_adapters._outbound.settings import check_names

# Names of methods whose streams are silent until something happens.
_SUBSCRIBE = ("Watch", "Subscribe", "Listen", "Monitor", "Tail")


@dataclass(frozen=True, slots=True)
class CallInfo:
    """What is known of a call before it is sent.

    Attributes:
        target: The target of the channel, as it was given to the interceptor.
        method: The full name of the method: `/shop.Orders/Get`.
        streams_requests: Whether the client sends a stream.
        streams_responses: Whether the server sends a stream.
    """

    target: str
    method: str
    streams_requests: bool = False
    streams_responses: bool = False

    @property
    def service(self) -> str:
        """The full name of the service: `shop.Orders`."""
        return self.method.strip("/").rpartition("/")[0]

    @property
    def name(self) -> str:
        """The name of the method in its service: `Get`."""
        return self.method.rpartition("/")[2]


def by_service(call: CallInfo) -> str:
    """Key by target and service, the default: `orders:50051 shop.Orders`."""
    return f"{call.target} {call.service}"


def by_method(call: CallInfo) -> str:
    """Key by target and method: `orders:50051 /shop.Orders/Get`."""
    return f"{call.target} {call.method}"


def by_target(call: CallInfo) -> str:
    """Key by target: `orders:50051`."""
    return call.target


def usual_label(call: CallInfo) -> str:
    """The label of a call by default: its method.

    Methods of one service take differently long, and share the health of the process behind them.
    """
    if call.streams_responses and (call.streams_requests or call.name.startswith(_SUBSCRIBE)):
        return LONG_POLL
    return call.name


class CallSettings(TypedDict, total=False):
    """The settings of a guarded channel, as keyword arguments. Each of them is optional.

    Attributes:
        key: One key for all calls, or a callable that makes the key from a `CallInfo`: `by_service`
            (the default), `by_method`, `by_target`, or your own. If it returns None, the call is
            unguarded. If it raises, or returns an empty str or another type, that is a fault
            (`Registry.faults`), and the call is keyed by service.
        label_by: What explains the latency of a call: a callable that returns a label, a size or
            None from a `CallInfo`, as for `Breaker.acquire`; None for nothing. By default it is the
            name of the method. Return `recloser.LONG_POLL` for a stream of the server that is silent
            until something happens: its latency is not judged. By default that is so for streams in
            both directions, and for streams of methods named Watch, Subscribe, Listen, Monitor or
            Tail (or longer). If the callable raises, that is a fault, and nothing is known.
        cut_off: Whether a call of one message each way ends when an answer is hopeless
            (`Permit.timeout`, which is learned); by default False. Its `timeout` is lowered to
            that, and never raised. The caller gets DEADLINE_EXCEEDED, and it is a failure.
    """

    key: str | Callable[[CallInfo], str | None]
    label_by: Callable[[CallInfo], str | float | None] | None
    cut_off: bool


class Calls:
    """Admits the calls of one channel.

    Args:
        target: The target of the channel, part of its keys.
        registry: Holds the breakers; None for a new one.
        settings: The user's settings.

    Attributes:
        target: The target of the channel.
        registry: Holds the breakers.
        cut_off: Whether calls end when an answer is hopeless.

    Raises:
        TypeError: An argument has the wrong type, or a setting does not exist.
        ValueError: The target or the key is empty.
    """

    def __init__(self, target: str, registry: Registry | None, settings: CallSettings) -> None:
        _check(target, registry, settings)
        self.target: str = target
        self.registry: Registry = Registry() if registry is None else registry
        self.cut_off: bool = settings.get("cut_off", False)
        self._key = settings.get("key", by_service)
        self._label_by = settings.get("label_by", usual_label)

    def admit(self, call: CallInfo) -> LoosePermit | None:
        """Ask for admission of a call; None if it is not guarded.

        Raises:
            BreakerOpenError: It is refused.
        """
        key = self._key if isinstance(self._key, str) else self._ask(call)
        if key is None:
            return None
        known = self._known_of(call)
        breaker = self.registry[key]
        permit = breaker.acquire(known) if isinstance(known, str) else breaker.acquire(size=known)
        return cast("LoosePermit", permit)

    def _ask(self, call: CallInfo) -> str | None:
        try:
            key = cast("Callable[[CallInfo], str | None]", self._key)(call)
            if key is None or (isinstance(key, str) and key):
                return key
            raise TypeError(f"key must be a non-empty str or None, not {key!r}")
        except Exception as error:
            self.registry.fault("key function", error)
            return by_service(call)

    def _known_of(self, call: CallInfo) -> str | float | None:
        if self._label_by is None:
            return None
        try:
            return self._label_by(call)
        except Exception as error:
            self.registry.fault("label", error)
            return None


def _check(target: object, registry: object, settings: CallSettings) -> None:
    if isinstance(target, Registry):
        raise TypeError("target comes first, then the registry: write ('orders:50051', registry)")
    if not isinstance(target, str):
        raise TypeError(f"target must be a str such as 'orders:50051', not {target!r}")
    if not target:
        raise ValueError("target must not be empty: write the address of the channel")
    if registry is not None:
        check_registry(registry, Registry)
    check_names(settings, CallSettings.__optional_keys__)
    key = settings.get("key", by_service)
    if not isinstance(key, str) and not callable(key):
        raise TypeError(f"key must be a str or a callable, not {key!r}")
    if key == "":
        raise ValueError("key must not be empty")
    label_by = settings.get("label_by")
    if label_by is not None and not callable(label_by):
        raise TypeError(f"label_by must be a callable, not {label_by!r}")
    cut_off = settings.get("cut_off", False)
    if not isinstance(cut_off, bool):
        raise TypeError(f"cut_off must be True or False, not {cut_off!r}")
