"""The middleware of a Flask application. Its refusals have the headers that the application adds."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from typing import TYPE_CHECKING, Any

from flask import Flask, Response, request

from recloser.wsgi import BreakerMiddleware

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment


class FlaskMiddleware(BreakerMiddleware):
    """Guards a Flask application.

    A browser hides an answer without CORS headers from the script that asked for it. In Flask they
    are added by `after_request` functions, Flask-CORS's among others. A refusal does not reach the
    application, so they are called for it here, if the request has an Origin. One that fails is
    left out: it may need what a view or a `before_request` function does.

    Args:
        flask: The application.
        options: As for `BreakerMiddleware`.
    """

    passes_refusals = True

    def __init__(self, flask: Flask, *args: Any, **options: Any) -> None:
        super().__init__(flask.wsgi_app, *args, **options)
        self._flask = flask

    def refusal_through(self, environ: WSGIEnvironment, answer: WSGIApplication) -> WSGIApplication:
        """Let a refusal pass through the `after_request` functions."""
        if not self._flask.after_request_funcs:
            return answer

        def answer_to_browser(
            environ: WSGIEnvironment, start_response: StartResponse
        ) -> Iterable[bytes]:
            response: Any = self._flask.response_class.from_app(answer, environ, buffered=True)
            with self._flask.request_context(environ):
                response = self._processed(response)
            body: Iterable[bytes] = response(environ, start_response)
            return body

        return answer_to_browser

    def _processed(self, response: Response) -> Response:
        app = self._flask
        for name in chain(request.blueprints, (None,)):
            for function in reversed(app.after_request_funcs.get(name, [])):
                try:
                    response = app.ensure_sync(function)(response)
                except Exception as error:
                    self.registry.fault("after_request", error)
        return response
