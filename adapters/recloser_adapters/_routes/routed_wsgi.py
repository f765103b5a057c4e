"""What adapters of WSGI frameworks share: keys with a cache, and the middleware around an app."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

from recloser import Mode, Outcome, Registry
from recloser.hints import knows_names
from recloser.wsgi import DEFAULT_EXEMPT, UNMATCHED, BreakerMiddleware
from recloser_adapters._routes.guarded import keys_within, lasting
from recloser_adapters._routes.key_cache import KeyCache
from recloser_adapters._routes.keys import MISSING
from recloser_adapters._routes.unused import KnownRoute, UnusedPatterns

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication, WSGIEnvironment

# Where wrappers have what they wrap: most of them, Flask, and a router of Pyramid.
_INSIDE: Final = ("app", "wsgi_app", "execution_policy")


class WsgiKeys:
    """Resolve WSGI environs to keys; a request that was resolved before takes one look-up.

    A subclass asks the router of its framework.

    Attributes:
        unused: Told of the routes at the first request, to log patterns that match none; or None.
    """

    def __init__(self) -> None:
        self._cache = KeyCache()
        self.unused: UnusedPatterns | None = None

    def __call__(self, environ: WSGIEnvironment) -> str | None:
        """Resolve an environ to its key, or to `None` if no breaker must guard it."""
        request = (environ["REQUEST_METHOD"], environ.get("PATH_INFO"))
        try:
            return self._cache.newer[request]  # type: ignore[no-any-return]
        except KeyError:
            pass
        key = self._cache.recall(request)
        if key is not MISSING:
            return key  # type: ignore[no-any-return]  # the cache answers MISSING, too
        if self.unused is not None:
            self.unused.tell(self.known, environ.get("SCRIPT_NAME", ""))
        key, repeatable = self.resolve(environ)
        # `<unmatched>` is not cached: scanners send new paths all the time, and routes may still be
        # added.
        if repeatable and key != UNMATCHED:
            self._cache.put(request, key)
        return key

    def clear(self) -> None:
        """Drop all resolved requests. Needed only if a route is replaced by another one."""
        self._cache.clear()

    def resolve(self, environ: WSGIEnvironment) -> tuple[str | None, bool]:
        """The key of a request, and whether method and path alone decide on it."""
        raise NotImplementedError

    def known(self) -> Iterable[KnownRoute]:
        """What is known of each route without a request."""
        raise NotImplementedError


class RoutedMiddleware(BreakerMiddleware):
    """Guards every route of a WSGI application with its own breaker.

    Args:
        app: The WSGI application.
        registry: Holds the breakers; by default a new one.
        key: Makes the keys: a `WsgiKeys`, or a function of the user.
        exempt: Requests that are not guarded. For this and all following arguments see
            `recloser.wsgi.BreakerMiddleware`.
        classify: A function that takes a status and returns an `Outcome`.
        on_refuse: A WSGI application that answers refused requests.
        mode: The mode of the breakers; by default the registry's mode.
        expose_details: Whether a refusal names the key and the reason.

    Attributes:
        keys: Makes the keys; None if `key` is a function of the user.
        exempt: What is not guarded: patterns, or a function of the environ.
    """

    @knows_names
    def __init__(
        self,
        app: WSGIApplication,
        registry: Registry | None = None,
        *,
        key: Callable[[Any], str | None],
        exempt: Any = DEFAULT_EXEMPT,
        classify: Callable[[int], Outcome] | None = None,
        on_refuse: WSGIApplication | None = None,
        mode: Mode | str | None = None,
        expose_details: bool = False,
    ) -> None:
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
        )
        self.keys: WsgiKeys | None = key if isinstance(key, WsgiKeys) else None
        self.exempt: Any = exempt
        if self.keys is not None:
            self.keys.unused = UnusedPatterns(exempt, self.registry)


def guarded_keys(app: object) -> dict[Registry, set[str]]:
    """Return the keys that guard routes of an application, by the registry of their breakers.

    Not known are keys that a function of the user makes. A registry may have none that is known.

    Args:
        app: An application in a middleware of these adapters, also if that is wrapped.
    """
    return keys_within(app, RoutedMiddleware, _INSIDE)
