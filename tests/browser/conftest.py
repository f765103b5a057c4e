"""A dashboard on a real server, and a real browser that shows it.

Screenshots are kept in the folder RECLOSER_SCREENSHOTS, by default in a temporary one.
"""

from __future__ import annotations

import os
import random
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright
from starlette.applications import Starlette
from starlette.responses import HTMLResponse
from starlette.routing import Mount, Route
from tests.support.waiting import until

from recloser import Breaker, Registry
from recloser.testing import ManualClock
from recloser_adapters.dashboard import Dashboard, basic

USERS = {"anna": "secret", "guest": "look"}
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
ODD_KEYS = [
    "<script>window.harmed = 1</script>",
    "<img src=x onerror='window.harmed = 1'>",
    "javascript:window.harmed=1",
    "a\u202egnissap",
    "x" * 10_000,
]

expect.set_options(timeout=10_000)


class Served:
    """An app on a real server in a thread."""

    def __init__(self, app: Any) -> None:
        config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error", lifespan="off")
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run)
        self._thread.start()
        until(lambda: self._server.started, "the server's start")
        self.port: int = self._server.servers[0].sockets[0].getsockname()[1]

    def stop(self) -> None:
        self._server.should_exit = True
        self._server.force_exit = True
        self._thread.join()


def call(breaker: Breaker, times: int = 1, *, bad: bool = False) -> None:
    """Make calls that end at once."""
    for _ in range(times):
        permit = breaker.try_acquire()
        if permit is not None:
            permit.failure("HTTP 502") if bad else permit.success()


@pytest.fixture
def registry() -> Registry:
    """On the real clock: it is seen in a browser, which has no other."""
    return Registry(max_keys=2000)


@dataclass
class Site:
    registry: Registry
    served: Served
    dashboard: Dashboard

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.served.port}/ops/breakers/"


@pytest.fixture
def site(registry: Registry) -> Iterator[Site]:
    dashboard = Dashboard(registry, auth=basic(USERS), operators=["anna"])
    served = Served(Starlette(routes=[Mount("/ops/breakers", dashboard)]))
    yield Site(registry, served, dashboard)
    served.stop()
    dashboard.close()


@pytest.fixture
def evil() -> Iterator[Served]:
    """Another site: any page is what the query says."""

    async def page(request: Any) -> HTMLResponse:
        return HTMLResponse(request.query_params["html"])

    served = Served(Starlette(routes=[Route("/", page)]))
    yield served
    served.stop()


@pytest.fixture
def varied(registry: Registry) -> Registry:
    """Keys in every state, with a history that is made up."""
    clock = ManualClock(1000.0)
    past = Registry(clock=clock)
    calm = ["GET /", "GET /orders/{order}", "api.stripe.com", "llm:groq", *ODD_KEYS]
    for key in [*calm, "POST /payments", "GET /recommendations", "webhook:crm", "llm:anthropic"]:
        call(past[key], 50)
        call(registry[key], 50)
    registry["webhook:crm"].open("CRM migration, back on Thursday", by="m.ortiz")
    registry["GET /recommendations"].override("observe", for_=3600, reason="first week", by="anna")
    registry["api.stripe.com"].override(enforce_share=0.25, reason="roll-out", by="anna")
    for key in ("POST /payments", "GET /recommendations"):
        call(registry[key], 30, bad=True)
    registry["llm:anthropic"].half_open("look", by="anna")
    return registry


@dataclass
class Watched:
    """What a page did that it must not do."""

    faults: list[str] = field(default_factory=list)

    def watch(self, page: Page, origin: str) -> None:
        page.on("pageerror", lambda error: self.faults.append(f"error: {error}"))
        page.on("console", lambda said: self.faults.append(f"console: {said.text}"))
        page.on("dialog", lambda shown: self.faults.append(f"dialog: {shown.message}"))
        page.on(
            "request",
            lambda request: (
                None
                if request.url.startswith(origin)
                else self.faults.append(f"request: {request.url}")
            ),
        )


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    path = shutil.which("chromium")
    if path is None:
        pytest.fail("chromium is not installed: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


Visit = Callable[..., Page]


@pytest.fixture
def visit(browser: Browser, site: Site) -> Iterator[Visit]:
    """Opens the page as a user; at the end of the test no page may have had a fault."""
    contexts: list[BrowserContext] = []
    watched = Watched()

    def visit(
        user: str = "anna",
        *,
        width: int = 1280,
        scheme: Any = "light",
        watch: bool = True,
        path: str = "",
        **more: Any,
    ) -> Page:
        context = browser.new_context(
            viewport={"width": width, "height": 800},
            color_scheme=scheme,
            http_credentials={"username": user, "password": USERS[user]},
            locale="en-GB",
            **more,
        )
        contexts.append(context)
        page = context.new_page()
        if watch:
            watched.watch(page, site.url)
        page.goto(site.url + path)
        return page

    yield visit
    for context in contexts:
        context.close()
    assert watched.faults == []


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    named = os.environ.get("RECLOSER_SCREENSHOTS")
    folder = Path(named) if named else tmp_path_factory.mktemp("screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    print(f"screenshots: {folder}")
    return folder


def make_many(registry: Registry, count: int) -> None:
    for number in range(count):
        key = f"GET /tenants/{number}/{random.choice(('orders', 'invoices', 'users'))}"
        call(registry[key], 31)
        if number % 25 == 0:
            call(registry[key], 30, bad=True)
