"""The rules of a Flask application: their keys, and the breakers that guard their views."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final, TypeVar

from flask import Flask
from werkzeug.routing import MapAdapter, Rule

from recloser import Registry
from recloser_adapters._routes.keys import MISSING
from recloser_adapters._routes.marks import mark, marked_key
from recloser_adapters.werkzeug import RuleKeys

if TYPE_CHECKING:
    from wsgiref.types import WSGIEnvironment

# What `protect` writes onto a view: where its breaker lives (None: with the application), its key.
_PROTECTED: Final = "__recloser_protected__"

_View = TypeVar("_View", bound=Callable[..., Any])


class FlaskKeys(RuleKeys):
    """`RuleKeys` of a Flask application. They follow the marks on its views."""

    def __init__(self, app: Flask) -> None:
        def bind(environ: WSGIEnvironment) -> MapAdapter:
            # Not populated, which would write into the environ.
            wanted = app.request_class(environ, populate_request=False)
            adapter = app.create_url_adapter(wanted)
            assert adapter is not None
            return adapter

        super().__init__(app.url_map, bind=bind)
        self._app = app

    def of_rule(self, rule: Rule, method: str) -> str | None:
        """The key of a rule for one of its methods, `None` if it is exempt."""
        if is_static(rule):
            return None
        for answering in _answering(self._app, rule, method):
            key = marked_key(answering)
            if key is not MISSING:
                return key  # type: ignore[no-any-return]  # marked_key answers MISSING, too
        return self.name_of(rule, method)


def mark_protected(view: _View, registry: Registry | None, key: str) -> _View:
    """Mark a view as guarded by a breaker of its own, and thus not by its rule's."""
    setattr(view, _PROTECTED, (registry, key))
    return mark(view, None)


def protections(app: Flask, rule: Rule, method: str) -> Iterator[tuple[Registry | None, str]]:
    """The breakers of `protect` around a rule's view, for one of its methods: registry and key."""
    for answering in _answering(app, rule, method):
        found: tuple[Registry | None, str] | None = getattr(answering, _PROTECTED, None)
        if found is not None:
            yield found


def is_static(rule: Rule) -> bool:
    """Whether a rule is that of a static folder, as Flask and its blueprints register them."""
    return rule.endpoint.rpartition(".")[2] == "static" and "<path:filename>" in rule.rule


def _answering(app: Flask, rule: Rule, method: str) -> Iterator[object]:
    """All that may carry a mark: the view function, its class, and the methods of that class."""
    function = app.view_functions.get(rule.endpoint)
    yield function
    view_class: Any = getattr(function, "view_class", None)
    if view_class is None:
        return
    yield view_class
    # A View has this one method, a MethodView one per HTTP method. Without a `head`, `get` answers.
    yield getattr(view_class, "dispatch_request", None)
    name = method.lower()
    if name == "head" and not hasattr(view_class, name):
        name = "get"
    yield getattr(view_class, name, None)
