"""The keys of requests to a Django project, made from its URL patterns."""

from __future__ import annotations

from typing import Any, Final

from django.conf import settings
from django.http import HttpRequest
from django.middleware.locale import LocaleMiddleware
from django.urls import URLResolver, get_resolver
from django.utils import translation
from django.utils.module_loading import import_string

from recloser.wsgi import UNMATCHED
from recloser_adapters._routes.keys import MISSING
from recloser_adapters._routes.unused import UnusedPatterns
from recloser_adapters.django._routes import Route, RouteTable

_MOST_TABLES: Final = 16  # a project has one URLconf, or one for each of a few hosts


class UrlKeys:
    """Resolve requests to breaker keys: method and URL pattern, such as `GET /orders/<int:number>`.

    They are known before Django has routed the request. A request that matches no pattern (a 404, or
    a redirect that adds the last slash) gets `<unmatched>`. A request for static files, or for a
    view that is marked by `exempt`, gets `None`. The prefix of `i18n_patterns` is `<language>`, and a
    translated pattern is written in the language of `LANGUAGE_CODE`: a route has one key in all
    languages. Groups of a regular expression are written as `<name>`.

    A request that was resolved before takes one look-up in a bounded cache. `request.urlconf` is
    used if it is set.

    Attributes:
        unused: Told of the routes at the first request, to log patterns that match none; or None.
    """

    def __init__(self) -> None:
        self.unused: UnusedPatterns | None = None
        self._tables: dict[URLResolver, RouteTable] = {}
        self._has_locale: bool | None = None

    def __call__(self, request: HttpRequest) -> str | None:
        """Resolve a request to its key, or to `None` if no breaker must guard it."""
        # Django caches it by URLconf, and makes another one after `clear_url_caches()`.
        resolver = get_resolver(getattr(request, "urlconf", None))
        table = self._tables.get(resolver)
        if table is None:
            if not _is_valid(resolver):
                return UNMATCHED
            table = self._table(resolver, request)
        # Translated paths are rare, and to ask for the language of a request takes some time.
        language = self._language(request, table) if table.is_translated else None
        parts = (request.method, request.path_info, language)
        try:
            return table.cache.newer[parts]  # type: ignore[no-any-return]
        except KeyError:
            pass
        key = table.cache.recall(parts)
        if key is MISSING:
            route = self._find(request, table, language)
            if route is None:
                # Not cached: scanners send new paths all the time.
                return UNMATCHED
            key = route.key(request.method or "GET")
            table.cache.put(parts, key)
        return key  # type: ignore[no-any-return]  # the cache answers MISSING, too

    def clear(self) -> None:
        """Drop all resolved requests. Needed only if a list of URL patterns was changed in place."""
        self._tables.clear()
        self._has_locale = None

    def routes(self, urlconf: Any = None) -> list[Route]:
        """All routes of a URLconf; None for that of the settings."""
        return RouteTable(get_resolver(urlconf)).routes

    def _table(self, resolver: URLResolver, request: HttpRequest) -> RouteTable:
        if len(self._tables) >= _MOST_TABLES:
            self._tables.clear()
        table = self._tables[resolver] = RouteTable(resolver)
        if self.unused is not None:
            root: str = request.META.get("SCRIPT_NAME", "")
            self.unused.tell(lambda: (route.known() for route in table.routes), root)
        return table

    def _find(self, request: HttpRequest, table: RouteTable, language: str | None) -> Route | None:
        if not table.has_languages and not table.is_translated:
            return table.find(request.path_info)
        # The language that is active now may be that of another request.
        with translation.override(language or self._language(request, table)):
            return table.find(request.path_info)

    def _language(self, request: HttpRequest, table: RouteTable) -> str:
        """The language in which Django will resolve a request, as `LocaleMiddleware` chooses it."""
        if self._has_locale is None:
            self._has_locale = any(map(_is_locale_middleware, settings.MIDDLEWARE))
        if not self._has_locale:
            return str(settings.LANGUAGE_CODE)
        by_path = table.has_languages
        is_default = not table.prefixes_default or not table.is_translated
        if by_path and is_default and not translation.get_language_from_path(request.path_info):
            return str(settings.LANGUAGE_CODE)
        return translation.get_language_from_request(request, check_path=by_path)


def _is_valid(resolver: URLResolver) -> bool:
    """Whether a URLconf can be loaded. If not, Django tells it when it resolves the request."""
    try:
        list(resolver.url_patterns)
    except Exception:
        return False
    return True


def _is_locale_middleware(path: str) -> bool:
    kind: object = import_string(path)
    return isinstance(kind, type) and issubclass(kind, LocaleMiddleware)
