"""Finds the connection among an endpoint's arguments, and makes FastAPI pass it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Final

from starlette.requests import HTTPConnection

_CONNECTION: Final = "recloser_connection"


def signature_with_connection(endpoint: Callable[..., Any]) -> inspect.Signature:
    """The signature of an endpoint, with a parameter for the connection added if it has none.

    FastAPI passes only what the signature has parameters for. Starlette always passes the
    connection, and reads no signature.
    """
    signature = _resolved_signature(endpoint)
    parameters = list(signature.parameters.values())
    if any(_takes_connection(parameter.annotation) for parameter in parameters):
        return signature
    place = len(parameters)
    if parameters and parameters[-1].kind is inspect.Parameter.VAR_KEYWORD:
        place -= 1
    added = inspect.Parameter(
        _CONNECTION, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=HTTPConnection
    )
    return signature.replace(parameters=[*parameters[:place], added, *parameters[place:]])


def take_connection(args: tuple[Any, ...], kwargs: dict[str, Any]) -> HTTPConnection | None:
    """Find the connection among the arguments of a call.

    The argument that `signature_with_connection` added is removed, because the endpoint has no
    parameter for it.
    """
    connection: HTTPConnection | None = kwargs.pop(_CONNECTION, None)
    if connection is None:
        connection = next(filter(_is_connection, (*args, *kwargs.values())), None)
    return connection


def _is_connection(value: object) -> bool:
    return isinstance(value, HTTPConnection)


def _takes_connection(annotation: Any) -> bool:
    if isinstance(annotation, type):
        return issubclass(annotation, HTTPConnection)
    # FastAPI fills only one such parameter. This annotation may be text that was not resolved.
    return "HTTPConnection" in str(annotation)


def _resolved_signature(endpoint: Callable[..., Any]) -> inspect.Signature:
    """The signature of an endpoint, with annotations evaluated in the endpoint's own module.

    `from __future__ import annotations` leaves annotations as text. FastAPI would evaluate the
    text in the `__globals__` of the wrapper, which is in another module and has other names.
    """
    try:
        return inspect.signature(endpoint, eval_str=True)
    except (NameError, SyntaxError, TypeError):
        return inspect.signature(endpoint)
