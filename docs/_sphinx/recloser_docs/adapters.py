"""The page of the adapters: one section for each public module, found in the package itself.

An adapter whose library is not installed where the site is built is named without its members.
"""

from __future__ import annotations

import importlib
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.util import logging

PAGE = "reference/adapters"
MARKER = "<!-- adapters -->"
_logger = logging.getLogger(__name__)


def modules(adapters: Path) -> list[str]:
    """Return the names of the public modules and packages in a folder."""
    names = {path.stem for path in adapters.iterdir() if path.suffix in {"", ".py"}}
    return sorted(name for name in names if not name.startswith("_"))


def _section(name: str, described: dict[int, str]) -> str:
    """The section of a module; what an earlier one has described is only named."""
    full = f"recloser_adapters.{name}"
    try:
        module = importlib.import_module(full)
    except ModuleNotFoundError as error:
        _logger.info("%s is named only: %s", full, error)
        return f'## {name}\n\n`{full}` needs its library: `pip install ".[{name}]"`.\n'
    shared: dict[str, list[str]] = {}
    for member in module.__all__:
        value = getattr(module, member)
        first = described.setdefault(id(value), full) if callable(value) else full
        if first != full:
            shared.setdefault(first, []).append(member)
    hidden = ", ".join(member for members in shared.values() for member in members)
    lines = [f"## {name}", "", "```{eval-rst}", f".. automodule:: {full}", "   :imported-members:"]
    if hidden:
        lines.append(f"   :exclude-members: {hidden}")
    lines += ["```", ""]
    for first, members in shared.items():
        lines += [f"Also here, as in `{first}`: {', '.join(f'`{each}`' for each in members)}.", ""]
    return "\n".join(lines)


def _insert(app: Sphinx, name: str, source: list[str]) -> None:
    if name == PAGE:
        folder = Path(app.srcdir).parent / "adapters" / "recloser_adapters"
        described: dict[int, str] = {}
        sections = "\n".join(_section(each, described) for each in modules(folder))
        source[0] = source[0].replace(MARKER, sections)


def setup(app: Sphinx) -> None:
    """Have the sections written into the page."""
    app.connect("source-read", _insert)
