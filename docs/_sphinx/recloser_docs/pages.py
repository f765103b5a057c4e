"""Pages as GitHub shows them, read by Sphinx: links out of docs/, and the diagram of the states."""

from __future__ import annotations

import os
import re
from pathlib import Path

from sphinx.application import Sphinx

# Files beside docs/ that are pages of the site as well. The file of that name in docs/ holds a link.
ROOT_PAGES = {
    "contributing": "CONTRIBUTING.md",
    "security": "SECURITY.md",
    "changelog": "CHANGELOG.md",
}
_SHOWN_AS = {file: page for page, file in ROOT_PAGES.items()} | {"README.md": "index"}

_LINK = re.compile(r"(?<!!)\[(?P<text>[^\]\n]*(?:\[[^\]\n]*\])?[^\]\n]*)\]\((?P<target>[^()\s]+)\)")
_FENCE = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
_STATES = re.compile(r"```mermaid\nstateDiagram-v2\n(?P<arrows>.*?)```\n", re.DOTALL)


def _read(app: Sphinx, name: str, source: list[str]) -> None:
    docs = Path(app.srcdir)
    folder = (docs / name).parent
    text = source[0]
    if name in ROOT_PAGES:
        folder = docs.parent
        text = (folder / ROOT_PAGES[name]).read_text()
        app.env.note_dependency(str(folder / ROOT_PAGES[name]))
    text = _STATES.sub(lambda found: _table(found["arrows"]), text)
    source[0] = _with_links(text, folder, docs, name)


def _with_links(text: str, folder: Path, docs: Path, name: str) -> str:
    """Change the links of a text outside its code blocks."""
    parts, end = [], 0
    for fence in _FENCE.finditer(text):
        parts += [
            _LINK.sub(lambda link: _link(link, folder, docs, name), text[end : fence.start()])
        ]
        parts += [fence[0]]
        end = fence.end()
    parts.append(_LINK.sub(lambda link: _link(link, folder, docs, name), text[end:]))
    return "".join(parts)


def _link(link: re.Match[str], folder: Path, docs: Path, name: str) -> str:
    target, hash_, anchor = link["target"].partition("#")
    if not target or "://" in target or target.startswith("mailto:"):
        return link[0]
    path = Path(os.path.normpath(folder / target))
    shown = _SHOWN_AS.get(path.name) if path.parent == docs.parent else None
    if shown:
        path = docs / f"{shown}.md"
    if path.is_relative_to(docs):
        relative = os.path.relpath(path, (docs / name).parent)
        return f"[{link['text']}]({relative}{hash_}{anchor})"
    if path.is_file():
        relative = os.path.relpath(path, (docs / name).parent)
        return f"{{download}}`{link['text'].replace('`', '')} <{relative}>`"
    if path.is_dir():  # a folder of the repository, which the site does not have
        return link["text"] if "`" in link["text"] else f"`{path.relative_to(docs.parent)}/`"
    raise ValueError(f"{name}: there is no {target}")


def _table(arrows: str) -> str:
    """The arrows of a Mermaid diagram as a table, since the site has no script that draws it."""
    rows = ["| from | to | when |", "|---|---|---|"]
    for before, after, when in re.findall(r"^ +(\w+) --> (\w+): (.*)$", arrows, re.MULTILINE):
        rows.append(f"| {before} | {after} | {when.replace('<br>', '; ')} |")
    return "\n".join(rows) + "\n"


def setup(app: Sphinx) -> None:
    """Have pages changed as they are read."""
    app.connect("source-read", _read)
