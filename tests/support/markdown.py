"""The code in our documentation, so that tests can run it."""

from __future__ import annotations

import re
from pathlib import Path


def code_blocks(path: Path, language: str = "python") -> list[tuple[str, str]]:
    """The code blocks of a page in a language, each with the heading above it."""
    found: list[tuple[str, str]] = []
    heading = ""
    pattern = r"^(#+ (?P<heading>[^\n]+)|```(?P<language>\w+)\n(?P<code>.*?)^```)$"
    for part in re.finditer(pattern, path.read_text(), re.DOTALL | re.MULTILINE):
        if part["heading"]:
            heading = part["heading"]
        elif part["language"] == language:
            found.append((heading, part["code"]))
    return found
