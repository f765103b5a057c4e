"""The middleware of an ASGI framework whose routes make the keys."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from recloser import Mode, Outcome, Registry
from recloser.asgi import DEFAULT_EXEMPT
from recloser.asgi import BreakerMiddleware as AnyAppMiddleware
from recloser.hints import knows_names
from recloser_adapters._routes.guarded import keys_within, lasting
from recloser_adapters._routes.scope_keys import ScopeKeys
from recloser_adapters._routes.unused import UnusedPatterns

_DEEPEST_WRAPPING = 64

ASGIApp: TypeAlias = Callable[..., Any]


class RoutedMiddleware(AnyAppMiddleware):
    """Guards every route of an application with its own breaker.

    Attributes:
        keys: Makes the keys; None if `key` is a function of the user.
        exempt: What is not guarded: patterns, or a function of the scope.
    """

    @knows_names
    def __init__(
        self,
        app: ASGIApp,
        registry: Registry | None = None,
        *,
        key: Callable[[Any], str | None] | None = None,
        exempt: Any = DEFAULT_EXEMPT,
        classify: Callable[[int], Outcome] | None = None,
        on_refuse: ASGIApp | None = None,
        mode: Mode | str | None = None,
        expose_details: bool = False,
        cut_off: bool = False,
    ) -> None:
        if key is None:
            key = self.route_keys(app)
        exempt = lasting(exempt)
        super().__init__(
            app,
            registry,
            key=key,
            exempt=exempt,
            classify=classify,
            on_refuse=on_refuse,
            mode=mode,
            expose_details=expose_details,
            cut_off=cut_off,
        )
        self.keys: ScopeKeys | None = key if isinstance(key, ScopeKeys) else None
        self.exempt: Any = exempt
        if self.keys is not None and self.keys.unused is None:
            self.keys.unused = UnusedPatterns(exempt, self.registry)

    if TYPE_CHECKING:
        # The same, for frameworks whose scopes and messages have types of their own.
        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            """Serve one connection."""

    @classmethod
    def route_keys(cls, app: Any) -> ScopeKeys:
        """Make the keys of an application.

        Raises:
            TypeError: The application is not one of the framework.
        """
        raise NotImplementedError


def guarded_keys_of(app: object) -> dict[Registry, set[str]]:
    """The keys that guard routes of an application, by the registry of their breakers.

    Args:
        app: An application in this middleware, or one that has it in its `asgi_app`.
    """
    return keys_within(app, RoutedMiddleware, ("asgi_app", "app"))


def within(app: Any, kind: type[Any]) -> Any:
    """Find the application of a framework inside the middleware around it; None if there is none.

    Args:
        app: The application, middleware around it, or a bound method of it.
        kind: The class of the framework's applications.
    """
    for _ in range(_DEEPEST_WRAPPING):
        if app is None or isinstance(app, kind):
            return app
        app = getattr(app, "app", None) or getattr(app, "__self__", None)
    return None
