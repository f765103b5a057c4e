"""Redis and Valkey: a store for the workers of a fleet, on one host or on many.

from recloser import Registry
from recloser_adapters.redis import RedisStore

registry = Registry(store=RedisStore("redis://cache:6379/0"))
"""

from __future__ import annotations

from recloser_adapters.redis._store import RedisStore

__all__ = ["RedisStore"]
