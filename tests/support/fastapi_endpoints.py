"""Endpoints for FastAPI, and its test client."""

from __future__ import annotations

import warnings

from fastapi import Request, Response

with warnings.catch_warnings():
    # Which HTTP client it wants depends on its version, and it says so.
    warnings.simplefilter("ignore")
    from fastapi.testclient import TestClient as TestClient


async def page() -> dict[str, str]:
    return {"hello": "world"}


async def plain(request: Request) -> Response:
    return Response("plain")
