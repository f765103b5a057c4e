"""The file of what is expected: a paragraph for each play."""

from __future__ import annotations

from pathlib import Path

# Each registers its plays.
from tests.support.plays import failing, kinds, limits, pauses, slow, streams, weather
from tests.support.plays.registered import PLAYS

__all__ = ["PATH", "PLAYS", "load", "write"]

PATH = Path(__file__).with_name("expected.txt")

_MODULES = (failing, slow, limits, kinds, streams, pauses, weather)


def load() -> dict[str, str]:
    """The paragraph of each play, by its name."""
    paragraphs = PATH.read_text().split("\n\n") if PATH.exists() else []
    return {text.split("\n", 1)[0]: text.strip("\n") + "\n" for text in paragraphs if text.strip()}


def write() -> None:
    """Play all, and write what came out."""
    PATH.write_text("\n".join(played() for played in PLAYS.values()))
