"""Admission of outbound calls: the key of a request, the scope of its waits, what explains it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Generic, TypeVar

from recloser import (
    LONG_POLL,
    UNGUARDED,
    Breaker,
    LoosePermit,
    Mode,
    Permit,
    Refused,
    Registry,
    Unguarded,
)
from recloser_adapters._outbound import llm, long_polls
from recloser_adapters._outbound.keys import Keys, ReadyKey
from recloser_adapters._outbound.llm import LLMCall
from recloser_adapters._outbound.permit import CallPermit, CallReport, ReportedPermit, ScopedPermit
from recloser_adapters._outbound.scopes import scopes_of

RequestT = TypeVar("RequestT")
# Last segments of the paths of POST requests that are looked at more closely.
_TAILS = llm.TAILS | long_polls.TAILS
PermitT = TypeVar("PermitT", bound=LoosePermit)


class Admission(Generic[RequestT]):
    """Admits the calls of one client.

    Args:
        registry: Holds the breakers.
        settings: The user's settings, checked; see `CallSettings`.
        keys: The ready-made keys of the library. They read its requests.

    Attributes:
        registry: Holds the breakers.
        keys: The ready-made keys of the library.
    """

    def __init__(
        self, registry: Registry, settings: Mapping[str, Any], keys: Keys[RequestT]
    ) -> None:
        self.registry: Registry = registry
        self.keys: Keys[RequestT] = keys
        self._known = registry.get
        self._by_host = keys.read.host
        self._tail = keys.read.tail
        self._query = keys.read.query
        self._scopes = scopes_of(registry)
        self._on_end: Callable[[CallReport], None] | None = settings.get("on_end")
        self._explains_itself = "label_by" not in settings
        self._label_by: Callable[[RequestT], str | float | None] | None = settings.get("label_by")
        self._always_closely = self._on_end is not None or self._label_by is not None
        self._use_key(settings.get("key", keys.by_model))

    injects: bool = False
    """Whether the adapter can let a fault happen that is injected on purpose (`Injected`)."""

    def __getstate__(self) -> dict[str, Any]:
        # A look-up in the breakers of this process.
        return {name: value for name, value in self.__dict__.items() if name != "_known"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._known = self.registry.get

    def _use_key(self, key: str | Callable[[RequestT], str | None]) -> None:
        self._key = key if isinstance(key, str) else ""
        self._ready: ReadyKey[RequestT] | None = key if isinstance(key, ReadyKey) else None
        self._key_function: Callable[[RequestT], str | None] = (
            self._by_host if isinstance(key, str) else key
        )
        # The key of a request that is admitted without a closer look.
        self._key_of: Callable[[RequestT], str | None] = self._ask
        if key is self.keys.by_model or key is self._by_host:
            self._key_of = self._by_host
        elif self._ready is not None:
            self._key_of = self._ready_key

    def _ask(self, request: RequestT) -> str | None:
        try:
            key = self._key_function(request)
            if key is None or (isinstance(key, str) and key):
                return key
            raise TypeError(f"key must be a non-empty str or None, not {key!r}")
        except Exception as error:
            self.registry.fault("key function", error)
            return self._by_host(request)

    def _ready_key(self, request: RequestT) -> str:
        host = self._by_host(request)
        try:
            part = "" if self._ready is None else self._ready.part(request)
        except Exception as error:  # such as that of another library's requests
            self.registry.fault("key function", error)
            return host
        return self._scopes.key(host, part) if host else ""

    def admit(
        self, request: RequestT, kind: type[PermitT]
    ) -> PermitT | ReportedPermit | Refused | Unguarded:
        """Admit a call, refuse it, or leave it unguarded.

        Args:
            request: The request that will be sent.
            kind: The class of the permit. If the user gave `on_end`, or more is known of the call
                than its host, the permit is wrapped in a `ScopedPermit`.
        """
        try:
            # Most calls of most programs need no closer look.
            if (
                self._scopes.waits
                or self._always_closely
                or (
                    request.method == "POST"  # type: ignore[attr-defined]  # of all libraries
                    and ((tail := self._tail(request)) in _TAILS or ":" in tail)
                )
                or ((query := self._query(request)) and long_polls.waits(query))
            ):
                return self._admit_closely(request, kind)
            key = self._key or self._key_of(request)
            # A URL without a host is an error that the client itself reports.
            if not key:
                return UNGUARDED
            # For a known key this saves one frame, compared with registry[key].
            breaker = self._known(key) or self.registry[key]
            return breaker.admit(kind, injects=self.injects)
        except Exception as error:
            # A fault in this package must not refuse a call.
            self.registry.fault("outbound admission", error)
            return UNGUARDED

    def _admit_closely(
        self, request: RequestT, kind: type[PermitT]
    ) -> PermitT | ReportedPermit | Refused | Unguarded:
        """Admit a call that may be one to a model, or in a scope that waits."""
        if self._scopes.waits:
            self._scopes.tidy()
        call = self._call_of(request)
        key = self._key or self._key_of(request)
        if key and call is not None and self._ready is self.keys.by_model:
            key = self._scopes.key(key, call.name)
        if not key:
            return UNGUARDED
        breaker = self._known(key) or self.registry[key]
        name = partial(self._scope, request, key, call)
        waiting: LoosePermit | None = None
        if key in self._scopes.keys and (scope := name()) != key:
            asked = self._scopes.admit(scope)
            if not isinstance(asked, Refused):
                waiting = asked
            elif breaker.mode is Mode.ENFORCE:
                return asked
        label, size = self._explanation(request, key, call)
        admission = (
            breaker.admit(kind, injects=self.injects)
            if label is None and size is None
            else _labelled(breaker, label, size)
        )
        if isinstance(admission, Refused | Unguarded):
            if waiting is not None:
                waiting.ignore()
            return admission
        llm = call is not None
        is_plain = waiting is None and self._on_end is None and not llm
        if is_plain and isinstance(admission, kind):
            return admission
        permit = ScopedPermit(
            admission, self.registry, self._on_end, self._scopes, name, waiting, llm=llm
        )
        if call is not None and self._explains_itself:
            permit.request_bytes = call.request_bytes
        return permit

    def _call_of(self, request: RequestT) -> LLMCall | None:
        if request.method != "POST":  # type: ignore[attr-defined]  # of all libraries
            return None
        try:
            return self.keys.llm_call(request)
        except Exception as error:
            self.registry.fault("request", error)
            return None

    def _scope(self, request: RequestT, key: str, call: LLMCall | None) -> str:
        """The name of the scope to which a wait belongs: key, model or route, and credential."""
        keys = self.keys
        part = keys.route(request) if call is None else call.name
        scope = f"{key} {part}" if part and not key.endswith(f" {part}") else key
        credential = keys.credential(request)
        # Without a credential it is "", which is a part of every text.
        return scope if credential in scope else f"{scope} {credential}"

    def _explanation(
        self, request: RequestT, key: str, call: LLMCall | None
    ) -> tuple[str | None, float | None]:
        """What explains the latency of a call: a label and a size, None for none."""
        if self._label_by is not None:
            try:
                said = self._label_by(request)
                return (said, None) if isinstance(said, str) else (None, said)
            except Exception as error:
                self.registry.fault("label_by", error)
        elif call is not None and self._explains_itself:
            named = call.model and not key.endswith(f" {call.model}")
            return f"{call.model} {call.label}" if named else call.label, call.size
        elif self._explains_itself and self._is_long_poll(request):
            return LONG_POLL, None
        return None, None

    def _is_long_poll(self, request: RequestT) -> bool:
        if long_polls.waits(self._query(request)):
            return True
        method = str(request.method)  # type: ignore[attr-defined]  # of all libraries
        return method == "POST" and self._tail(request) in long_polls.TAILS

    def scoped(self, permit: CallPermit, request: RequestT | None) -> CallPermit:
        """A permit whose wait goes to its scope, for a call that was admitted without one.

        Args:
            permit: The permit of the call.
            request: The request; None if a wait belongs to the key.
        """
        if request is None or isinstance(permit, ReportedPermit):
            return permit
        name = partial(self._scope, request, permit.breaker.key, None)
        return ScopedPermit(permit, self.registry, None, self._scopes, name, None, llm=False)


def _labelled(
    breaker: Breaker, label: str | None, size: float | None
) -> Permit | Refused | Unguarded:
    """Admit a call of which something is known."""
    permit = breaker.try_acquire(label, size)
    if permit is None:
        return Refused(breaker)
    return UNGUARDED if permit.ended else permit
