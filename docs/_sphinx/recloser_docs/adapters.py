"""The page of the adapters: one section for each public module, found in the package itself.

A library that is not installed where the site is built is replaced by a mock: the signatures and
docstrings of its adapter are read all the same. Where that is not enough, the adapter is only named.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

from sphinx.application import Sphinx
from sphinx.ext.autodoc.mock import mock
from sphinx.util import logging

PAGE = "reference/adapters"
MARKER = "<!-- adapters -->"
_MOST_MOCKS = 9
_logger = logging.getLogger(__name__)


def modules(adapters: Path) -> list[str]:
    """Return the names of the public modules and packages in a folder."""
    names = {path.stem for path in adapters.iterdir() if path.suffix in {"", ".py"}}
    return sorted(name for name in names if not name.startswith("_"))


def _imported(full: str, mocked: list[str]) -> ModuleType | None:
    """Import a module; add the libraries that it misses to those that are mocked."""
    for _ in range(_MOST_MOCKS):
        try:
            with mock(mocked):
                return importlib.import_module(full)
        except ModuleNotFoundError as error:
            library = (error.name or "").partition(".")[0]
            if not library or library in mocked or library.startswith("recloser"):
                break
            mocked.append(library)
        except Exception as error:
            _logger.info("%s cannot be read without its library: %s", full, error)
            return None
    return None


def _section(name: str, described: dict[int, str], mocked: list[str]) -> str:
    """The section of a module; what an earlier one has described is only named."""
    full = f"recloser_adapters.{name}"
    module = _imported(full, mocked)
    if module is None:
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
        # Autodoc reads this list when it imports the modules again.
        mocked: list[str] = app.config.autodoc_mock_imports
        sections = "\n".join(_section(each, described, mocked) for each in modules(folder))
        source[0] = source[0].replace(MARKER, sections)


def setup(app: Sphinx) -> None:
    """Have the sections written into the page."""
    app.connect("source-read", _insert)
