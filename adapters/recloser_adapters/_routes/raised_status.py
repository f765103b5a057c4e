"""Errors that stand for a status, and pass a middleware that is inside of what turns them into one.

Such a middleware would take each for a failure: also the 401 of a login, or the 404 of a handler.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from recloser import Outcome
from recloser.asgi import permit_of

ASGIApp: TypeAlias = Callable[..., Any]


def ended_by_status(
    app: ASGIApp,
    status_of: Callable[[Exception], int | None],
    classify: Callable[[int], Outcome] | None,
) -> ASGIApp:
    """Wrap an application, so that an error that leaves it counts as the status it stands for.

    Args:
        app: The application inside of the middleware.
        status_of: Returns the HTTP status that the framework will answer; None if it does not tell.
        classify: What the middleware judges a status by; None for `Outcome.of_status`.
    """
    judge = classify or Outcome.of_status

    async def watched(scope: Any, receive: Any, send: Any) -> None:
        try:
            await app(scope, receive, send)
        except Exception as error:
            status = status_of(error)
            # An error that stands for a refusal is no failure, whatever its status is.
            if status is not None and Outcome.of_error(error) is not Outcome.IGNORED:
                permit = permit_of(scope)
                outcome = judge(status)
                if outcome is Outcome.IGNORED:
                    permit.mark()  # an answer without a vote shows that the handler works
                permit.end(outcome, error=f"HTTP {status}")
            raise

    return watched
