"""What the ASGI and the WSGI middleware share: their settings, and what is made of them once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Generic, TypeVar

from recloser._http.exemptions import DEFAULT_EXEMPT
from recloser._http.gate import Classify, Exempt, Gate, KeyFunction
from recloser._http.refusal import Refusals
from recloser._registry import Registry
from recloser._state import Mode

AppT = TypeVar("AppT", bound=Callable[..., Any])


class Middleware(Generic[AppT]):
    """A middleware around an app. The two subclasses document the settings.

    Attributes:
        app: The app.
        registry: The registry that holds the breakers.
        passes_refusals: Whether refusals pass through middleware further in, if the request has an
            Origin header: browsers send it, and middleware answers it. A subclass that knows how sets
            it, and has `refusal_through`.
    """

    passes_refusals: ClassVar[bool] = False

    _protocol: ClassVar[str]
    # The keys under which a request has its method, its path, and the path at which the app is
    # mounted ("" if the path does not include that).
    _method: ClassVar[str]
    _path: ClassVar[str]
    _root: ClassVar[str]

    def __init__(
        self,
        app: AppT,
        registry: Registry | None = None,
        *,
        key: KeyFunction | None = None,
        exempt: Exempt = DEFAULT_EXEMPT,
        classify: Classify | None = None,
        on_refuse: AppT | None = None,
        mode: Mode | str | None = None,
        expose_details: bool = False,
    ) -> None:
        if not callable(app):
            raise TypeError(f"app must be {self._protocol} app, not {app!r}")
        if on_refuse is not None and not callable(on_refuse):
            raise TypeError(f"on_refuse must be {self._protocol} app, not {on_refuse!r}")
        if not isinstance(expose_details, bool):
            raise TypeError(f"expose_details must be True or False, not {expose_details!r}")
        self.app: AppT = app
        self._gate = Gate(
            registry,
            key=key,
            exempt=exempt,
            classify=classify,
            mode=mode,
            method=self._method,
            path=self._path,
            root=self._root,
        )
        self.registry: Registry = self._gate.registry
        self._refusals = Refusals(expose_details=expose_details)
        self._on_refuse = on_refuse
