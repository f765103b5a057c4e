"""The rules of a Flask application: their keys, and the breakers of their views."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from flask import Flask
from werkzeug.routing import MapAdapter, Rule

from recloser import Registry
from recloser_adapters._routes.keys import MISSING
from recloser_adapters._routes.marks import protection
from recloser_adapters._routes.views import answering, is_static, key_of_view
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
        if is_static(rule.endpoint, rule.rule):
            return None
        key = key_of_view(_view(self._app, rule), method)
        return self.name_of(rule, method) if key is MISSING else key


def protections(app: Flask, rule: Rule, method: str) -> Iterator[tuple[Registry | None, str]]:
    """The registry and key of each `protect` on a rule's view, for one of its methods."""
    for each in answering(_view(app, rule), method):
        found = protection(each)
        if found is not None and found[1] is not None:
            yield found[0], found[1]


def _view(app: Flask, rule: Rule) -> object:
    return app.view_functions.get(rule.endpoint)
