"""`llms.txt` lists the pages for language models, each with a file in Markdown."""

from __future__ import annotations

import re
from pathlib import Path

LINK = re.compile(r"^- \[(?P<title>[^\]]+)\]\((?P<target>[^)]+)\)", re.MULTILINE)


def test_each_page_is_listed_and_its_text_is_there(site: Path) -> None:
    text = (site / "llms.txt").read_text()
    listed = [link["target"] for link in LINK.finditer(text)]
    shown = {
        path.relative_to(site).with_suffix(".md").as_posix()
        for path in site.rglob("*.html")
        if path.stem not in {"index", "genindex", "search", "py-modindex"}
        and not path.is_relative_to(site / "_static")
    }

    assert text.startswith("# recloser\n\n> ")
    assert set(listed) == shown
    assert len(listed) == len(shown)
    for target in listed:
        assert (site / target).read_text().startswith("# "), target


def test_the_whole_text_has_the_how_to_pages_and_their_code(site: Path) -> None:
    text = (site / "llms-full.txt").read_text()

    assert "app.add_middleware(BreakerMiddleware)" in text
    assert "# Observe first" in text
    assert 20_000 < len(text) < 400_000
