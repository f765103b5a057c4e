"""The settings that the ASGI and the WSGI middleware for GraphQL share."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

KEY: Final = "recloser.graphql"
"""Where a scope or environ has the key of its operation."""


def checked_paths(path: str | Iterable[str]) -> frozenset[str]:
    """The paths of the endpoint, without the slash at their end.

    Raises:
        TypeError: It is neither a str nor several.
        ValueError: One does not begin with a slash, or there is none.
    """
    try:
        paths = [path] if isinstance(path, str) else [*path]
    except TypeError:
        raise TypeError(f"path must be a str or several, not {path!r}") from None
    if not paths:
        raise ValueError("path must name the path of the GraphQL endpoint, such as '/graphql'")
    for each in paths:
        if not isinstance(each, str):
            raise TypeError(f"path must be a str or several, not {each!r}")
        if not each.startswith("/"):
            raise ValueError(f"path must begin with a slash, such as '/graphql': {each!r}")
    return frozenset(each.rstrip("/") for each in paths)


def check_functions(app: object, kind: str, classify_error: object) -> None:
    """Check what the middleware is to call.

    Args:
        app: The app.
        kind: What it must be, such as `an ASGI app`.
        classify_error: The function of the user; None for the default.

    Raises:
        TypeError: One cannot be called.
    """
    if classify_error is not None and not callable(classify_error):
        raise TypeError(f"classify_error must be a function, not {classify_error!r}")
    if not callable(app):
        raise TypeError(f"app must be {kind}, not {app!r}")


def is_of(paths: frozenset[str], path: str, root: str) -> bool:
    """Whether a request is for one of the paths, with or without the path of a mount before it."""
    return any(each.rstrip("/") in paths for each in (path, path.removeprefix(root), root + path))
