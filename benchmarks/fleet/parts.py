"""All parts of the benchmark, by name."""

from __future__ import annotations

from benchmarks.fleet import outage
from benchmarks.fleet.cases import Part

PARTS: dict[str, Part] = {part.name: part for part in (outage.PART,)}
