"""The body of a WSGI request, watched: the time of its client, and what it fails by.

A request that did not come as it was announced is its client's fault, and what the handler makes of it
says nothing about the handler. It shows in three ways: the server raises while the body is read; the
body ends before its announced length, where some servers only return less than was asked for; the
announced length is no number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from io import BytesIO
from typing import Any, cast

from recloser._http.client_waits import ClientPermit
from recloser._http.stand_in import StandIn

_INPUT = "wsgi.input"
_READS = frozenset(
    {"next", "peek", "read", "read1", "readall", "readinto", "readinto1", "readline", "readlines"}
)
_OWN = frozenset({"_input", "_permit"})
# What a class must have itself, because it is not looked up on an instance.
_SPECIAL = frozenset(
    {"__enter__", "__exit__", "__iter__", "__next__", "__len__", "__bool__", "__getitem__"}
)


# Reads that return less than they were asked for only at the end of the body.
_WHOLE = frozenset({"read", "readall", "readlines"})
_LINES = frozenset({"__next__", "next", "readline"})
_MOST_DIGITS = 18


class InputPermit(ClientPermit):
    """The permit of a request whose body is watched.

    Attributes:
        is_cut: Whether the server could not receive the body: the client has left, or has sent what
            is none. Not set before.
        length: Its announced length, as it was sent; not set if the request has no body, and "" if
            no length was announced.
        received: How many bytes of it have been read; not set if it is not watched.
        ran_out: Whether the last read has shown that no more will come; set with `received`.
    """

    __slots__ = ("is_cut", "length", "ran_out", "received")

    is_cut: bool
    length: str
    ran_out: bool
    received: int

    @property
    def client_failed(self) -> bool:
        """Whether the request could not be received: what the handler does then says nothing."""
        if getattr(self, "is_cut", False):
            return True
        length = getattr(self, "length", "")
        if not length:
            return False
        if not (length.isascii() and length.isdigit() and len(length) <= _MOST_DIGITS):
            return True
        return getattr(self, "ran_out", False) and self.received < int(length)

    def note_read(self, name: str, asked: object, got: Any) -> None:
        """Count what was read of a body whose length is known.

        Args:
            name: The method that read it.
            asked: Its argument: as a rule for how many bytes it was asked.
            got: What it returned.
        """
        if not self.length or name == "peek" or asked == 0:
            return
        if isinstance(got, int):
            size = got
        else:
            pieces = cast("list[bytes]", got if isinstance(got, list) else [got])
            size = sum(map(len, pieces))
        self.received += size
        is_less = not isinstance(asked, int) or asked < 0 or size < asked
        if name in _LINES:
            self.ran_out = is_less and not cast("bytes", got).endswith(b"\n")
        else:
            self.ran_out = is_less if name in _WHOLE else not size


def _read(permit: InputPermit, method: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """Read from the client. What the server raises here is the client's fault, and so is the time."""
    if not permit.token:
        return method(*args, **options)
    permit.wait()
    try:
        got = method(*args, **options)
    except StopIteration:
        permit.ran_out = True
        raise
    except TypeError:
        raise  # a mistake of the handler
    except Exception:
        permit.is_cut = True
        raise
    finally:
        permit.go_on()
    try:
        asked = args[0] if args else next(iter(options.values()), None)
        permit.note_read(getattr(method, "__name__", ""), asked, got)
    except Exception as error:  # an input that returns something unusual
        permit.breaker.fault("input", error)
    return got


class _Reading(StandIn):
    """A method of the input that reads. Otherwise it is like that method."""

    __slots__ = ("__weakref__", "_method", "_permit")

    def __init__(self, permit: InputPermit, method: Callable[..., Any]) -> None:
        self._method = method
        self._permit = permit

    def __call__(self, *args: Any, **options: Any) -> Any:
        return _read(self._permit, self._method, *args, **options)

    @property  # type: ignore[misc]
    def __class__(self) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        return self._method.__class__

    def __getattr__(self, name: str) -> Any:
        return getattr(self._method, name)

    def __repr__(self) -> str:
        return repr(self._method)

    def _stands_for(self) -> Any:
        return self._method


class _Lines:
    """An iteration over the lines of an input that is no iterator itself."""

    __slots__ = ("_next", "_permit")

    def __init__(self, permit: InputPermit, lines: Iterator[Any]) -> None:
        self._next = lines.__next__
        self._permit = permit

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        return _read(self._permit, self._next)


class WatchedInput(StandIn):
    """An input whose reads are watched. All else it asks of the input inside, even its class.

    Special methods are in a subclass for each class of inputs, see `_class_for`, so that it can do
    what the input inside can do, and no more.
    """

    __slots__ = ("__weakref__", "_input", "_permit")

    _input: Any
    _permit: InputPermit

    @property  # type: ignore[misc]
    def __class__(self) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        return self._input.__class__

    def __getattr__(self, name: str) -> Any:
        if name in _OWN:
            raise AttributeError(name)
        found = getattr(self._input, name)
        return _Reading(self._permit, found) if name in _READS else found

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._input, name, value)

    def __delattr__(self, name: str) -> None:
        delattr(self._input, name)

    def __dir__(self) -> list[str]:
        return dir(self._input)

    def __repr__(self) -> str:
        return repr(self._input)

    def _stands_for(self) -> Any:
        return self._input


_set_input: Any = WatchedInput.__dict__["_input"].__set__
_set_permit: Any = WatchedInput.__dict__["_permit"].__set__


def _special(name: str) -> Callable[..., Any]:
    """A special method that asks the input inside."""

    def ask(self: WatchedInput, *args: Any) -> Any:
        inside: object = self._input
        method = getattr(type(inside), name)
        found = method(self._input, *args)
        # `with` and `for` give the input itself, as a rule.
        return self if found is self._input else found

    def step(self: WatchedInput) -> Any:
        return _read(self._permit, self._input.__next__)

    def lines(self: WatchedInput) -> Any:
        found = iter(self._input)
        return self if found is self._input else _Lines(self._permit, found)

    return {"__next__": step, "__iter__": lines}.get(name, ask)


# Classes of watched inputs by the class of the input: a server has one or two.
_classes: dict[type, type[WatchedInput]] = {}
_MAX_CLASSES = 64


def _class_for(kind: type) -> type[WatchedInput]:
    methods: dict[str, Any] = {name: _special(name) for name in _SPECIAL if hasattr(kind, name)}
    made: type[WatchedInput] = type("WatchedInput", (WatchedInput,), {"__slots__": (), **methods})
    if len(_classes) < _MAX_CLASSES:
        _classes[kind] = made
    return made


def watch_input(environ: dict[str, Any], permit: InputPermit) -> None:
    """Watch the body of a request that may have one.

    Args:
        environ: Of the request; its `wsgi.input` is replaced. One that is in memory is not.
        permit: The permit of the request.
    """
    length = environ.get("CONTENT_LENGTH")
    if (not length or length == "0") and "HTTP_TRANSFER_ENCODING" not in environ:
        return
    permit.length = length if isinstance(length, str) else ""
    permit.received = 0
    stream: object = environ.get(_INPUT)
    kind = type(stream)
    if stream is None or kind is BytesIO:
        return
    try:
        watched = object.__new__(_classes.get(kind) or _class_for(kind))
    except Exception as error:  # a class that is none of the usual ones
        permit.breaker.fault("input", error)
        return
    _set_input(watched, stream)
    _set_permit(watched, permit)
    environ[_INPUT] = watched
