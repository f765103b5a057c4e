"""Each page in a real browser: dark and light, on a phone and on a desk; and the search."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

SIZES = {"phone": (390, 844), "desk": (1280, 900)}
# The colour of the ground as red, green and blue.
GROUND = "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).slice(0, 3).map(Number)"
TEXT = GROUND.replace("backgroundColor", "color")
TOO_WIDE = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
# What is cut off: text that is wider than its box, and cannot be scrolled.
HIDDEN = """[...document.querySelectorAll("article pre, article table, article .picture-frame")]
    .filter(each => {
        const frame = each.closest(".highlight, .table-wrapper, .picture-frame") ?? each;
        return each.getBoundingClientRect().right > innerWidth + 1
            && frame.getBoundingClientRect().right > innerWidth + 1;
    }).length"""


class Visit:
    """A page in the browser, and what went wrong in it."""

    def __init__(self, browser: Any, scheme: str, size: str) -> None:
        width, height = SIZES[size]
        self.context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme
        )
        self.page = self.context.new_page()
        self.trouble: list[str] = []
        self.requests: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("pageerror", lambda error: self.trouble.append(str(error)))
        self.page.on("console", self._said)
        self.page.on("requestfailed", lambda request: self.trouble.append(request.url))

    def _said(self, message: Any) -> None:
        # The site has no picture for the tab of the browser, and chromium asks for one.
        if message.type == "error" and "favicon" not in str(message.location):
            self.trouble.append(f"{self.page.url}: {message.text}")


@pytest.fixture(params=["light", "dark"])
def scheme(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def visit(browser: Any, scheme: str, request: pytest.FixtureRequest) -> Iterator[Visit]:
    visit = Visit(browser, scheme, request.param)
    yield visit
    visit.context.close()


@pytest.mark.parametrize("visit", SIZES, indirect=True)
def test_each_page_is_whole(visit: Visit, scheme: str, site: Path, url: str) -> None:
    wrong = []
    for path in sorted(site.rglob("*.html")):
        if path.is_relative_to(site / "_static"):
            continue
        name = path.relative_to(site).as_posix()
        visit.page.goto(f"{url}/{name}")
        ground, text = visit.page.evaluate(f"[{GROUND}, {TEXT}]")
        if (sum(ground) < sum(text)) is not (scheme == "dark"):
            wrong.append(f"{name}: text {text} on {ground}")
        if visit.page.evaluate(TOO_WIDE) > 0:
            wrong.append(f"{name}: wider than the window")
        if visit.page.evaluate(HIDDEN):
            wrong.append(f"{name}: something is cut off")
        # The page of the search has one when it is asked for something.
        if name != "search.html" and not visit.page.locator("h1").first.is_visible():
            wrong.append(f"{name}: no title")

    assert wrong == []
    assert visit.trouble == []
    assert {each for each in visit.requests if not each.startswith(url)} == set()


@pytest.mark.parametrize("visit", ["desk"], indirect=True)
def test_pictures_have_the_colours_of_the_chosen_theme(visit: Visit, scheme: str, url: str) -> None:
    visit.page.goto(f"{url}/how-it-decides.html")
    colour = (
        "getComputedStyle(document.querySelector('.picture text')).fill.match(/\\d+/g).map(Number)"
    )
    of_system = visit.page.evaluate(colour)

    assert (sum(of_system[:3]) > 400) is (scheme == "dark")
    assert visit.page.locator("svg.picture").count() == 4
    other = "light" if scheme == "dark" else "dark"
    visit.page.evaluate(f"document.body.dataset.theme = '{other}'")
    assert (sum(visit.page.evaluate(colour)[:3]) > 400) is (other == "dark")


@pytest.mark.parametrize("visit", ["phone"], indirect=True)
@pytest.mark.parametrize(
    ("words", "page"),
    [
        ("several workers", "how-to/several-workers.html"),
        ("pybreaker", "how-to/migration.html"),
        ("Retry-After", "refusals.html"),
        ("BreakerOpenError", "reference/core.html"),
    ],
)
def test_the_search_finds(visit: Visit, scheme: str, url: str, words: str, page: str) -> None:
    visit.page.goto(f"{url}/index.html")
    visit.page.goto(f"{url}/search.html?q={words.replace(' ', '+')}")
    visit.page.locator(f"#search-results ul.search li a[href*='{page}']").first.wait_for()

    assert visit.trouble == []


@pytest.mark.parametrize("visit", ["desk"], indirect=True)
def test_the_search_works_without_a_server(visit: Visit, scheme: str, site: Path) -> None:
    visit.page.goto(f"{(site / 'index.html').as_uri()}")
    visit.page.locator("input.sidebar-search").fill("observe")
    visit.page.keyboard.press("Enter")
    visit.page.locator("#search-results ul.search li a[href*='observe-first']").first.wait_for()

    assert visit.requests
    assert all(each.startswith("file:") for each in visit.requests)


@pytest.mark.parametrize("visit", ["phone"], indirect=True)
def test_a_phone_has_the_navigation_behind_a_button(visit: Visit, scheme: str, url: str) -> None:
    visit.page.goto(f"{url}/index.html")
    entry = visit.page.locator(".sidebar-tree a", has_text="Observe first")

    assert not entry.is_visible() or entry.bounding_box()["x"] < 0
    visit.page.locator("label[for=__navigation]:visible").first.click()
    entry.click()
    visit.page.wait_for_url("**/observe-first.html")


@pytest.mark.parametrize("visit", SIZES, indirect=True)
def test_a_screen_reader_and_a_keyboard_get_everywhere(visit: Visit, scheme: str, url: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    wrong = []
    for name in ("index", "first-hour", "how-it-decides", "comparison", "reference/testing"):
        visit.page.goto(f"{url}/{name}.html")
        wrong += [
            f"{name}: {found['id']}: {found['nodes'][0]['html'][:100]}"
            for found in axe.run(visit.page).response["violations"]
            if found["impact"] in {"serious", "critical"}
        ]

    assert wrong == []
