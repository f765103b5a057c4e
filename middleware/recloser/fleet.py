"""Fleet: what the workers of a fleet share, for those who write a store of their own."""

from __future__ import annotations

from recloser._fleet.store import Fact, News, Store, StoreError

__all__ = ["Fact", "News", "Store", "StoreError"]
