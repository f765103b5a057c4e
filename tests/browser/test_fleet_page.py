"""What the page shows of a fleet, in a real browser."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from starlette.applications import Starlette
from starlette.routing import Mount
from tests.browser.conftest import Served, Site, Visit, Watched, call
from tests.support.fleet_workers import Workers

from recloser.testing import ManualClock
from recloser_adapters.dashboard import Dashboard, basic

USERS = {"anna": "secret"}


@pytest.fixture
def workers(clock: ManualClock) -> Workers:
    """Three workers that know each other, and one key."""
    workers = Workers(clock)
    workers.call("POST /payments", times=40)
    workers.turn(5.5)
    return workers


@pytest.fixture
def page(browser: Browser, workers: Workers) -> Iterator[Page]:
    """The page of the first worker."""
    dashboard = Dashboard(workers.registries[0], auth=basic(USERS))
    served = Served(Starlette(routes=[Mount("/b", dashboard)]))
    url = f"http://127.0.0.1:{served.port}/b/"
    context = browser.new_context(
        viewport={"width": 1280, "height": 800},
        http_credentials={"username": "anna", "password": USERS["anna"]},
        locale="en-GB",
    )
    page, watched = context.new_page(), Watched()
    watched.watch(page, url)
    page.goto(url)
    yield page
    context.close()
    served.stop()
    dashboard.close()
    assert watched.faults == []


def _effect(page: Page, action: str) -> str:
    page.get_by_role("button", name="Act on POST /payments", exact=True).click()
    page.get_by_label("What to do").select_option(action)
    said = str(page.locator("#effect").inner_text())
    page.locator("#cancel").click()
    return said


def _short(name: str) -> str:
    return name.rpartition("/")[0]


def test_without_a_store_the_page_speaks_of_no_fleet(visit: Visit, site: Site) -> None:
    call(site.registry["POST /payments"], 40)
    page = visit()
    expect(page.locator("#scope")).to_have_text("This process only. You are anna.")
    expect(page.locator(".row .note")).to_have_text("")
    page.get_by_role("button", name="Act on POST /payments", exact=True).click()
    expect(page.locator("#effect")).to_contain_text("Only in ")
    assert "fleet" not in page.locator("body").inner_text()


def test_it_says_how_many_share_the_store(page: Page, workers: Workers) -> None:
    expect(page.locator("#scope")).to_have_text(
        "1 of 3 workers that share memory:7/0. You are anna."
    )


def test_it_says_since_when_the_store_fails_and_why(
    page: Page, workers: Workers, pictures: Path
) -> None:
    expect(page.locator("#scope")).to_contain_text("1 of 3 workers")
    workers.shared.trouble = "no route"
    workers.turn(12.0)

    scope = page.locator("#scope.bad")
    expect(scope).to_contain_text("this worker decides alone: memory:7/0 fails (no route).")
    expect(scope).to_contain_text("No fleet for 12 s")
    page.screenshot(path=pictures / "fleet-trouble.png")
    assert "when the store works again" in _effect(page, "open")

    workers.shared.trouble = ""
    workers.turn(2.0)
    expect(page.locator("#scope:not(.bad)")).to_contain_text("1 of 3 workers")


def test_a_worker_before_its_first_call_is_not_in_trouble(
    page: Page, workers: Workers, clock: ManualClock
) -> None:
    """A thread joins it to the fleet, and that begins with the first call."""
    member = workers.fleet(workers.registries[0]).member
    member.after_fork()

    expect(page.locator("#scope:not(.bad)")).to_contain_text("Not connected yet to memory:7/0")


def test_a_key_says_who_leads_probes_and_disagrees(
    page: Page, workers: Workers, pictures: Path
) -> None:
    for _ in range(10):
        workers.call("POST /payments", bad=True)
        workers.turn(0.1)
    about = {"host": "web-9", "pid": 77, "leads": [], "alone": {"POST /payments": "limited"}}
    workers.fleet(workers.registries[1]).store.beat("web-9/77/ab", json.dumps(about), 600.0)
    workers.turn(5.5)
    row = page.locator(".row.open .note")

    [key] = workers.fleet(workers.registries[0]).status().keys.values()
    me = workers.names[0]
    led = "this worker" if key.leader == me else _short(key.leader)
    expect(row).to_contain_text(f"Led by {led}.")
    expect(row).to_contain_text("A probe may come from ")
    expect(row).to_contain_text("Decided alone: web-9/77 (limited).")
    page.screenshot(path=pictures / "fleet.png")

    page.get_by_role("link", name="POST /payments").click()
    expect(page.locator("#one .note")).to_contain_text("Decided alone: web-9/77 (limited).")


def test_a_closed_key_about_which_a_worker_disagrees_is_loud(page: Page, workers: Workers) -> None:
    expect(page.locator(".row.closed.calm")).to_have_count(1)
    about = {"host": "web-9", "pid": 77, "leads": [], "alone": {"POST /payments": "open"}}
    workers.fleet(workers.registries[1]).store.beat("web-9/77/ab", json.dumps(about), 600.0)
    workers.turn(5.5)

    note = page.locator(".row.closed.loud .note")
    expect(note).to_be_visible()
    expect(note).to_have_text("Decided alone: web-9/77 (open).")


def test_an_action_says_that_it_reaches_all_but_a_setting_does_not(
    page: Page, workers: Workers
) -> None:
    expect(page.locator(".row")).to_have_count(1)
    for action in ("open", "close", "half-open", "observe", "reset"):
        assert _effect(page, action).endswith("It reaches all 3 workers of the fleet.")
    assert "Only in " in _effect(page, "policy")

    page.get_by_role("button", name="Act on POST /payments", exact=True).click()
    page.get_by_label("What to do").select_option("open")
    page.get_by_label("Why (others will read this)").fill("migration")
    page.locator("#do").click()
    expect(page.locator(".row.open")).to_have_count(1)
    workers.turn(0.3)
    assert {each["POST /payments"].state.value for each in workers.registries} == {"open"}


def test_names_of_workers_are_text(page: Page, workers: Workers) -> None:
    odd = "<img src=x onerror='window.harmed = 1'>"
    about = {"host": odd, "pid": 1, "leads": [], "alone": {"POST /payments": "open"}}
    workers.fleet(workers.registries[1]).store.beat(f"{odd}/1/x", json.dumps(about), 600.0)
    workers.turn(5.5)

    expect(page.locator(".row .note")).to_contain_text(odd)
    assert page.evaluate("window.harmed") is None
