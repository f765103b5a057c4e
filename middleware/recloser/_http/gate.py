"""The gate of a middleware: which breaker guards a request, and what its status means.

It serves ASGI and WSGI alike and knows neither: a request is a mutable mapping, the scope or the
environ. A fault in a request or in a callback of the user is no error here: the registry counts
it, and the request passes.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from math import inf
from typing import Any

from recloser._admission import UNGUARDED, Refused, Unguarded
from recloser._environment import enabled
from recloser._http.exemptions import Exemptions
from recloser._http.request_marks import PERMIT, REFUSED, Request, ignore_all, is_within
from recloser._outcome import Outcome, stands_for_refusal
from recloser._permit import AnyPermit, Permit
from recloser._registry import Registry
from recloser._special_keys import UNMATCHED
from recloser._state import Mode
from recloser.hints import check_function, check_registry

APP = "app"
"""The only key of an app whose routes are not known."""

KeyFunction = Callable[[Any], "str | None"]
Exempt = Iterable[str] | Callable[[Any], bool]
Classify = Callable[[int], Outcome]


def _whole_app(request: Request) -> str:
    return APP


class Gate:
    """Decides about requests: which breaker guards one, whether it may pass, how it ended.

    Args:
        registry: The registry that holds the breakers; None makes a new one.
        key: A function from request to key; None guards the whole app under `APP`. A request whose
            key is None is not guarded.
        exempt: Patterns (see `Exemptions`) or a function from request to bool.
        classify: A function from status to outcome; None stands for `Outcome.of_status`.
        mode: None: the mode of the registry. Otherwise the more lenient of the two applies.
        method: The key under which a request has its method.
        path: The key under which a request has its path.
        root: The key under which a request has the path at which the app is mounted; "" if `path`
            does not include that.

    Attributes:
        plain: Whether every status below 400 is a success.

    Raises:
        TypeError: An argument is of the wrong type.
        ValueError: A pattern can never match, or the mode is unknown.
    """

    __slots__ = (
        "_breakers",
        "_classify",
        "_enforces",
        "_exempt",
        "_exemptions",
        "_guarded",
        "_key",
        "_method",
        "_off",
        "_path",
        "_root",
        "plain",
        "registry",
    )

    def __init__(
        self,
        registry: Registry | None,
        *,
        key: KeyFunction | None,
        exempt: Exempt,
        classify: Classify | None,
        mode: Mode | str | None,
        method: str,
        path: str,
        root: str,
    ) -> None:
        if registry is not None:
            check_registry(registry, Registry)
        for name, function in (("key", key), ("classify", classify)):
            if function is not None:
                check_function(name, function)
        if callable(exempt):
            check_function("exempt", exempt)
        mode = Mode.ENFORCE if mode is None else Mode(mode)
        self.registry = Registry(mode=mode) if registry is None else registry
        # Stored as bools: to look up a member of an enum takes 60 ns on Python 3.11.
        self._off = mode is Mode.DISABLED or not enabled()
        self._enforces = mode is Mode.ENFORCE
        # The dict itself: `registry[key]` would cost each request one more frame.
        self._breakers = self.registry._breakers
        self._key: KeyFunction = _whole_app if key is None else key
        self._classify = classify
        self.plain = classify is None
        self._exempt = exempt if callable(exempt) else None
        self._exemptions = Exemptions(() if callable(exempt) else exempt)
        self._guarded = self._exemptions.guarded
        self._method = method
        self._path = path
        self._root = root

    def admit(self, request: Request, kind: type[AnyPermit]) -> AnyPermit | Refused | Unguarded:
        """Answer whether a request may pass; see `recloser._admission` for the three answers.

        Args:
            request: The request.
            kind: The class of the permit, which must be ended.
        """
        where = "exempt"
        # Any, so that its class can be compared: that is faster than isinstance().
        admission: Any = None
        try:
            try:
                is_guarded = request[self._path] in self._guarded[request[self._method]]
            except KeyError:
                is_guarded = False
            if not is_guarded and self._is_exempt(request):
                return UNGUARDED
            where = "key"
            key_of = self._key
            key: Any = key_of(request)  # None is looked up, too
            try:
                breaker = self._breakers[key]
            except KeyError:
                # Asked here only: no breaker has None as its key, and one of UNMATCHED is disabled.
                if key is None or key == UNMATCHED:
                    return UNGUARDED
                breaker = self.registry[key]
            where = "admission"
            around = request[PERMIT] if PERMIT in request else None  # noqa: SIM401 - get() is slower
            if around is not None and is_within(around, breaker):
                return UNGUARDED  # the same call, seen a second time
            # `admit_strict`, with its quick case written out: it saves each request a frame.
            # tests/core/test_admitting_circuit.py asks both in every case.
            calls = breaker._calls
            voting = calls.voting
            clock = breaker.clock
            now = clock()
            if now < calls.quick_until:
                token = next(calls.tokens)
                permit = kind()
                permit.breaker = breaker
                permit.started = now
                permit.answered = inf
                permit.token = token
                admission = voting[token] = permit  # in this order: see the handler
            else:
                admission = breaker.admit_by_decision(kind, now, request, self._enforces)
            if type(admission) is kind:
                admission.outer = around
                request[PERMIT] = admission
                return admission
            if type(admission) is Refused:
                request[REFUSED] = True
                if around is not None:
                    ignore_all(around)
        except BaseException as error:
            return self._failed(where, error, admission)
        return admission  # type: ignore[no-any-return]  # one of the other two answers

    def struck(self, request: Request, permit: AnyPermit) -> AnyPermit:
        """Note the permit of a request that was slow on purpose; the app is called now."""
        permit.outer = request.get(PERMIT)
        request[PERMIT] = permit
        return permit

    def _failed(self, where: str, error: BaseException, admission: object) -> Unguarded:
        if isinstance(admission, Permit):
            admission.cancel()
        if not isinstance(error, Exception):
            raise error  # a signal handler raised
        self.registry.fault(where, error)
        return UNGUARDED

    def _is_exempt(self, request: Request) -> bool:
        if self._off:
            return True
        if self._exempt is not None:
            return self._exempt(request)
        root = request.get(self._root) if self._root else None
        return self._exemptions.exempts(
            request.get(self._method), request.get(self._path) or "/", root or ""
        )

    def end_by_status(self, request: Request, permit: Permit, status: int) -> None:
        """End a call by the status of its answer."""
        classify = self._classify
        outcome = Outcome.of_status(status) if classify is None else self._ask(classify, status)
        if outcome is Outcome.FAILURE and (
            # Another breaker answered, and the handler was not called; or a framework answers a
            # refusal that no handler caught, or an error that stands for one.
            request.get(REFUSED) or stands_for_refusal(sys.exception())
        ):
            outcome = Outcome.IGNORED
            permit.answered = inf  # the handler has not answered
        elif outcome is Outcome.IGNORED and permit.answered == inf:
            permit.mark()  # an answer without a body, too, shows that the handler works
        if outcome is Outcome.SUCCESS:
            permit.success()
        else:
            permit.breaker.end(permit, outcome, f"HTTP {status}")

    def _ask(self, classify: Classify, status: int) -> Outcome:
        try:
            outcome: object = classify(status)
            if isinstance(outcome, Outcome):
                return outcome
            raise TypeError(f"classify must return an Outcome, not {outcome!r}")
        except Exception as error:
            self.registry.fault("classify", error)
            return Outcome.of_status(status)
