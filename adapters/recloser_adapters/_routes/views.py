"""The marks on the views of Flask and of Quart, which have the same classes of views."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from recloser_adapters._routes.keys import MISSING
from recloser_adapters._routes.marks import marked_key


def is_static(endpoint: str, template: str) -> bool:
    """Whether a rule is for a static folder that the framework or a blueprint registered."""
    return endpoint.rpartition(".")[2] == "static" and "<path:filename>" in template


def answering(function: object, method: str) -> Iterator[object]:
    """The objects that may carry a mark: the view function, its class, that class's methods.

    Args:
        function: The view function; that of a class-based view refers to its class.
        method: The method of the request.
    """
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


def key_of_view(function: object, method: str) -> Any:
    """The key on a view: `None` if it is exempt, `MISSING` if it has no mark."""
    for each in answering(function, method):
        key = marked_key(each)
        if key is not MISSING:
            return key
    return MISSING
