"""Endpoints, routes and mounts that are marked as exempt or with a key."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from tests.support.asgi_scope import scope_of
from tests.support.starlette_endpoints import page

from recloser_adapters.starlette import RouteKeys, exempt, keyed


def test_exempt_and_keyed_endpoints_are_so_in_whatever_form_they_come() -> None:
    class Exempt(HTTPEndpoint):
        pass

    class Methodical(HTTPEndpoint):
        @exempt
        async def get(self, request: Request) -> Response:
            return await page(request)

        @keyed("payments")
        async def post(self, request: Request) -> Response:
            return await page(request)

        async def put(self, request: Request) -> Response:
            return await page(request)

    class Methods:
        @exempt
        async def hidden(self, request: Request) -> Response:
            return await page(request)

    async def plain(request: Request) -> Response:
        return await page(request)

    keys = RouteKeys(
        routes=[
            Route("/function", exempt(plain)),
            Route("/class", exempt(Exempt)),
            Route("/methodical", Methodical),
            Route("/partial", exempt(partial(page))),
            Route("/method", Methods().hidden),
            Route("/keyed/{id}", keyed("payments")(partial(page))),
            Mount("/mounted", exempt(Starlette(routes=[Route("/inside", page)]))),
        ]
    )

    exempted = ["/function", "/class", "/partial", "/method", "/mounted/inside", "/mounted/none"]
    assert [keys(scope_of(path)) for path in exempted] == [None] * len(exempted)
    assert keys(scope_of("/keyed/1")) == "payments"
    by_method = [keys(scope_of("/methodical", method)) for method in ("GET", "HEAD", "POST", "PUT")]
    assert by_method == [None, None, "payments", "PUT /methodical"]


@pytest.mark.parametrize("key", ["", 7, None])
def test_a_key_that_is_no_name_is_an_error_at_once(key: Any) -> None:
    with pytest.raises(ValueError, match="key must be a non-empty str"):
        keyed(key)
