"""What the ASGI and the WSGI middleware share: their settings, and what is made of them once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Generic, Literal, TypeVar

from recloser._http.exemptions import DEFAULT_EXEMPT
from recloser._http.gate import Classify, Exempt, Gate, KeyFunction
from recloser._http.refusal import Refusals
from recloser._registry import Registry
from recloser._state import Mode
from recloser.hints import check_app, knows_names

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

    _protocol: ClassVar[Literal["ASGI", "WSGI"]]
    # The keys under which a request has its method, its path, and the path at which the app is
    # mounted ("" if the path does not include that).
    _method: ClassVar[str]
    _path: ClassVar[str]
    _root: ClassVar[str]

    @knows_names
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
        self.check_app(app)
        if on_refuse is not None:
            check_app("on_refuse", self._protocol, on_refuse)
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

    @classmethod
    def check_app(cls, app: object) -> None:
        """Check that an argument is an app of this protocol.

        Raises:
            TypeError: It is none, or one of the other protocol, or a class.
        """
        check_app("app", cls._protocol, app)
