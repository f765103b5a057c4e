"""The httpx adapter; what it shares with every client is in `tests/contract/outbound`."""

from __future__ import annotations

from tests.support.httpx_promises import HttpxPromises


class TestAdapter(HttpxPromises):
    library = "httpx"
