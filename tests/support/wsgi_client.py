"""Server and client in one for WSGI apps."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterable
from typing import Any
from wsgiref.util import setup_testing_defaults

from tests.support.scripted_handler import Answer

App = Callable[[dict[str, Any], Any], Iterable[bytes]]


class Exchange:
    """One request to an app.

    Args:
        method: The method of the request.
        path: The path of the request.
        accept: The Accept header; None for no header.
        leaves_after: Number of chunks after which the client disconnects; None if it stays.
        closes: Whether the server calls `close()` at the end, as WSGI demands.
    """

    def __init__(
        self,
        method: str = "GET",
        path: str = "/items/1",
        accept: str | None = None,
        *,
        leaves_after: int | None = None,
        closes: bool = True,
    ) -> None:
        self.environ: dict[str, Any] = {
            "REQUEST_METHOD": method,
            "SCRIPT_NAME": "",
            "PATH_INFO": path,
        }
        if accept is not None:
            self.environ["HTTP_ACCEPT"] = accept
        setup_testing_defaults(self.environ)
        self.environ["wsgi.errors"] = io.StringIO()
        self.environ["QUERY_STRING"] = ""
        self.on_chunk: Callable[[], object] = lambda: None
        self._leaves_after = leaves_after
        self._closes = closes
        self._answer = Answer()

    def run(self, app: App) -> Answer:
        """Run the request; return what the client got and what the server caught."""
        try:
            self._play(app)
        except BaseException as error:
            self._answer.error = error
        return self._answer

    def _play(self, app: App) -> None:
        body = app(self.environ, self._start_response)
        try:
            for index, chunk in enumerate(body):
                if index == self._leaves_after:
                    break
                assert isinstance(chunk, bytes)
                assert self._answer.status is not None, "a body before its status"
                self._answer.body += chunk
                self.on_chunk()
        finally:
            close = getattr(body, "close", None)
            if close is not None and self._closes:
                close()

    def _start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: Any = None
    ) -> Callable[[bytes], object]:
        assert self._answer.status is None or exc_info, "the response started twice"
        if exc_info and self._answer.body:
            raise exc_info[1].with_traceback(exc_info[2])
        self._answer.status = int(status[:3])
        self._answer.headers = {name.lower(): value for name, value in headers}
        return self._write

    def _write(self, data: bytes) -> None:
        self._answer.body += data


def errors_of(exchange: Exchange) -> str:
    """Return what the app wrote to `wsgi.errors`."""
    stream = exchange.environ["wsgi.errors"]
    assert isinstance(stream, io.StringIO)
    sys.stderr.flush()
    return stream.getvalue()
