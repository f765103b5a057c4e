"""Endpoints for FastAPI, and its test client."""

from __future__ import annotations

import warnings

from fastapi import Request, Response

with warnings.catch_warnings():
    # It warns, depending on its version, about the HTTP client that is installed.
    warnings.simplefilter("ignore")
    from fastapi.testclient import TestClient as TestClient


async def page() -> dict[str, str]:
    return {"hello": "world"}


async def plain(request: Request) -> Response:
    return Response("plain")
