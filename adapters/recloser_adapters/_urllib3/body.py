"""The body of a response of urllib3, watched while it is read.

requests and botocore hand it on to their users, so their adapters use this, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Self, TypeVar

from urllib3.exceptions import ReadTimeoutError

from recloser_adapters._outbound.body import AnyBodyWatch
from recloser_adapters._outbound.cut_off import HOPELESS

T = TypeVar("T")

# The first two mean that our own pool is full or closed. The third means that the body cannot be
# decoded.
_LOCAL_NAMES = frozenset({"EmptyPoolError", "ClosedPoolError", "DecodeError"})


def is_local(error: BaseException) -> bool:
    """Whether an error of urllib3 was not caused by the host."""
    return any(kind.__name__ in _LOCAL_NAMES for kind in type(error).__mro__)


def watch_body(raw: object, watch: AnyBodyWatch) -> Any:
    """Wrap a response of urllib3, or any file, so that a watch is told what happens to its body."""
    # The slots are set directly, because the wrapper's `__setattr__` sets the attributes of the
    # wrapped response. An `__init__` would double the time.
    kind = type(raw)
    watched = _new(_kinds.get(kind) or _kind_for(kind))
    _set_raw(watched, raw)
    _set_watch(watched, watch)
    return watched


def _kind_for(kind: type[Any]) -> type[_Watched]:
    """A class whose responses have the methods that those of `kind` have, and no others.

    requests asks the response whether it has a method. What other adapters give it may be any file.
    """
    if len(_kinds) >= _MOST_KINDS:
        _kinds.clear()  # somebody makes a class for each response
    methods = {name: method for name, method in _METHODS.items() if hasattr(kind, name)}
    made: type[_Watched] = _WatchedResponse
    if len(methods) < len(_METHODS):
        made = type("_WatchedResponse", (_Watched,), {"__slots__": (), **methods})
    _kinds[kind] = made
    return made


class _Watched:
    """What every watched response has, whatever the methods of the wrapped one."""

    __slots__ = ("__weakref__", "_raw", "_watch")

    _raw: Any
    _watch: AnyBodyWatch

    def __getattr__(self, name: str) -> Any:
        return getattr(self._raw, name)

    def __setattr__(self, name: str, value: object) -> None:
        setattr(self._raw, name, value)

    def __delattr__(self, name: str) -> None:
        delattr(self._raw, name)

    def __dir__(self) -> list[str]:
        return dir(self._raw)

    def __repr__(self) -> str:
        return repr(self._raw)

    @property
    def __class__(self) -> type[Any]:
        # isinstance() must accept the wrapper as a response of urllib3.
        kind: type[Any] = self._raw.__class__
        return kind

    @__class__.setter
    def __class__(self, kind: type) -> None:
        raise TypeError("the class of a watched response cannot be changed")

    def _read(self, read: Callable[..., bytes], *args: Any, **kwargs: Any) -> bytes:
        data = self._told(read, bytes, *args, **kwargs)
        if not data and args[:1] != (0,):
            self._watch.eof()  # a file does not close itself at its end
        return data

    def _told(
        self, read: Callable[..., T], data_of: Callable[[T], bytes], *args: Any, **kwargs: Any
    ) -> T:
        """Read, and tell the watch of what has come."""
        self._watch.asked()
        try:
            result = read(*args, **kwargs)
        except StopIteration:
            self._watch.eof()
            raise
        except BaseException as error:
            self._watch.failed(error, local=is_local(error))
            raise
        self._saw(data_of(result))
        return result

    def _saw(self, data: bytes) -> None:
        if data:
            self._watch.chunk(data)
        # http.client closes its file after the last byte.
        if self._raw.closed:
            self._watch.eof()

    def _each(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        watch = self._watch
        try:
            yield from watch.watched(chunks)
        except GeneratorExit:
            watch.closed()
            raise
        except BaseException as error:
            watch.failed(error, local=is_local(error))
            raise
        watch.eof()


class _WatchedResponse(_Watched):
    """A urllib3 response that tells a watch of its body, and passes on everything else."""

    __slots__ = ()

    # The defaults are those of urllib3. `*args, **kwargs` would cost 200 ns per body.
    def stream(
        self, amt: int | None = 65536, decode_content: bool | None = None
    ) -> Iterator[bytes]:
        """Yield the body in pieces. requests reads the body with this method."""
        watch = self._watch
        try:
            chunks = watch.watched(self._raw.stream(amt, decode_content))
            if watch.cuts_off:
                chunks = _in_time(chunks, watch)
            yield from chunks
        except GeneratorExit:
            watch.closed()
            raise
        except BaseException as error:
            watch.failed(error, local=is_local(error))
            raise
        watch.eof()

    def read(self, *args: Any, **kwargs: Any) -> bytes:
        """Read the whole body or a part of it."""
        if self._watch.cuts_off and not args and kwargs.get("amt") is None:
            return _read_in_time(self, **kwargs)
        return self._read(self._raw.read, *args, **kwargs)

    def read1(self, *args: Any, **kwargs: Any) -> bytes:
        """Read what has arrived."""
        return self._read(self._raw.read1, *args, **kwargs)

    def readline(self, *args: Any, **kwargs: Any) -> bytes:
        """Read a line."""
        return self._read(self._raw.readline, *args, **kwargs)

    def readlines(self, *args: Any) -> list[bytes]:
        """Read all lines, or some."""
        return self._told(self._raw.readlines, b"".join, *args)

    def read_chunked(self, *args: Any, **kwargs: Any) -> Iterator[bytes]:
        """Yield the chunks of a body as they were sent."""
        yield from self._each(self._raw.read_chunked(*args, **kwargs))

    def drain_conn(self) -> None:
        """Read the rest, and drop it."""
        self._told(self._raw.drain_conn, lambda nothing: b"")
        self._watch.eof()

    @property
    def data(self) -> bytes:
        """The whole body."""
        if self._watch.cuts_off and not self._raw.closed:
            return _read_in_time(self, cache_content=True)
        return self._read(lambda: self._raw.data)

    def json(self) -> Any:
        """The whole body as JSON. Older versions of urllib3 have no such method."""
        self._told(lambda: self._raw.data, bytes)
        return self._raw.json()

    def readinto(self, buffer: Any) -> int:
        """Read into a buffer."""
        count: int = self._told(self._raw.readinto, lambda count: bytes(buffer[:count]), buffer)
        return count

    def __iter__(self) -> Iterator[bytes]:
        return self._each(iter(self._raw))

    def __next__(self) -> bytes:
        return self._read(self._raw.__next__)

    def close(self) -> None:
        """Close the body. This ends the call if it has not ended yet."""
        self._watch.closed()
        self._raw.close()

    def release_conn(self) -> None:
        """Release the connection. This ends the call if it has not ended yet."""
        self._watch.closed()
        self._raw.release_conn()

    def __enter__(self) -> Self:
        self._raw.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _read_in_time(
    body: Any, amt: None = None, decode_content: bool | None = None, cache_content: bool = False
) -> bytes:
    """Read a whole body in pieces, because between them it is seen that a stream has stalled."""
    data = b"".join(body.stream(decode_content=decode_content))
    if cache_content:
        body._body = data
    return data


def _in_time(chunks: Iterable[bytes], watch: AnyBodyWatch) -> Iterator[bytes]:
    """The chunks until one more piece is hopeless. The time-out of each read is set before."""
    for chunk in chunks:
        if not watch.patience:
            pool: Any = None  # it is named in the message only
            raise ReadTimeoutError(pool, "", HOPELESS)
        yield chunk


_METHODS = {
    name: it for name, it in vars(_WatchedResponse).items() if callable(it) or name == "data"
}
_MOST_KINDS = 64
_kinds: dict[type[Any], type[_Watched]] = {}
_new = object.__new__
_slots = vars(_Watched)
_set_raw: Callable[[_Watched, object], None] = _slots["_raw"].__set__
_set_watch: Callable[[_Watched, AnyBodyWatch], None] = _slots["_watch"].__set__
