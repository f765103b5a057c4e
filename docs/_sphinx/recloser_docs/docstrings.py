"""Docstrings as they are written here, read by Sphinx: `code` in single backticks, code by indent."""

from __future__ import annotations

import ast
import re
from typing import Any

from sphinx.application import Sphinx

_CODE = re.compile(r"(?<![`:\w])`([^`\n]+)`(?!`)")
_SECTION = re.compile(
    r"^\s*(Args|Attributes|Returns|Raises|Yields|Example|Examples|Note|Notes|Type Parameters):$"
)
# For the build, not for readers.
_HIDDEN = re.compile(r"^PYTEST_DONT_REWRITE")


def as_restructured_text(lines: list[str]) -> list[str]:
    """Return the lines of a docstring with the marks that reStructuredText wants."""
    if _is_program("\n".join(lines[1:])):
        # Where all after the first line is code, its indent is lost as that of the docstring.
        lines = [lines[0], "", *(f"    {line}" for line in lines[2:])]
    written: list[str] = []
    code_indent: int | None = None
    hidden = False
    for number, line in enumerate(lines):
        indent = len(line) - len(line.lstrip())
        if not line.strip():
            hidden = False
        elif _HIDDEN.match(line):
            hidden = True
        if hidden:
            continue
        if code_indent is not None and line.strip() and indent < code_indent:
            code_indent = None
        if code_indent is None and line.strip() and _begins_code(lines, number, indent):
            code_indent = indent
            written += [" " * (indent - 4) + "::", ""]
        written.append(line if code_indent is not None else _CODE.sub(_literal, line))
    return written


def _is_program(text: str) -> bool:
    try:
        parts = ast.parse(text).body
    except SyntaxError:
        return False
    return any(isinstance(part, ast.Import | ast.ImportFrom | ast.Assign) for part in parts)


def _literal(code: re.Match[str]) -> str:
    following = code.string[code.end() : code.end() + 1]
    # A letter right behind code, as in "several `MemoryStore`s", needs an escaped space.
    return f"``{code[1]}``" + ("\\ " if following.isalnum() else "")


def _begins_code(lines: list[str], number: int, indent: int) -> bool:
    """Whether a line begins an indented block that follows text, and not a section's entries."""
    if number == 0 or lines[number - 1].strip():
        return False
    before = next((line for line in reversed(lines[:number]) if line.strip()), "")
    outer = len(before) - len(before.lstrip())
    if indent < outer + 4 or _SECTION.match(before) or before.lstrip().startswith(("- ", "* ")):
        return False
    return not _in_section(lines, number, outer)


def _in_section(lines: list[str], number: int, outer: int) -> bool:
    for line in reversed(lines[:number]):
        indent = len(line) - len(line.lstrip())
        if line.strip() and indent < outer:
            return bool(_SECTION.match(line))
    return False


def _process(
    app: Sphinx, what: str, name: str, obj: object, options: Any, lines: list[str]
) -> None:
    if lines and lines[0].startswith("Alias for field number"):  # of a NamedTuple
        lines.clear()
    lines[:] = as_restructured_text(lines)


def setup(app: Sphinx) -> None:
    """Change docstrings before napoleon reads their sections."""
    app.connect("autodoc-process-docstring", _process, priority=100)
