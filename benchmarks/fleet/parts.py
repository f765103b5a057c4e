"""All parts of the benchmark, by name."""

from __future__ import annotations

from benchmarks.fleet import growth, idle, loops, outage, restart, sick, trouble
from benchmarks.fleet.cases import Part

_MODULES = (outage, loops, growth, restart, idle, trouble, sick)
PARTS: dict[str, Part] = {module.PART.name: module.PART for module in _MODULES}
