"""The store of a fleet, for who writes an engine: what its workers share, as a protocol."""

from __future__ import annotations

from recloser._fleet.store import Fact, News, Store, StoreError

__all__ = ["Fact", "News", "Store", "StoreError"]
