"""The groups of the navigation. A page that no group names is listed under "More how-to pages".

Pages that do not exist are left out, so a group may name them before they are written.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from sphinx.application import Sphinx

MARKER = "<!-- navigation -->"
FURTHER = "More how-to pages"

GROUPS: dict[str, tuple[str, ...]] = {
    "Start": ("first-hour", "how-to/observe-first", "comparison"),
    "Web apps": (
        "how-to/fastapi",
        "how-to/django",
        "how-to/flask",
        "how-to/other-asgi-frameworks",
        "how-to/bottle-pyramid",
        "how-to/aiohttp-web",
        "how-to/tornado",
        "how-to/graphql",
        "how-to/any-app",
        "how-to/middleware-order",
    ),
    "Calls to others": (
        "how-to/http-clients",
        "how-to/llm-providers",
        "how-to/failover",
        "how-to/payments",
        "how-to/functions",
        "how-to/urllib3",
        "how-to/aws",
        "how-to/databases",
        "how-to/grpc",
        "how-to/mcp",
        "how-to/agents",
        "how-to/task-queues",
        "how-to/labels",
        "how-to/cut-off",
        "how-to/hedging",
    ),
    "Operate": (
        "how-to/several-workers",
        "how-to/dashboard",
        "how-to/metrics",
        "how-to/alerts",
        "how-to/settings",
        "how-to/tests",
        "how-to/chaos",
        "how-to/migration",
    ),
    FURTHER: (),
    "Understand": ("how-it-decides", "decisions", "refusals", "limits", "reliability", "security"),
    "Reference": (
        "reference/core",
        "reference/middleware",
        "reference/adapters",
        "reference/fleet",
        "reference/testing",
        "policy",
        "clients",
    ),
    "Measured": ("measured", "detection", "fleet"),
    "The project": ("contributing", "architecture", "changelog"),
}


def groups(docs: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield each group and its pages that exist in a folder, without empty groups."""
    named = {page for pages in GROUPS.values() for page in pages}
    found = sorted(path.relative_to(docs).with_suffix("").as_posix() for path in docs.rglob("*.md"))
    further = [page for page in found if page.startswith("how-to/") and page not in named]
    for caption, pages in GROUPS.items():
        listed = [page for page in pages if (docs / f"{page}.md").exists()]
        if caption == FURTHER:
            listed = further
        if listed:
            yield caption, listed


def title_of(path: Path) -> str:
    """Return the first heading of a page."""
    for line in path.read_text().splitlines():
        if line.startswith("# "):
            return line[2:].strip().replace("`", "")
    raise ValueError(f"{path.name} has no heading: write `# Title` in its first line")


def _insert(app: Sphinx, name: str, source: list[str]) -> None:
    if name != "index":
        return
    docs = Path(app.srcdir)
    trees, rows = [], ["| | |", "|---|---|"]
    for caption, pages in groups(docs):
        trees.append(
            "\n".join([f"```{{toctree}}\n:hidden:\n:caption: {caption}\n", *pages, "```\n"])
        )
        links = (f"[{title_of(docs / f'{page}.md')}]({page}.md)" for page in pages)
        rows.append(f"| {caption} | {'; '.join(links)} |")
    if MARKER not in source[0]:
        raise ValueError(f"index.md has no line {MARKER}")
    text = "\n".join(["## All pages", "", *rows, "", *trees])
    source[0] = source[0].replace(MARKER, text)


def setup(app: Sphinx) -> None:
    """Have the navigation written into the first page."""
    app.connect("source-read", _insert)
