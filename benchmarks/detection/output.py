"""What every benchmark in virtual time does with its results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from benchmarks.detection.progress import progress

Story = TypeVar("Story")


def write(
    report: str,
    figures: Callable[[], str],
    *,
    markdown: Path | None,
    json: Path | None,
    append: Path | None = None,
) -> None:
    """Print a report, and write it to the files that were asked for.

    Args:
        report: The report, as Markdown.
        figures: Returns all figures, as JSON.
        markdown: The file for the report.
        json: The file for the figures.
        append: A file to which the report is added.
    """
    print(report)
    if markdown:
        markdown.write_text(report, encoding="utf-8")
    if append:
        with append.open("a", encoding="utf-8") as file:
            file.write(f"\n{report}")
    if json:
        json.write_text(figures(), encoding="utf-8")


def draw(
    stories: Sequence[Story], one: Callable[[Story, Path], object], folder: Path | None
) -> None:
    """Draw a picture of each scenario with `one`, if a folder for them was asked for."""
    if folder is None:
        return
    folder.mkdir(parents=True, exist_ok=True)
    for story in progress(stories, len(stories), "pictures"):
        one(story, folder)
