"""The keys of requests to a Tornado application, made from its URL specs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final, cast

from tornado.httputil import HTTPServerRequest
from tornado.routing import AnyMatches, HostMatches, PathMatches, Rule, RuleRouter
from tornado.web import Application, RequestHandler, StaticFileHandler
from tornado.websocket import WebSocketHandler

from recloser.asgi import UNMATCHED
from recloser_adapters._routes.key_cache import KeyCache
from recloser_adapters._routes.keys import MISSING, route_key
from recloser_adapters._routes.marks import marked_key
from recloser_adapters._routes.unused import KnownRoute

# Each depends on path and host alone. A matcher of the user may depend on anything.
_OF_PATH_AND_HOST: Final = (PathMatches, HostMatches, AnyMatches)
_GROUP: Final = re.compile(r"\((?:[^()]|\([^()]*\))*\)")
_PLAIN: Final = re.compile(r"[\w.-]*")
_METHODS: Final = ("GET", "HEAD", "POST", "DELETE", "PATCH", "PUT", "OPTIONS")


class SpecKeys:
    """Resolve requests of Tornado to keys: method and pattern, such as `GET /orders/([0-9]+)`.

    The pattern is without `^` and `$`. That of `add_handlers` for a host is before it, unless it is
    `.*`. A request that matches no URL spec, or whose handler does not have its method (405), gets
    `<unmatched>`. A request for static files, or for a handler that is marked by `exempt`, gets
    `None`; the mark of a method takes precedence over that of its class.

    Args:
        app: The application whose URL specs are read.
    """

    def __init__(self, app: Application) -> None:
        self._app = app
        self._cache = KeyCache()

    def __call__(self, request: HTTPServerRequest) -> str | None:
        """Resolve a request to its key, or to `None` if no breaker must guard it."""
        parts = (request.method, request.path, request.host)
        key = self._cache.newer.get(parts, MISSING)
        if key is MISSING:
            key = self._cache.recall(parts)
        if key is not MISSING:
            return key  # type: ignore[no-any-return]  # the cache answers MISSING, too
        rules = _find(self._app.default_router, request)
        method = request.method or "GET"
        key = UNMATCHED if rules is None else _key_of(rules, method)
        # `<unmatched>` is not cached: scanners send new paths all the time, and specs may be added.
        if key != UNMATCHED and rules is not None and all(map(_is_repeatable, rules)):
            self._cache.put(parts, key)
        return key

    def known(self) -> Iterator[KnownRoute]:
        """What is known of each URL spec without a request."""
        return _known(self._app.default_router, [])


def applications_in(app: Application) -> Iterator[Application]:
    """Yield an application, and those that it has as targets of its rules."""
    yield app
    for rules in _leaves(app.default_router, []):
        if isinstance(rules[-1].target, Application):
            yield from applications_in(rules[-1].target)


def _find(router: RuleRouter, request: HTTPServerRequest) -> list[Rule] | None:
    """The rules that lead to the handler of a request, as the router finds it."""
    for rule in router.rules:
        if rule.matcher.match(request) is None:
            continue
        target = rule.target
        if _is_handler(target):
            return [rule]
        if isinstance(target, RuleRouter):
            inner = _find(target, request)
            if inner is not None:
                return [rule, *inner]
            continue
        # Another application, a router of the user or a function. It has its own keys, or none.
        return None
    return None


def _leaves(router: RuleRouter, above: list[Rule]) -> Iterator[list[Rule]]:
    for rule in router.rules:
        if isinstance(rule.target, RuleRouter):
            yield from _leaves(rule.target, [*above, rule])
        else:
            yield [*above, rule]


def _known(router: RuleRouter, above: list[Rule]) -> Iterator[KnownRoute]:
    for rules in _leaves(router, above):
        handler = rules[-1].target
        if not _is_handler(handler):
            continue
        is_websocket = issubclass(handler, WebSocketHandler)
        methods = {"WS"} if is_websocket else {each for each in _METHODS if _has(handler, each)}
        keys = (_key_of(rules, "GET" if is_websocket else method) for method in methods)
        yield KnownRoute(
            _in_braces(_path(rules[-1])),
            frozenset(methods),
            frozenset(key for key in keys if key is not None),
        )


def _key_of(rules: list[Rule], method: str) -> str | None:
    handler: Any = rules[-1].target
    if issubclass(handler, StaticFileHandler):
        return None
    if not _has(handler, method):
        return UNMATCHED
    for marked in (getattr(handler, method.lower(), None), handler):
        key = marked_key(marked)
        if key is not MISSING:
            return key  # type: ignore[no-any-return]  # marked_key answers MISSING, too
    # Of a WebSocket handler it is the class that has `open`, not `get`.
    return route_key("WS" if issubclass(handler, WebSocketHandler) else method, _template(rules))


def _has(handler: Any, method: str) -> bool:
    """Whether a handler answers a method with something else than 405."""
    name = method.lower()
    if method not in handler.SUPPORTED_METHODS:
        return False
    return getattr(handler, name, None) is not getattr(RequestHandler, name, None)


def _template(rules: list[Rule]) -> str:
    host = ""
    for rule in rules:
        matcher = rule.matcher
        if isinstance(matcher, HostMatches):
            pattern = _text(cast("Any", matcher).host_pattern)
            host = "" if pattern == ".*" else pattern
    return host + _path(rules[-1])


def _in_braces(path: str) -> str:
    """A pattern as a template with its groups in braces: the user's patterns are compared with it."""

    def plain(group: re.Match[str]) -> str:
        text = group[0][1:-1].replace("\\.", ".")
        return text if _PLAIN.fullmatch(text) else "{group}"

    return _GROUP.sub(plain, path.strip("<>")).replace("\\", "")


def _path(rule: Rule) -> str:
    if isinstance(rule.matcher, PathMatches):
        return _text(cast("Any", rule.matcher).regex)
    return f"<{type(rule.matcher).__name__}>"


def _text(pattern: Any) -> str:
    return str(pattern.pattern).removeprefix("^").removesuffix("$")


def _is_handler(target: object) -> bool:
    return isinstance(target, type) and issubclass(target, RequestHandler)


def _is_repeatable(rule: Rule) -> bool:
    return type(rule.matcher) in _OF_PATH_AND_HOST
