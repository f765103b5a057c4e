"""A dashboard on a real server, and a real browser that shows it.

Screenshots are kept in the folder RECLOSER_SCREENSHOTS, by default in a temporary one.
"""

from __future__ import annotations

import os
import random
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import uvicorn
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright
from starlette.applications import Starlette
from starlette.responses import HTMLResponse
from starlette.routing import Mount, Route
from tests.support.waiting import until

from recloser import Breaker, Permit, Registry
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


class Past:
    """A clock that is behind the real one by some time, and catches up."""

    def __init__(self) -> None:
        self.behind = 0.0

    def __call__(self) -> float:
        return time.monotonic() - self.behind

    def wall(self) -> float:
        """Seconds since 1970."""
        return time.time() - self.behind


@pytest.fixture
def past() -> Past:
    return Past()


@pytest.fixture
def registry(past: Past) -> Registry:
    """On the real clock: it is seen in a browser, which has no other."""
    return Registry(clock=past, random=random.Random(1).random, max_keys=2000)


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


# Key: usual latency in seconds, and calls in a step.
CALM = {
    "GET /": (0.006, 30),
    "GET /orders/{order}": (0.041, 12),
    "api.stripe.com": (0.31, 8),
    "llm:groq": (0.62, 3),
    "llm:openai": (2.4, 5),
    "PATCH /api/v2/tenants/{tenant}/workspaces/{workspace}/documents/{document}": (0.15, 3),
}
TROUBLED = {
    "POST /payments": (0.19, 12),
    "GET /search": (0.085, 14),
    "GET /recommendations": (0.09, 9),
    "webhook:crm": (0.34, 2),
    "llm:anthropic": (1.9, 4),
}


def _step(
    registry: Registry,
    past: Past,
    chance: random.Random,
    load: dict[str, tuple[float, int, float]],
) -> None:
    """Five seconds: calls of all keys that begin at once, and end when their time has come.

    Args:
        registry: Has the breakers.
        past: Its clock.
        chance: The dice.
        load: Latency in seconds, number of calls and share of failures by key.
    """
    began = past()
    ends: list[tuple[float, int, Permit, bool]] = []
    for key, (seconds, calls, bad) in load.items():
        for _ in range(chance.randint(calls // 2, calls)):
            permit = registry[key].try_acquire()
            latency = min(chance.lognormvariate(0, 0.25) * seconds, 4.9)
            if permit is not None:
                ends.append((latency, len(ends), permit, chance.random() < bad))
    for latency, _, permit, is_bad in sorted(ends):
        past.behind -= max(0.0, began + latency - past())
        permit.failure("HTTP 502") if is_bad else permit.success()
    past.behind -= max(0.0, began + 5.0 - past())


@pytest.fixture
def varied(site: Site, past: Past, monkeypatch: pytest.MonkeyPatch) -> Registry:
    """Five minutes in which some keys get into trouble; at the end they are in all states."""
    registry, sampler = site.registry, site.dashboard._sampler
    monkeypatch.setattr(sampler, "_clock", past)
    monkeypatch.setattr("recloser_adapters.dashboard._record.time", SimpleNamespace(time=past.wall))
    past.behind, chance = 420.0, random.Random(1)
    usual = {**CALM, **TROUBLED}
    for _ in range(24):
        calm = {key: (seconds, 5, 0.0) for key, (seconds, _) in usual.items()}
        _step(registry, past, chance, calm)
        sampler.measure()
    past.behind = 300.0
    registry["webhook:crm"].open("CRM migration, back on Thursday", by="m.ortiz")
    registry["GET /recommendations"].override("observe", for_=3600, reason="first week", by="anna")
    registry["api.stripe.com"].override(enforce_share=0.25, reason="roll-out", by="anna")
    for at in range(60):
        load = {key: (seconds, calls, 0.01) for key, (seconds, calls) in usual.items()}
        if at >= 30:
            load["llm:anthropic"] = (1.9, 4, 1.0)
        if at >= 44:
            load["GET /search"] = (0.5, 14, 0.0)
        if at >= 50:
            load |= dict.fromkeys(("POST /payments", "GET /recommendations"), (0.19, 12, 1.0))
        _step(registry, past, chance, load)
        sampler.measure()
    past.behind = 0.0
    registry["llm:anthropic"].half_open("the provider says that it works again", by="anna")
    for key in ODD_KEYS:
        call(registry[key], 50)
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
