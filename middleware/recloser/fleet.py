"""Fleets: many workers that share what they know of each key through a store.

`Registry(store="recloser.db")` is all that is needed on one host, `Registry(store="redis://...")` beyond.
The names here are for those who write a store of their own, or a tool that shows a fleet.
"""

from recloser._fleet.fleet import Fleet
from recloser._fleet.memory import MemoryData, MemoryStore
from recloser._fleet.places import store_at
from recloser._fleet.status import FleetStatus, KeyStatus, WorkerStatus, read_status
from recloser._fleet.store import MAX_EPOCH, Fact, News, Store, StoreError

__all__ = [
    "MAX_EPOCH",
    "Fact",
    "Fleet",
    "FleetStatus",
    "KeyStatus",
    "MemoryData",
    "MemoryStore",
    "News",
    "Store",
    "StoreError",
    "WorkerStatus",
    "read_status",
    "store_at",
]
