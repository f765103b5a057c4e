"""Errors that stand for a status, and pass a middleware that is inside of what turns them into one.

Such a middleware would take each for a failure: also the 401 of a login, or the 404 of a handler.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from recloser import Outcome, Permit
from recloser.asgi import permit_of

ASGIApp: TypeAlias = Callable[..., Any]


class EndedByStatus:
    """An application around which an error counts as the status it stands for.

    Args:
        app: The application inside of the middleware.
        status_of: Returns the HTTP status that the framework will answer; None if it does not tell.
        classify: What the middleware judges a status by; None for `Outcome.of_status`.

    Attributes:
        app: The application.
    """

    __slots__ = ("_judge", "_status_of", "app")

    def __init__(
        self,
        app: ASGIApp,
        status_of: Callable[[Exception], int | None],
        classify: Callable[[int], Outcome] | None,
    ) -> None:
        self.app: ASGIApp = app
        self._status_of = status_of
        self._judge = classify or Outcome.of_status

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one connection. What the application raises passes through."""
        try:
            await self.app(scope, receive, send)
        except Exception as error:
            permit = permit_of(scope)
            try:
                self._end(permit, error)
            except Exception as fault:  # in a function of the user
                permit.breaker.fault("classify", fault)
            raise

    def _end(self, permit: Permit, error: Exception) -> None:
        status = self._status_of(error)
        # An error that stands for a refusal is no failure, whatever its status is.
        if status is None or Outcome.of_error(error) is Outcome.IGNORED:
            return
        outcome = self._judge(status)
        if outcome is Outcome.IGNORED:
            permit.mark()  # an answer without a vote shows that the handler works
        permit.end(outcome, error=f"HTTP {status}")
