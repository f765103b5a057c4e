"""Middlewares that note what they let further middleware see of their refusals."""

from __future__ import annotations

from typing import Any

import pytest


def never(*arguments: Any) -> Any:
    """An app that must not be called."""
    pytest.fail("called")


def passing(middleware: Any, field: str, *, passes: bool = True) -> Any:
    """A subclass of a middleware that changes nothing of what it lets through, and notes it.

    Args:
        middleware: The ASGI or the WSGI middleware.
        field: The field of the scope or environ that is noted in `passed`.
        passes: Whether it lets anything through.
    """

    class Passing(middleware):  # type: ignore[misc]
        passes_refusals = passes

        def __init__(self, *arguments: Any, **settings: Any) -> None:
            super().__init__(*arguments, **settings)
            self.passed: list[str] = []

        def refusal_through(self, request: Any, answer: Any) -> Any:
            self.passed.append(request[field])
            return super().refusal_through(request, answer)

    return Passing
