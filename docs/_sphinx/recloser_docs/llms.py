"""`llms.txt`: the pages for language models, in Markdown, and `llms-full.txt`, all of them in one."""

from __future__ import annotations

import re
from pathlib import Path

from sphinx.application import Sphinx

from recloser_docs.navigation import groups, title_of
from recloser_docs.pages import ROOT_PAGES

SUMMARY = (
    "Adaptive circuit breakers for Python web apps and outbound calls. They learn what latency and "
    "what share of failures is normal for each route or provider, and need no limits to be set."
)
# Figures by the thousand, and what only contributors want.
_NOT_IN_FULL = {"Measured", "The project"}


def _write(app: Sphinx, error: Exception | None) -> None:
    if error is not None or app.builder.format != "html":
        return
    docs, site = Path(app.srcdir), Path(app.outdir)
    index = ["# recloser", "", f"> {SUMMARY}", ""]
    full = list(index)
    for caption, pages in groups(docs):
        index += [f"## {caption}", ""]
        for page in pages:
            path = docs.parent / ROOT_PAGES[page] if page in ROOT_PAGES else docs / f"{page}.md"
            text = path.read_text()
            target = site / f"{page}.md"
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)
            index.append(f"- [{title_of(path)}]({page}.md){_about(text)}")
            if caption not in _NOT_IN_FULL and not page.startswith("reference/"):
                full += [text.strip(), ""]
        index.append("")
    (site / "llms.txt").write_text("\n".join(index))
    (site / "llms-full.txt").write_text("\n".join(full))


def _about(text: str) -> str:
    """The first sentence of a page, if it begins with one."""
    _, _, rest = text.partition("\n")
    first = next((part for part in rest.split("\n\n") if part.strip()), "").strip()
    if first.startswith(("```", "|", "#", "<", "-", "!")):
        return ""
    sentence = re.split(r"(?<=[.:?])\s", " ".join(first.split()))[0].rstrip(":")
    return f": {sentence}"


def setup(app: Sphinx) -> None:
    """Have both files written after the pages."""
    app.connect("build-finished", _write)
