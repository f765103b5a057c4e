"""What is known of a view without a call: its marks, its methods, whether it serves static files.

Views of Django REST framework and of Django Ninja are recognised by what they carry; neither library
is imported.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from recloser import Registry
from recloser_adapters._routes.keys import MISSING
from recloser_adapters._routes.marks import marked_key, protection

_DEEPEST_WRAPPING: Final = 64
_STATIC: Final = frozenset({"django.views.static", "django.contrib.staticfiles.views"})


def key_by_mark(view: Any, method: str) -> Any:
    """The key that a mark on a view says for a method, `None` if it is exempt, or `MISSING`."""
    if serves_files(view):
        return None
    for answering in _answering(view, method):
        key = marked_key(answering)
        if key is not MISSING:
            return key
    return MISSING


def protections(view: Any, method: str) -> Iterator[tuple[Registry | None, str]]:
    """The registry and key of each `protect` on a view, for one of its methods."""
    seen: set[int] = set()
    for answering in _answering(view, method):
        found = protection(answering)
        if found is not None and found[1] is not None and id(found) not in seen:
            seen.add(id(found))
            yield found[0], found[1]


def methods_of(view: Any) -> frozenset[str]:
    """The methods that a view answers, without HEAD and OPTIONS; empty if that is not known."""
    actions: Any = getattr(view, "actions", None)
    if isinstance(actions, dict):
        names = {str(name).upper() for name in actions}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    elif (kind := _class_of(view)) is not None:
        allowed: Any = getattr(kind, "http_method_names", ())
        names = {name.upper() for name in allowed if hasattr(kind, name)}
    elif operations := _operations(view):
        names = {method.upper() for each in operations for method in each.methods}
    else:
        names = _required(view)
    return frozenset(names - {"HEAD", "OPTIONS"})


def serves_files(view: Any) -> bool:
    """Whether a view is the one by which Django serves files."""
    for each in _wrapped(view):
        if getattr(each, "__module__", "") in _STATIC and each.__name__ == "serve":
            return True
    return False


def _answering(view: Any, method: str) -> Iterator[object]:
    """The objects that may carry a mark: the view, its class, that class's methods."""
    name = method.lower()
    for operation in _operations(view):
        if method in operation.methods or (method == "HEAD" and "GET" in operation.methods):
            yield operation.view_func
    yield view
    kind = _class_of(view)
    if kind is None:
        return
    actions: Any = getattr(view, "actions", None)
    if isinstance(actions, dict):
        name = actions.get(name) or (name == "head" and actions.get("get")) or name  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
    elif name == "head" and not hasattr(kind, name):
        name = "get"
    # The method says it more exactly than the class.
    yield getattr(kind, str(name), None)  # pyright: ignore[reportUnknownArgumentType]
    yield getattr(kind, "dispatch", None)
    yield kind


def _class_of(view: Any) -> Any:
    """The class of a class-based view. The view sets of Django REST framework call it `cls`."""
    return getattr(view, "view_class", None) or getattr(view, "cls", None)


def _operations(view: Any) -> list[Any]:
    """The operations of a path of Django Ninja, whose view is a function that knows them."""
    for cell in getattr(view, "__closure__", None) or ():
        try:
            found: Any = getattr(cell.cell_contents, "operations", None)
        except ValueError:
            continue  # an empty cell
        if not isinstance(found, list):
            continue
        operations = list[Any](found)  # pyright: ignore[reportUnknownArgumentType]
        if operations and all(
            hasattr(each, "view_func") and hasattr(each, "methods") for each in operations
        ):
            return operations
    return []


def _required(view: Any) -> set[str]:
    """The methods that `require_http_methods` and its like allow."""
    for each in _wrapped(view):
        code: Any = getattr(each, "__code__", None)
        names: tuple[str, ...] = getattr(code, "co_freevars", ())
        if "request_method_list" in names:
            cell = each.__closure__[names.index("request_method_list")]
            return {str(name).upper() for name in cell.cell_contents}
    return set()


def _wrapped(view: Any) -> Iterator[Any]:
    for _ in range(_DEEPEST_WRAPPING):
        if view is None:
            return
        yield view
        view = getattr(view, "__wrapped__", None)
