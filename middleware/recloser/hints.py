"""Sentences for mistakes that are made at construction: each says what to write instead.

For who writes an adapter; the core uses them, too. What is no mistake for sure is let through.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any, Literal, TypeVar, cast

__all__ = [
    "belong",
    "check_app",
    "check_function",
    "check_registry",
    "instead",
    "knows_fields",
    "knows_names",
    "meant",
    "no_setting",
    "wrong",
]

ClassT = TypeVar("ClassT", bound=type)
FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])

# Settings of one object that are often given to another: where each belongs.
_BELONGS: dict[str, str] = {}
# How similar a name must be to be meant. At 0.6, the default of difflib, `on_error` is `sse_errors`.
_CLOSE = 0.7
# More names than these are not listed in a message.
_MOST_NAMES = 16

# What is wanted, and a class that the given value is of, by its name: what to write instead.
_INSTEAD = {
    ("Registry", "Policy"): "write Registry(policy)",
    ("Registry", "Mapping"): "write Registry(Policy(...))",
    ("Registry", "Breaker"): "write the registry itself, not one breaker of it",
    ("Registry", "str"): "write Registry()",
    ("Registry", "function"): "the app or client comes first, and the registry after it",
    ("Policy", "Mapping"): "write Policy(**settings)",
    ("Policy", "Registry"): "write registry[key] for a breaker with its policy",
    ("Policy", "str"): "write registry[key] for the breaker of a key",
    ("str", "function"): "write the key first, such as @Breaker('payments')",
    ("str", "Policy"): "write the key first: Breaker('payments', policy)",
    ("Failover", "list"): "write Failover(registry, providers)",
    ("Failover", "BaseTransport"): "the transport comes first, and the failover after it",
    ("Failover", "AsyncBaseTransport"): "the transport comes first, and the failover after it",
    ("Failover", "Registry"): "write Failover(registry, providers)",
    ("Session", "Registry"): "the session comes first, and the registry after it",
    ("Session", "HTTPAdapter"): "write BreakerAdapter(adapter) to guard an adapter",
    ("Session", "Client"): "import the module of recloser_adapters that is named like its library",
    (
        "Session",
        "AsyncClient",
    ): "import the module of recloser_adapters that is named like its library",
    ("adapter", "Session"): "write wrap_session(session) to guard a session",
    ("adapter", "Registry"): "the adapter comes first, and the registry after it",
    ("application", "Registry"): "write Recloser(app, registry)",
    ("application", "method"): "write Recloser(app), not Recloser(app.wsgi_app)",
    ("application", "function"): "write Recloser(app), not Recloser(app.wsgi_app)",
    ("application", "Starlette"): "use recloser_adapters.starlette for it",
    ("app", "Registry"): "write the app first, and the registry after it",
    ("app", "Policy"): "write the app first, and then registry=Registry(policy)",
    ("function", "Breaker"): "write the key, such as breaker.key",
}


def meant(name: object, known: Iterable[str], *, at_least: float = _CLOSE) -> str:
    """The end of a message about an unknown name: `: did you mean 'x'?`, or "" if none is close.

    Args:
        name: What was given.
        known: The names that exist.
        at_least: How similar a name must be, 0.0-1.0; see `difflib.get_close_matches`.
    """
    close = _closest(name, known, at_least)
    return f": did you mean {close!r}?" if close else ""


def _closest(name: object, known: Iterable[str], at_least: float = _CLOSE) -> str:
    # Imported at the first mistake, to keep the import of recloser fast.
    from difflib import get_close_matches

    said = str(name).lower().replace("-", "_")
    by_lower = {each.lower(): each for each in known}
    close = get_close_matches(said, by_lower, n=1, cutoff=at_least)
    return by_lower[close[0]] if close else ""


def belong(names: Iterable[str], where: str) -> None:
    """Note where settings belong, for messages about those that are given to something else.

    Args:
        names: The names of the settings.
        where: What to write, with `{}` for the name, such as `Registry(Policy({}=...))`.
    """
    for name in names:
        _BELONGS.setdefault(name, where.format(name))


def no_setting(what: str, name: str, known: Iterable[str]) -> TypeError:
    """The error for a keyword argument that does not exist.

    Args:
        what: What was made or called, such as `Registry`; or "" for any client.
        name: The name that was given.
        known: The names that exist.
    """
    known = [*known]
    head = f"{what} has no setting {name!r}" if what else f"unexpected keyword argument {name!r}"
    hint = "" if name in _BELONGS else meant(name, known)
    belongs = "" if hint else _closest(name, _BELONGS)
    if belongs:
        hint = f": write {_BELONGS[belongs]}"
    if not hint and len(known) > _MOST_NAMES:
        hint = f": help({what}) lists all settings"
    return TypeError(head + (hint or f": the settings are {', '.join(sorted(known))}"))


def knows_names(make: FunctionT) -> FunctionT:
    """Let a function, or the `__init__` of a class, say what to write if its arguments do not fit.

    Python itself says only that one is unexpected or missing. The types stay as they are.
    """
    form = _Form(make)

    @functools.wraps(make)
    def named(*args: Any, **settings: Any) -> Any:
        if not (form.least <= len(args) <= form.most and settings.keys() <= form.takes):
            form.check(args, settings)
        return make(*args, **settings)

    return cast("FunctionT", named)


class _Form:
    """Which arguments a function takes, and the errors for those that it does not.

    Args:
        make: The function.

    Attributes:
        takes: The names of its arguments.
        least: How many of them have no default.
        most: How many may be given without their names.
    """

    def __init__(self, make: Callable[..., Any]) -> None:
        parameters = inspect.signature(make).parameters.values()
        by_place = [each for each in parameters if each.kind is each.POSITIONAL_OR_KEYWORD]
        self.takes = frozenset(each.name for each in parameters)
        self.least = sum(each.default is each.empty for each in by_place)
        self.most = len(by_place)
        self._is_open = any(each.kind is each.VAR_KEYWORD for each in parameters)
        self._method = by_place[0].name == "self"
        self._required = [each.name for each in by_place[: self.least] if each.name != "self"]
        self._make = make

    def check(self, args: tuple[Any, ...], settings: dict[str, Any]) -> None:
        """Raise the error for arguments that do not fit, if they do not."""
        is_class = self._make.__name__ == "__init__"
        what = type(args[0]).__name__ if is_class else self._make.__name__
        if not self._is_open:
            known = sorted(n for n in self.takes if n != "self" and not n.startswith("_"))
            for name in settings:
                if name not in self.takes:
                    raise no_setting(what if is_class else f"{what}()", name, known)
        given = len(args) - self._method
        if len(args) > self.most:
            raise TypeError(
                f"{what} takes {self.most - self._method} positional arguments, not {given}: write "
                "name=value"
            )
        missing = [each for each in self._required[given:] if each not in settings]
        if missing:
            raise TypeError(
                f"{what} needs {' and '.join(missing)}: write {what}({', '.join(self._required)})"
            )


def knows_fields(kind: ClassT) -> ClassT:
    """`knows_names` for a dataclass."""
    setattr(kind, "__init__", knows_names(vars(kind)["__init__"]))  # noqa: B010 - no valid type else
    return kind


def instead(wanted: str, given: object) -> str:
    """The end of a message about a value of the wrong kind: what to write instead, or ""."""
    wanted = wanted.rpartition(".")[2].removeprefix("Client")
    if isinstance(given, type):
        name = given.__name__
        is_meant = name.removeprefix("Client") == wanted or wanted.islower()
        return f": write {name}(...), with parentheses" if is_meant else ""
    if inspect.iscoroutine(given):
        return ": write the function itself, without parentheses"
    kinds = [kind.__name__ for kind in type(given).__mro__]
    if isinstance(given, dict):
        kinds.append("Mapping")
    for kind in kinds:
        if (wanted, kind) in _INSTEAD:
            return f": {_INSTEAD[wanted, kind]}"
    return ""


def wrong(name: str, wanted: str, given: object) -> TypeError:
    """The error for an argument of the wrong kind.

    Args:
        name: The argument.
        wanted: The class that it must be of, with or without an article: `a Registry`.
        given: The value.
    """
    return TypeError(f"{name} must be {wanted}, not {given!r}{instead(wanted.split()[-1], given)}")


def check_registry(registry: object, kind: type) -> None:
    """Check that an argument is a registry.

    Raises:
        TypeError: It is none.
    """
    if not isinstance(registry, kind):
        raise wrong("registry", "a Registry", registry)


def check_function(name: str, function: object, wanted: str = "a function") -> None:
    """Check that an argument is a plain function, or another object that can be called.

    Raises:
        TypeError: It cannot be called, or it is a coroutine function: nobody would await what it
            returns, and a coroutine counts as true.
    """
    if not callable(function):
        raise TypeError(f"{name} must be {wanted}, not {function!r}{instead('function', function)}")
    if _is_async(function):
        raise TypeError(
            f"{name} must be a plain function, not the async {function!r}: write def, not async def"
        )
    hint = "" if isinstance(function, type) else instead("function", function)
    if hint:  # a breaker can be called, but it would take the argument for a function
        raise TypeError(f"{name} must be {wanted}, not {function!r}{hint}")


def _is_async(function: object) -> bool:
    target: Any = function
    while isinstance(target, functools.partial):
        target = target.func
    return inspect.iscoroutinefunction(target) or (
        not inspect.isroutine(target)
        and not isinstance(target, type)
        and inspect.iscoroutinefunction(type(target).__call__)
    )


# How many arguments an app takes, and what makes instances of a class an app of the protocol: such a
# class is itself an app.
_ARGUMENTS = {"ASGI": 3, "WSGI": 2}
_MADE_PER_REQUEST = {"ASGI": ("__await__",), "WSGI": ("__iter__", "__getitem__", "__next__")}


def check_app(name: str, protocol: Literal["ASGI", "WSGI"], app: object) -> None:
    """Check that an argument is an app, as far as that can be told without calling it.

    Args:
        name: The argument.
        protocol: Which kind of app it must be.
        app: The value.

    Raises:
        TypeError: It cannot be called, is a class whose instances are the apps, or is an app of the
            other protocol.
    """
    must = f"{name} must be {'an ASGI' if protocol == 'ASGI' else 'a WSGI'} app, not"
    if isinstance(app, type):
        if not _may_be_app(app, protocol):
            raise TypeError(f"{must} the class {app.__name__}: write {app.__name__}(...)")
        return
    if not callable(app):
        raise TypeError(f"{must} {app!r}{instead('app', app)}")
    other: Literal["ASGI", "WSGI"] = "WSGI" if protocol == "ASGI" else "ASGI"
    is_async = _is_async(app)
    if (
        is_async is (other == "ASGI")
        and _takes(app, _ARGUMENTS[other])
        and not _takes(app, _ARGUMENTS[protocol])
    ):
        raise TypeError(
            f"{must} the {other} app {app!r}: use BreakerMiddleware of recloser.{other.lower()}, or "
            "the adapter of its framework"
        )
    if protocol == "WSGI" and is_async:
        raise TypeError(f"{must} the async {app!r}: write def, not async def")


def _may_be_app(kind: type, protocol: str) -> bool:
    """Whether a class may be an app itself, because what it makes is the answer."""
    made = any(hasattr(kind, each) for each in _MADE_PER_REQUEST[protocol])
    # A class may make something else than its instances.
    return made or "__new__" in _names_of(kind) or "__call__" in _names_of(type(kind))


def _names_of(kind: type) -> set[str]:
    """What a class and its bases define, other than the most general ones."""
    return {name for each in kind.__mro__ if each not in (object, type) for name in vars(each)}


def _takes(app: Callable[..., Any], count: int) -> bool:
    """Whether an app can be called with so many arguments; True if that is not known."""
    try:
        # A decorator may have taken over the name and signature of what it wraps.
        signature = inspect.signature(app, follow_wrapped=False)
    except (TypeError, ValueError):
        return True
    try:
        signature.bind(*(None,) * count)
    except TypeError:
        return False
    return True
