"""What the adapters share for bodies that are cut off."""

from __future__ import annotations

import sys

HOPELESS = "no piece of the answer for so long that it is hopeless to wait for one"
"""The message of the time-out error for a stream that has stalled."""


def runs_asyncio() -> bool:
    """Whether this code runs in an asyncio event loop, and not in one of trio."""
    # Not imported: a program with an asyncio event loop has imported it already.
    asyncio = sys.modules.get("asyncio")
    return asyncio is not None and asyncio._get_running_loop() is not None
