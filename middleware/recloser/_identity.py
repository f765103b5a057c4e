"""What a pickled registry or breaker is in another process, and in its own.

A breaker is about calls that its own process makes, and holds a lock. So what is sent to another
process is its settings: there it begins fresh. A function that is guarded by it may be sent there
with every task, as Spark, Dask and Ray do. So all that was sent of one registry is one registry
there, for as long as it is used, and the last few that were sent also in between. Back in its own
process it is the one that was sent.
"""

from __future__ import annotations

import os
from typing import Any, TypeVar
from weakref import WeakKeyDictionary, WeakValueDictionary

from recloser._locks import new_lock, within

T = TypeVar("T")

# So many that came from other processes are kept, the latest ones.
_KEPT = 16
_names: WeakKeyDictionary[Any, str] = WeakKeyDictionary()
_things: WeakValueDictionary[str, Any] = WeakValueDictionary()
_latest: dict[str, Any] = {}
_lock = new_lock()


def reduced(thing: object, settings: dict[str, Any]) -> tuple[Any, ...]:
    """What `__reduce__` of a registry or breaker returns.

    Args:
        thing: The registry or breaker.
        settings: The arguments with which another one like it is made.
    """
    return restored, (type(thing), within(_lock, _name_of, thing), settings)


def _name_of(thing: object) -> str:
    name = _names.get(thing)
    if name is None:
        name = _names[thing] = os.urandom(16).hex()
        _things[name] = thing
    return name


def restored(kind: type[T], name: str, settings: dict[str, Any]) -> T:
    """The registry or breaker that has a name in this process; it is made where there is none."""
    return within(_lock, _find, kind, name, settings)


def _find(kind: type[T], name: str, settings: dict[str, Any]) -> T:
    thing: T | None = _things.get(name)
    if thing is None:
        thing = _things[name] = kind(**settings)
        _names[thing] = name
        _latest[name] = thing
    if name in _latest:
        _latest[name] = _latest.pop(name)
        if len(_latest) > _KEPT:
            del _latest[next(iter(_latest))]
    return thing


def _after_fork() -> None:
    global _lock
    _lock = new_lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
