"""The routes of a URLconf, and the search for the one that will answer a path."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from django.conf import settings
from django.urls import Resolver404, URLPattern, URLResolver
from django.urls.resolvers import LocalePrefixPattern
from django.utils import translation

from recloser_adapters._routes.key_cache import KeyCache
from recloser_adapters._routes.keys import MISSING, route_key
from recloser_adapters._routes.unused import KnownRoute
from recloser_adapters.django._templates import is_translated, template_of
from recloser_adapters.django._views import key_by_mark, methods_of

_USUAL_METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE")
_LIBRARYS_OWN: Final = (URLPattern.resolve, URLResolver.resolve)

Chain = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Route:
    """A route.

    Attributes:
        template: Its path, such as `/orders/<int:number>`.
        view: What answers.
        methods: Its methods, without HEAD and OPTIONS; empty if they are not known.
    """

    template: str
    view: Any
    methods: frozenset[str]

    def key(self, method: str) -> str | None:
        """The key of a request for this route; `None` if no breaker guards it."""
        key = key_by_mark(self.view, method)
        return self.name(method) if key is MISSING else key

    def name(self, method: str) -> str:
        """Method and template. This is the key, unless the view has a mark."""
        return route_key(method, self.template)

    def known(self) -> KnownRoute:
        """What is known of it without a request."""
        keys = (self.key(method) for method in self.methods or _USUAL_METHODS)
        return KnownRoute(
            self.template, self.methods, frozenset(key for key in keys if key is not None)
        )


class RouteTable:
    """The routes of one URLconf.

    Args:
        resolver: Django's resolver of that URLconf.

    Attributes:
        cache: The keys of recent requests.
        routes: All routes, in Django's order.
        is_translated: Whether the path of a route depends on the language of the request.
        has_languages: Whether there are `i18n_patterns`.
        prefixes_default: Whether these have a prefix for the default language, too.
    """

    def __init__(self, resolver: URLResolver) -> None:
        self.cache = KeyCache()
        self._resolver = resolver
        with translation.override(settings.LANGUAGE_CODE):
            chains = [*_chains(resolver.url_patterns)]
            templates = _templates([patterns for patterns, _ in chains])
            self._by_chain: dict[Chain, Route] = {
                patterns: Route(template, view, methods_of(view))
                for (patterns, view), template in zip(chains, templates, strict=True)
            }
        self.routes: list[Route] = list(self._by_chain.values())
        patterns = {id(each): each for chain in self._by_chain for each in chain}.values()
        self.is_translated: bool = any(map(is_translated, patterns))
        prefixes = [each for each in patterns if isinstance(each, LocalePrefixPattern)]
        self.has_languages: bool = bool(prefixes)
        self.prefixes_default: bool = all(each.prefix_default_language for each in prefixes)

    def find(self, path: str) -> Route | None:
        """Find the route that will answer a path, in the active language: the first that matches."""
        found = self._resolver.pattern.match(path)
        return None if not found else self._find(self._resolver.url_patterns, found[0], ())

    def _find(self, patterns: Sequence[Any], path: str, around: Chain) -> Route | None:
        for each in patterns:
            if getattr(type(each), "resolve", None) not in _LIBRARYS_OWN:  # pyright: ignore[reportUnknownArgumentType]
                route = self._ask(each, path, around)
            else:
                chain = (*around, each.pattern)
                try:
                    found = each.pattern.match(path)
                except Exception:
                    # Of a converter of the user. Django meets it here, too, and answers it.
                    return self._failing(chain, each)
                if not found:
                    continue
                if isinstance(each, URLResolver):
                    route = self._find(each.url_patterns, found[0], chain)
                else:
                    route = self._route(chain, each.callback)
            if route is not None:
                return route
        return None

    def _failing(self, chain: Chain, pattern: Any) -> Route:
        """The route of a request for which a converter fails."""
        if isinstance(pattern, URLPattern):
            return self._route(chain, pattern.callback)
        # Which one of an `include` would answer is not known.
        return Route(template_of(chain) + "...", None, frozenset())

    @staticmethod
    def _ask(pattern: Any, path: str, around: Chain) -> Route | None:
        """Ask a pattern of a class of the user, which has its own way to match."""
        try:
            match = pattern.resolve(path)
        except Resolver404:
            return None
        if not match:
            return None
        inside = match.route or str(pattern.pattern)
        view = match.func
        return Route(template_of(around) + inside.removeprefix("^"), view, methods_of(view))

    def _route(self, chain: Chain, view: Any) -> Route:
        route = self._by_chain.get(chain)
        # The list of patterns was changed after the first request.
        return Route(template_of(chain), view, methods_of(view)) if route is None else route


def _chains(
    patterns: Sequence[Any], around: Chain = (), lists: tuple[int, ...] = ()
) -> Iterator[tuple[Chain, Any]]:
    """Yield each route: its patterns, from the outermost, and its view.

    A URLconf may include itself. It is entered once on each way; for deeper routes the template is
    made when one is requested.
    """
    lists = (*lists, id(patterns))
    for each in patterns:
        chain = (*around, each.pattern)
        if isinstance(each, URLPattern):
            yield chain, each.callback
        elif id(each.url_patterns) not in lists:
            yield from _chains(each.url_patterns, chain, lists)


def _templates(chains: list[Chain]) -> list[str]:
    """The template of each route. Different regular expressions must not get the same one."""
    exact = [template_of(chain, exact=True) for chain in chains]
    simple = [template_of(chain) for chain in chains]
    alike: dict[str, set[str]] = defaultdict(set)
    for template, own in zip(simple, exact, strict=True):
        alike[template].add(own)
    return [
        template if len(alike[template]) == 1 else own
        for template, own in zip(simple, exact, strict=True)
    ]
