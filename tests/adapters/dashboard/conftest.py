"""A dashboard, asked through either front end."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from tests.support.dashboard_client import PASSWORD, USER, Ask, Reply, ask_asgi, ask_wsgi, login

from recloser import Registry
from recloser_adapters.dashboard import Dashboard, basic


@pytest.fixture(params=["asgi", "wsgi"])
def front(request: pytest.FixtureRequest) -> Any:
    return {"asgi": ask_asgi, "wsgi": ask_wsgi}[request.param]


@pytest.fixture
def dashboard(registry: Registry) -> Iterator[Dashboard]:
    dashboard = Dashboard(registry, auth=basic({USER: PASSWORD, "guest": "look"}), operators=[USER])
    yield dashboard
    dashboard.close()


@pytest.fixture
def ask(front: Any, dashboard: Dashboard) -> Ask:
    """Asks the dashboard as a user who may act."""

    def ask(
        method: str,
        path: str,
        value: Any = None,
        *,
        to: Dashboard = dashboard,
        body: bytes = b"",
        client: str | None = "192.0.2.7",
        prefix: str = "/breakers",
        query: str = "",
        **headers: str | None,
    ) -> Reply:
        sent: dict[str, str | None] = {"Host": "shop.example", "Authorization": login()}
        if value is not None:
            body = json.dumps(value).encode()
        if method == "POST":
            sent["Content-Type"] = "application/json"
        sent |= {name.replace("_", "-").title(): value for name, value in headers.items()}
        given = {name: value for name, value in sent.items() if value is not None}
        return front(to, method, path, body, given, client, prefix, query)  # type: ignore[no-any-return]

    return ask


@pytest.fixture
def opened(registry: Registry, ask: Ask) -> str:
    """A key that was called once."""
    with registry["POST /payments"]:
        pass
    return "POST /payments"
