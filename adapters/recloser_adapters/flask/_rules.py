"""The rules of a Flask application: their keys, and the breakers of their views."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from flask import Flask
from werkzeug.routing import MapAdapter, Rule

from recloser import Registry
from recloser_adapters._routes.keys import MISSING
from recloser_adapters._routes.marks import marked_key, protection
from recloser_adapters.werkzeug import RuleKeys

if TYPE_CHECKING:
    from wsgiref.types import WSGIEnvironment


class FlaskKeys(RuleKeys):
    """`RuleKeys` for a Flask application. They read the marks on its views."""

    def __init__(self, app: Flask) -> None:
        def bind(environ: WSGIEnvironment) -> MapAdapter:
            # populate_request=True would write into the environ.
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


def protections(app: Flask, rule: Rule, method: str) -> Iterator[tuple[Registry | None, str]]:
    """The registry and key of each `protect` on a rule's view, for one of its methods."""
    for answering in _answering(app, rule, method):
        found = protection(answering)
        if found is not None and found[1] is not None:
            yield found[0], found[1]


def is_static(rule: Rule) -> bool:
    """Whether a rule is for a static folder that Flask or a blueprint registered."""
    return rule.endpoint.rpartition(".")[2] == "static" and "<path:filename>" in rule.rule


def _answering(app: Flask, rule: Rule, method: str) -> Iterator[object]:
    """The objects that may carry a mark: the view function, its class, that class's methods."""
    function = app.view_functions.get(rule.endpoint)
    yield function
    view_class: Any = getattr(function, "view_class", None)
    if view_class is None:
        return
    yield view_class
    # A View has only this method; a MethodView has one per HTTP method. `get` also answers HEAD.
    yield getattr(view_class, "dispatch_request", None)
    name = method.lower()
    if name == "head" and not hasattr(view_class, name):
        name = "get"
    yield getattr(view_class, name, None)
