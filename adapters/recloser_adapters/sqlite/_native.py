"""Native: what gevent may have replaced, as it was.

The thread that uses a store is one of the operating system, also under gevent. There the functions
that gevent puts in their place would wait for an event loop that does not run.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any


def native(module: str, name: str) -> Any:
    """A name of a module of the standard library, as it was before gevent."""
    monkey = sys.modules.get("gevent.monkey")
    if monkey is not None:
        return monkey.get_original(module, name)
    return getattr(import_module(module), name)
