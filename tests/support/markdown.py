"""The code in a page of the documentation."""

from __future__ import annotations

import re
from pathlib import Path


def code_blocks(path: Path, language: str = "python") -> list[tuple[str, str]]:
    """Return the code blocks of a Markdown file in one language: pairs of (heading above, code)."""
    blocks: list[tuple[str, str]] = []
    heading = ""
    fence, found, lines = "", "", list[str]()
    for line in path.read_text().splitlines():
        if fence:
            if line.strip() == fence:
                if found == language:
                    blocks.append((heading, "\n".join(lines) + "\n"))
                fence = ""
            else:
                lines.append(line)
        elif opened := re.match(r"(`{3,})(\w*)", line):
            fence, found, lines = opened[1], opened[2], []
        elif line.startswith("#"):
            heading = line.lstrip("#").strip()
    return blocks
