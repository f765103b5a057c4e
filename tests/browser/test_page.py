"""The page in a real browser."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect
from tests.browser.conftest import ODD_KEYS, Served, Site, Visit, call, make_many
from tests.support.waiting import until

from recloser import Mode, Registry, State

WIDTHS = {"wide": 1920, "usual": 1280, "tablet": 900, "phone": 360}


def _act(page: Page, key: str, action: str, reason: str = "a test", **fields: str) -> None:
    """Act on a key by the dialog, whose fields are named as in its form."""
    page.get_by_role("button", name=f"Act on {key}", exact=True).click()
    page.get_by_label("What to do").select_option(action)
    for name, value in fields.items():
        place = page.locator(f"[name={name.strip('_')}]")
        if name in ("for_", "field"):
            place.select_option(value)
        else:
            place.fill(value)
    page.get_by_label("Why (others will read this)").fill(reason)
    page.locator("#do").click()
    expect(page.locator("#dialog")).to_be_hidden()


def _has_no_sideways_scrolling(page: Page) -> bool:
    return bool(page.evaluate("document.documentElement.scrollWidth <= innerWidth"))


@contextmanager
def _traffic(registry: Registry, keys: list[str]) -> Iterator[None]:
    """Calls all the time, of all keys."""
    over = threading.Event()

    def run() -> None:
        while not over.wait(0.1):
            for key in keys:
                call(registry[key])

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


# What it shows


def test_an_opening_is_seen_within_a_second(visit: Visit, site: Site) -> None:
    call(site.registry["POST /payments"], 40)
    page = visit()
    expect(page.locator(".row.closed")).to_have_count(1)
    for _ in range(3):  # at different times between two polls
        began = time.monotonic()
        call(site.registry["POST /payments"], 30, bad=True)
        assert site.registry["POST /payments"].state is State.OPEN
        page.locator(".row.open").wait_for(timeout=5000)
        taken = time.monotonic() - began
        site.registry["POST /payments"].close()
        expect(page.locator(".row.closed")).to_have_count(1)
        time.sleep(0.23)
        assert taken < 1.0

    expect(page.locator("#said")).to_contain_text("POST /payments is now: Closed")


def test_the_worst_is_first_with_its_reason(visit: Visit, varied: Registry) -> None:
    page = visit()

    expect(page.locator(".row .word").nth(0)).to_have_text("Open")
    expect(page.locator(".row").nth(0)).to_contain_text("POST /payments")
    expect(page.locator(".row").nth(0)).to_contain_text("HTTP 502")
    expect(page.locator(".row").nth(1)).to_contain_text(
        "By hand: “CRM migration, back on Thursday”"
    )
    expect(page.locator(".row").nth(1)).to_contain_text("Does not end by itself. By m.ortiz")
    expect(page.locator(".row").nth(2)).to_contain_text("Half-open")
    expect(page.locator(".row").nth(3)).to_contain_text("Limited")
    expect(page.locator(".row").nth(4)).to_contain_text("Would be")
    expect(page.locator(".row").nth(4)).to_contain_text("observed only")
    expect(page.locator(".row").nth(4)).to_contain_text("Would have refused")
    expect(page.locator("#chip-open")).to_have_text("2 open")
    expect(page).to_have_title("2 open, 1 half-open, 1 limited · recloser")
    expect(page.locator("#view")).to_contain_text("process")


def test_a_key_has_a_page(visit: Visit, varied: Registry) -> None:
    page = visit()
    page.get_by_role("link", name="POST /payments").click()

    expect(page.locator("#one h1")).to_have_text("POST /payments")
    expect(page.locator(".history li").first).to_contain_text("Open")
    page.get_by_text("What decided").last.click()
    expect(page.locator("details[open]")).to_contain_text("failure after")
    page.wait_for_timeout(1600)  # two polls
    expect(page.locator("details[open]")).to_have_count(1)
    expect(page.locator(".chart")).to_be_visible()

    page.get_by_role("link", name="← All keys").click()
    expect(page.get_by_role("link", name="POST /payments")).to_be_focused()


def test_search_filter_and_pages(visit: Visit, site: Site) -> None:
    make_many(site.registry, 120)
    page = visit()
    expect(page.locator(".row")).to_have_count(50)
    expect(page.locator("#range")).to_have_text("1 to 50 of 120")

    page.get_by_role("button", name="Next").click()
    expect(page.locator("#range")).to_have_text("51 to 100 of 120")
    page.get_by_label("Search keys").fill("/tenants/77/")
    expect(page.locator(".row")).to_have_count(1)
    page.get_by_label("Search keys").fill("nothing like this")
    expect(page.locator("#nothing")).to_have_text("No key fits: “nothing like this”.")
    page.get_by_label("Search keys").fill("")
    page.locator("#chip-open").click()
    expect(page.locator(".row.open")).to_have_count(5)
    expect(page.locator(".row")).to_have_count(5)


def test_without_calls_it_says_so(visit: Visit) -> None:
    expect(visit().locator("#nothing")).to_contain_text("No calls yet")


def test_a_key_that_is_gone(visit: Visit) -> None:
    page = visit(path="#key=%3D0000000000000000", watch=False)

    expect(page.locator("#one")).to_contain_text("There is no such key any more")


def test_nothing_is_sent_while_nothing_changes(visit: Visit, site: Site) -> None:
    call(site.registry["GET /"], 40)
    page = visit()
    expect(page.locator(".row")).to_have_count(1)
    statuses: list[int] = []
    page.on("response", lambda response: statuses.append(response.status))
    page.wait_for_timeout(4000)

    assert len(statuses) >= 4
    assert statuses.count(304) >= len(statuses) - 2  # the strip goes on every five seconds


def test_old_figures_look_old(visit: Visit, site: Site, varied: Registry, pictures: Path) -> None:
    page = visit(watch=False)
    expect(page.locator(".row").first).to_be_visible()
    site.served.stop()

    expect(page.locator("#stale")).to_contain_text("No answer since", timeout=15_000)
    expect(page.locator("html")).to_have_class("stale")
    expect(page.locator(".row .next").first).to_have_text("")
    page.screenshot(path=pictures / "stale.png")
    assert _findings(page) == []


# Actions


def test_actions_work(visit: Visit, site: Site) -> None:
    breaker = site.registry["GET /search"]
    call(breaker, 40)
    page = visit()

    _act(page, "GET /search", "open", "migration", for_="3600")
    assert breaker.state is State.OPEN
    [override] = breaker.overrides
    assert (override.by, override.reason) == ("anna", "migration")
    assert override.until - override.since == pytest.approx(3600)
    expect(page.locator(".row")).to_contain_text("By hand: “migration”")
    expect(page.locator(".row")).to_contain_text("Ends in 6")

    _act(page, "GET /search", "half-open")
    expect(page.locator(".row .word")).to_have_text("Half-open")
    _act(page, "GET /search", "close")
    expect(page.locator(".row .word")).to_have_text("Closed")
    _act(page, "GET /search", "observe", for_="")
    assert breaker.mode is Mode.OBSERVE
    expect(page.locator(".row")).to_contain_text("observed only")
    _act(page, "GET /search", "share", share="40")
    assert (breaker.mode, breaker.enforce_share) == (Mode.ENFORCE, 0.4)
    expect(page.locator(".row")).to_contain_text("enforced for 40 %")
    _act(page, "GET /search", "end-override")
    assert breaker.enforce_share == 1.0
    _act(page, "GET /search", "policy", field="min_failures", value="7")
    assert breaker.policy.min_failures == 7
    _act(page, "GET /search", "reset")
    assert breaker.metrics().p50 == 0.0

    page.get_by_role("link", name="GET /search").click()
    expect(page.locator(".history")).to_contain_text("Asked: open (for 60 min)by anna")


def test_a_wrong_value_is_told_in_the_dialog(visit: Visit, site: Site) -> None:
    call(site.registry["GET /search"])
    page = visit(watch=False)  # the browser itself writes each 422 to the console

    page.get_by_role("button", name="Act on").click()
    page.get_by_label("What to do").select_option("policy")
    page.locator("[name=field]").select_option("min_failures")
    page.get_by_label("New value").fill("0")
    page.get_by_label("Why").fill("a test")
    page.locator("#do").click()

    expect(page.locator("#refusal")).to_contain_text("min_failures must be a whole number")
    assert site.registry["GET /search"].policy.min_failures == 5


def test_a_reason_is_needed(visit: Visit, site: Site) -> None:
    call(site.registry["GET /search"])
    page = visit()

    page.get_by_role("button", name="Act on").click()
    page.locator("#do").click()

    expect(page.locator("#dialog")).to_be_visible()
    assert site.registry["GET /search"].state is State.CLOSED


def test_who_may_not_act_is_shown_no_way_and_refused(visit: Visit, site: Site) -> None:
    call(site.registry["GET /search"])
    page = visit("guest", watch=False)

    expect(page.locator(".row")).to_be_visible()
    expect(page.locator(".act").first).to_be_hidden()
    expect(page.locator("#scope")).to_contain_text("You may look, but not act.")
    status = page.evaluate(
        """() => fetch("keys/GET%20%2Fsearch/open", {
            method: "POST", body: "{}", headers: {"Content-Type": "application/json"}
        }).then((reply) => reply.status)"""
    )
    assert status == 403
    assert site.registry["GET /search"].state is State.CLOSED


ATTACKS = {
    "form": """<form method=post enctype=text/plain action="{url}">
        <input name='{{"reason":"' value='"}}'></form><script>document.forms[0].submit()</script>""",
    "no-cors": """<script>fetch("{url}", {{method: "POST", mode: "no-cors", body: "{{}}",
        credentials: "include"}}).finally(() => document.title = "done")</script>""",
    "cors": """<script>fetch("{url}", {{method: "POST", body: "{{}}", credentials: "include",
        headers: {{"Content-Type": "application/json"}}}}).finally(() => document.title = "done")</script>""",
}


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
@pytest.mark.parametrize("attack", ATTACKS)
def test_a_post_of_another_site_changes_nothing(
    visit: Visit, site: Site, evil: Served, attack: str, host: str
) -> None:
    """The user is logged in, and the browser sends the password by itself."""
    call(site.registry["GET /search"])
    page = visit(watch=False)
    expect(page.locator(".row")).to_be_visible()
    target = f"{site.url}keys/GET%20%2Fsearch/open"
    html = ATTACKS[attack].format(url=target)
    sent: list[int] = []
    page.on(
        "response",
        lambda reply: sent.append(reply.status) if reply.url == target else None,
    )

    page.goto(f"http://{host}:{evil.port}/?html={quote(html)}")
    page.wait_for_timeout(700)

    assert 200 not in sent
    assert site.registry["GET /search"].state is State.CLOSED


def test_the_page_cannot_be_framed(visit: Visit, site: Site, evil: Served) -> None:
    page = visit(watch=False)
    html = f'<iframe src="{site.url}"></iframe>'
    page.goto(f"http://localhost:{evil.port}/?html={quote(html)}")
    page.wait_for_timeout(700)

    assert page.frames[1].url != site.url or page.frames[1].locator("#list").count() == 0


# Keys are text


@pytest.mark.parametrize("key", ODD_KEYS, ids=["script", "img", "javascript", "bidi", "10 kB"])
def test_any_key_is_harmless(visit: Visit, site: Site, key: str) -> None:
    breaker = site.registry[key]
    call(breaker, 40)
    breaker.open(key[:200])
    breaker.close(key[:200], by=key[:200])
    page = visit(width=360)

    expect(page.locator(".row bdi")).to_contain_text(key[:1])
    assert _has_no_sideways_scrolling(page)
    page.locator(".row a").click()
    expect(page.locator("#one h1 bdi")).to_contain_text(key[:1])
    expect(page.locator(".history li").first).to_be_visible()
    assert _has_no_sideways_scrolling(page)
    page.get_by_role("button", name="Act on this key").click()
    page.get_by_label("What to do").select_option("open")
    page.get_by_label("Why").fill(key[:100])
    page.locator("#do").click()
    expect(page.locator("#dialog")).to_be_hidden()

    assert breaker.state is State.OPEN
    assert page.evaluate("window.harmed") is None
    assert page.evaluate("document.querySelectorAll('bdi *, .why *').length") == 0
    if "\u202e" in key:
        assert "\u202e" not in page.locator("body").inner_text()


# For everybody


def _findings(page: Page) -> list[str]:
    results = Axe().run(page)
    return [
        f"{each['id']}: {[node['html'] for node in each['nodes']][:2]}"
        for each in results.response["violations"]
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_it_is_fit_for_everybody(
    visit: Visit, varied: Registry, pictures: Path, scheme: str, width: str
) -> None:
    """axe-core finds nothing, nothing is wider than the screen, and a picture is kept."""
    page = visit(width=WIDTHS[width], scheme=scheme, reduced_motion="reduce")
    expect(page.locator(".row")).to_have_count(len(varied))

    def look(name: str) -> None:
        assert _has_no_sideways_scrolling(page)
        assert _findings(page) == []
        path = pictures / f"{name}-{width}-{scheme}.png"
        page.screenshot(path=path, full_page=name != "dialog")

    look("list")
    page.get_by_role("link", name="POST /payments").click()
    expect(page.locator(".history li").first).to_be_visible()
    look("key")
    page.get_by_role("button", name="Act on this key").click()
    look("dialog")


@pytest.mark.parametrize(("scheme", "is_dark"), [("light", False), ("dark", True)])
def test_dark_is_dark(visit: Visit, scheme: str, is_dark: bool) -> None:
    page = visit(scheme=scheme)
    colours = page.evaluate(
        """() => { const style = getComputedStyle(document.documentElement);
            return [style.backgroundColor, style.color].map((each) =>
                each.match(/\\d+/g).slice(0, 3).reduce((sum, part) => sum + Number(part), 0)) }"""
    )

    assert (colours[0] < colours[1]) is is_dark


def test_a_state_is_told_by_shape_and_word(visit: Visit, varied: Registry) -> None:
    page = visit()
    expect(page.locator(".row")).to_have_count(len(varied))
    seen = page.locator(".row").evaluate_all(
        """(rows) => rows.map((row) => [row.querySelector(".state use").getAttribute("href"),
            row.querySelector(".word").textContent])"""
    )

    told = {tuple(each) for each in seen}
    assert {("#open", "Open"), ("#half_open", "Half-open"), ("#closed", "Closed")} <= told
    assert len({shape for shape, _ in told}) >= 3


def test_by_keyboard_only(visit: Visit, varied: Registry) -> None:
    page = visit()
    expect(page.locator(".row")).to_have_count(len(varied))
    press = page.keyboard.press

    press("Tab")
    expect(page.get_by_role("link", name="Skip to the keys")).to_be_focused()
    press("Enter")
    expect(page.locator("#main")).to_be_focused()
    press("Tab")
    expect(page.locator("#chip-open")).to_be_focused()
    press("Enter")
    expect(page.locator("#chip-open")).to_have_attribute("aria-pressed", "true")
    expect(page.locator(".row")).to_have_count(2)
    while page.evaluate("document.activeElement.id") != "q":
        press("Tab")
    press("Tab")
    expect(page.get_by_role("link", name="POST /payments")).to_be_focused()
    press("ArrowDown")
    expect(page.get_by_role("link", name="webhook:crm")).to_be_focused()
    press("ArrowUp")
    page.wait_for_timeout(1600)  # polls do not take the focus
    expect(page.get_by_role("link", name="POST /payments")).to_be_focused()
    press("Enter")
    expect(page.locator("#one h1")).to_have_text("POST /payments")
    expect(page.locator("#main")).to_be_focused()
    press("Tab")
    press("Tab")
    expect(page.get_by_role("button", name="Act on this key")).to_be_focused()
    press("Enter")
    expect(page.get_by_label("What to do")).to_be_focused()
    press("Escape")
    expect(page.get_by_role("button", name="Act on this key")).to_be_focused()
    press("Enter")
    page.keyboard.type("Close")
    press("Tab")
    page.keyboard.type("fixed")
    press("Enter")
    expect(page.locator("#dialog")).to_be_hidden()
    assert varied["POST /payments"].state is State.CLOSED
    expect(page.get_by_role("button", name="Act on this key")).to_be_focused()


# How much it costs


def test_a_thousand_keys(visit: Visit, site: Site, pictures: Path) -> None:
    """At most 100 ms to redraw, and 100 kB a second, while all of them are called."""
    make_many(site.registry, 1000)
    with _traffic(site.registry, [breaker.key for breaker in site.registry]):
        page = visit()
        expect(page.locator(".row")).to_have_count(50)
        session = page.context.new_cdp_session(page)
        received: list[float] = []
        session.on(
            "Network.loadingFinished", lambda each: received.append(each["encodedDataLength"])
        )
        session.send("Network.enable")
        page.evaluate("performance.clearMeasures('redraw')")
        began = time.monotonic()
        page.wait_for_timeout(6000)
        until(
            lambda: page.evaluate("performance.getEntriesByName('redraw').length") >= 5,
            "five redraws",
        )
        drawn = page.evaluate("performance.getEntriesByName('redraw').map((each) => each.duration)")
        taken = time.monotonic() - began
        page.screenshot(path=pictures / "thousand.png")
    figures = {
        "redraws": len(drawn),
        "ms": [round(max(drawn)), round(sum(drawn) / len(drawn))],
        "kB/s": round(sum(received) / taken / 1000, 1),
    }
    print(json.dumps(figures))

    assert len(drawn) / taken >= 3 / 6
    assert sorted(drawn)[len(drawn) // 2] <= 100
    assert sum(received) / taken <= 100_000
