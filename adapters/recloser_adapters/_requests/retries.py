"""The sleep between two attempts of urllib3 in one call. It is not the time of the host.

`HTTPAdapter(max_retries=Retry(...))` sleeps for a Retry-After or a backoff within `send`. There is no
hook for that, so the `Retry` of the adapter becomes one that tells of its sleep.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

from recloser_adapters._outbound.permit import CallPermit


class _Current(threading.local):
    """The permit of the call that this thread makes."""

    permit: CallPermit | None = None


_current = _Current()
# The class that tells of its sleep, by the class of the user's `Retry`.
_kinds: dict[type[Any], type[Any]] = {}


def tells(adapter: object) -> bool:
    """Make the retries of an adapter tell of their sleep; return whether there are any."""
    retries: Any = getattr(adapter, "max_retries", None)
    if retries is None or not getattr(retries, "total", 0) or not hasattr(retries, "sleep"):
        return False
    kind: type[Any] = retries.__class__
    if kind not in _kinds.values():
        told = retries.new()
        told.__class__ = _kinds.get(kind) or _kinds.setdefault(kind, _telling(kind))
        adapter.max_retries = told  # type: ignore[attr-defined]
    return True


@contextmanager
def sleeping_for(permit: CallPermit) -> Generator[None]:
    """Take the sleep of this thread from the latency of a call."""
    before, _current.permit = _current.permit, permit
    try:
        yield
    finally:
        _current.permit = before


def _telling(kind: type[Any]) -> type[Any]:
    def sleep(self: Any, *args: Any, **kwargs: Any) -> Any:
        permit = _current.permit
        original: Callable[..., Any] = kind.sleep
        if permit is None:
            return original(self, *args, **kwargs)
        clock = permit.breaker.clock
        began = clock()
        permit.wait()
        try:
            return original(self, *args, **kwargs)
        finally:
            permit.go_on(clock() - began)

    def reduce(self: Any, protocol: Any) -> Any:
        # A copy is one of the user's class, which can be imported.
        return _plain, (kind, vars(self))

    return type(kind.__name__, (kind,), {"sleep": sleep, "__reduce_ex__": reduce})


def _plain(kind: type[Any], attributes: dict[str, Any]) -> Any:
    """A `Retry` of the user's class."""
    retries: Any = object.__new__(kind)
    retries.__dict__.update(attributes)
    return retries
