"""The body of a requests response, watched while it is read. It is a response of urllib3.

urllib3 is a dependency of requests and not of this package, so its errors are compared by name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Self

from recloser_adapters._outbound.body import AnyBodyWatch

# The first two mean that our own pool is full or closed. The third means that the body cannot be
# decoded.
_LOCAL_NAMES = frozenset({"EmptyPoolError", "ClosedPoolError", "DecodeError"})


def is_local(error: BaseException) -> bool:
    """Whether an error of urllib3 was not caused by the host."""
    return any(kind.__name__ in _LOCAL_NAMES for kind in type(error).__mro__)


def watch_body(raw: object, watch: AnyBodyWatch) -> Any:
    """Wrap a response of urllib3, so that a watch is told what happens to its body."""
    # The slots are set directly, because the wrapper's `__setattr__` sets the attributes of the
    # wrapped response. An `__init__` would double the time.
    watched = _new(_WatchedResponse)
    _set_raw(watched, raw)
    _set_watch(watched, watch)
    return watched


class _WatchedResponse:
    """A urllib3 response that tells a watch of its body, and passes on everything else."""

    __slots__ = ("_raw", "_watch")

    _raw: Any
    _watch: AnyBodyWatch

    def __getattr__(self, name: str) -> Any:
        return getattr(self._raw, name)

    def __setattr__(self, name: str, value: object) -> None:
        setattr(self._raw, name, value)

    @property
    def __class__(self) -> type[Any]:
        # isinstance() must accept the wrapper as a response of urllib3.
        kind: type[Any] = self._raw.__class__
        return kind

    @__class__.setter
    def __class__(self, kind: type) -> None:
        raise TypeError("the class of a watched response cannot be changed")

    # The defaults are those of urllib3. `*args, **kwargs` would cost 200 ns per body.
    def stream(
        self, amt: int | None = 65536, decode_content: bool | None = None
    ) -> Iterator[bytes]:
        """Yield the body in pieces. requests reads the body with this method."""
        watch = self._watch
        try:
            yield from watch.watched(self._raw.stream(amt, decode_content))
        except GeneratorExit:
            watch.closed()
            raise
        except BaseException as error:
            watch.failed(error, local=is_local(error))
            raise
        watch.eof()

    def read(self, *args: Any, **kwargs: Any) -> bytes:
        """Read the whole body or a part of it."""
        return self._read(self._raw.read, *args, **kwargs)

    def read1(self, *args: Any, **kwargs: Any) -> bytes:
        """Read what has arrived."""
        return self._read(self._raw.read1, *args, **kwargs)

    def readline(self, *args: Any, **kwargs: Any) -> bytes:
        """Read a line."""
        return self._read(self._raw.readline, *args, **kwargs)

    def _read(self, read: Callable[..., bytes], *args: Any, **kwargs: Any) -> bytes:
        try:
            data = read(*args, **kwargs)
        except BaseException as error:
            self._watch.failed(error, local=is_local(error))
            raise
        self._saw(data)
        return data

    def readinto(self, buffer: Any) -> int:
        """Read into a buffer."""
        try:
            count: int = self._raw.readinto(buffer)
        except BaseException as error:
            self._watch.failed(error, local=is_local(error))
            raise
        self._saw(bytes(buffer[:count]))
        return count

    def _saw(self, data: bytes) -> None:
        if data:
            self._watch.chunk(data)
        # http.client closes its file after the last byte.
        if self._raw.closed:
            self._watch.eof()

    def __iter__(self) -> Iterator[bytes]:
        watch = self._watch
        try:
            yield from watch.watched(iter(self._raw))
        except GeneratorExit:
            watch.closed()
            raise
        except BaseException as error:
            watch.failed(error, local=is_local(error))
            raise
        watch.eof()

    def close(self) -> None:
        """Close the body. This ends the call if it has not ended yet."""
        self._watch.closed()
        self._raw.close()

    def release_conn(self) -> None:
        """Release the connection. This ends the call if it has not ended yet."""
        self._watch.closed()
        self._raw.release_conn()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


_new = object.__new__
_slots = vars(_WatchedResponse)
_set_raw: Callable[[_WatchedResponse, object], None] = _slots["_raw"].__set__
_set_watch: Callable[[_WatchedResponse, AnyBodyWatch], None] = _slots["_watch"].__set__
