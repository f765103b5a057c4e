"""The code in a Markdown page."""

from __future__ import annotations

import re
from pathlib import Path

_PART = re.compile(
    r"^#+ (?P<heading>[^\n]*)$|^```(?P<language>\w*)\n(?P<code>.*?)^```$", re.M | re.S
)


def code_blocks(path: Path, language: str = "python") -> list[tuple[str, str]]:
    """The code blocks of a page in a language, each with the heading above it.

    Args:
        path: The page.
        language: The word after the three backticks.
    """
    heading, blocks = "", []
    for part in _PART.finditer(path.read_text()):
        if part["heading"] is not None:
            heading = part["heading"]
        elif part["language"] == language:
            blocks.append((heading, part["code"]))
    return blocks
