"""The survivors that are accepted, each with its reason."""

from __future__ import annotations

import tomllib
from pathlib import Path

_FILE = Path(__file__).with_name("accepted.toml")


def load_accepted() -> dict[str, str]:
    """Name of a mutant to the reason why no test can, or should, kill it.

    Raises:
        ValueError: A reason is missing, or a mutant is named twice.
    """
    accepted: dict[str, str] = {}
    for entry in tomllib.loads(_FILE.read_text()).get("accepted", []):
        if not entry["reason"].strip():
            raise ValueError(f"{_FILE.name}: the reason for {entry['mutants']} is missing")
        for name in entry["mutants"]:
            if name in accepted:
                raise ValueError(f"{_FILE.name}: {name} is there twice")
            accepted[name] = entry["reason"]
    return accepted
