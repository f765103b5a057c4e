"""The code of a page in Markdown."""

from __future__ import annotations

from pathlib import Path


def code_blocks(path: Path, language: str = "python") -> list[tuple[str, str]]:
    """The code blocks of a page, each with the heading above it.

    Args:
        path: The page.
        language: The language of the blocks.

    Returns:
        Pairs of heading and code; the heading is "" above the first one.
    """
    heading, blocks, lines = "", list[tuple[str, str]](), list[str]()
    fence = ""
    for line in path.read_text().splitlines():
        if fence:
            if line.strip() == "```":
                if fence == language:
                    blocks.append((heading, "\n".join(lines) + "\n"))
                fence, lines = "", []
            else:
                lines.append(line)
        elif line.startswith("```"):
            fence = line[3:].strip() or "text"
        elif line.startswith("#"):
            heading = line.lstrip("#").strip()
    return blocks
