"""The code in a page of the documentation."""

from __future__ import annotations

import re
from pathlib import Path


def code_blocks(path: Path, language: str = "python") -> list[tuple[str, str]]:
    """The code blocks of a Markdown file, as pairs of the heading above and the code."""
    blocks: list[tuple[str, str]] = []
    heading, code = "", ""
    fence: str | None = None
    for line in path.read_text().splitlines(keepends=True):
        mark = re.match(r"```(\w*)", line)
        if fence is None and mark is not None:
            fence, code = mark[1], ""
        elif fence is not None and mark is not None:
            if fence == language:
                blocks.append((heading, code))
            fence = None
        elif fence is not None:
            code += line
        elif line.startswith("#"):
            heading = line.lstrip("#").strip()
    return blocks
