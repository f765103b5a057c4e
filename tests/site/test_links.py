"""No link of the site is broken, no anchor is missing, and nothing is fetched from elsewhere."""

from __future__ import annotations

import os
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

# Elements that a browser fetches by itself, with the attribute that says from where.
FETCHED = {"script": "src", "img": "src", "source": "src", "iframe": "src", "object": "data"}
FETCHED_LINKS = {"stylesheet", "icon", "preload", "modulepreload", "manifest", "apple-touch-icon"}


class Page(HTMLParser):
    """The anchors of a page, its links, and what it fetches."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.fetched: list[str] = []
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.anchors |= {found[name] for name in ("id", "name") if name in found}
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        if tag in FETCHED and FETCHED[tag] in found:
            self.fetched.append(found[FETCHED[tag]])
        if tag == "link" and FETCHED_LINKS & set(found.get("rel", "").split()):
            self.fetched.append(found["href"])


def pages(site: Path) -> dict[Path, Page]:
    return {path: Page(path) for path in sorted(site.rglob("*.html"))}


def broken(path: Path, page: Page, known: dict[Path, Page]) -> Iterator[str]:
    for link in [*page.links, *page.fetched]:
        parts = urlsplit(link)
        if parts.scheme or parts.netloc:
            continue
        target = Path(os.path.normpath(path.parent / unquote(parts.path))) if parts.path else path
        if not target.is_file():
            yield f"{path.name}: {link}"
        elif parts.fragment and target in known:
            missing = {unquote(parts.fragment)} - known[target].anchors
            yield from (f"{path.name}: {link}: no anchor {each}" for each in missing)


def test_each_link_leads_to_a_page_and_an_anchor(site: Path) -> None:
    known = pages(site)

    assert len(known) > 30
    assert [each for path, page in known.items() for each in broken(path, page, known)] == []


def test_links_out_of_the_site_are_https(site: Path) -> None:
    out = {
        link
        for page in pages(site).values()
        for link in page.links
        if urlsplit(link).scheme not in {"", "https"}
    }

    assert out <= {"http://localhost:8000/breakers"}, out


def test_nothing_is_fetched_from_another_host(site: Path) -> None:
    found = {
        f"{path.name}: {each}"
        for path, page in pages(site).items()
        for each in page.fetched
        if urlsplit(each).scheme or urlsplit(each).netloc
    }

    assert found == set()
    for style in site.rglob("*.css"):
        text = style.read_text()
        assert "@import" not in text, style
        assert "url(http" not in text.replace('"', "").replace("'", ""), style
