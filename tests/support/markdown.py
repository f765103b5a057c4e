"""The code blocks of a page in Markdown."""

from __future__ import annotations

import re
from pathlib import Path

# A block of any language, or of none, is one part: a comment in it is no heading.
_PART = re.compile(
    r"^(#+ (?P<heading>[^\n]+)|```(?P<language>[^\n`]*)\n(?P<code>.*?)^```)$",
    re.DOTALL | re.MULTILINE,
)


def code_blocks(path: Path, language: str = "python") -> list[tuple[str, str]]:
    """The page's code blocks in a language, each with the heading above it."""
    found = []
    heading = ""
    for part in _PART.finditer(path.read_text()):
        if part["heading"]:
            heading = part["heading"]
        elif part["language"] == language:
            found.append((heading, part["code"]))
    return found
