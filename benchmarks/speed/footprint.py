"""The memory of a key, and the time of the import."""

from __future__ import annotations

import gc
import os
import random
import re
import resource
import statistics
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Mapping
from tempfile import TemporaryDirectory

from recloser import Registry

from .report import Goal, Section
from .rounds import Effort

KEYS = 10_000
USED_KEYS = 500
_IMPORT_LINE = re.compile(r"import time:\s+(\d+) \|\s+(\d+) \| +(\S+)")


def memory(tick: Callable[[], None]) -> Section:
    """Measure the bytes of a key with tracemalloc: new, after one call, after three hundred."""
    section = Section("Memory", ["one key", "bytes"])
    fresh = _bytes_per_key(KEYS, calls=0)
    tick()
    section.rows += [
        [f"of {KEYS:,} fresh", fresh],
        [f"of {KEYS:,} after one call", _bytes_per_key(KEYS, calls=1)],
        [f"of {USED_KEYS} after 300 calls, 10 % failed", _bytes_per_key(USED_KEYS, calls=300)],
    ]
    tick()
    section.notes.append("The key's own string is the caller's and not counted.")
    section.goals.append(Goal("a fresh key", fresh, 1700, "bytes"))
    return section


def _bytes_per_key(keys: int, *, calls: int) -> float:
    names = [f"GET /items/{number}" for number in range(keys)]
    draw = random.Random(1).random
    gc.collect()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    registry = Registry(max_keys=2 * keys)
    for name in names:
        breaker = registry[name]
        for _ in range(calls):
            breaker.record(draw(), draw() > 0.1)
    gc.collect()
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(registry.breakers()) == keys
    return (after - before) / keys


def import_time(effort: Effort, tick: Callable[[], None]) -> Section:
    """Time whole interpreters with and without `import recloser`, in turns."""
    statements = [
        "pass",
        "import recloser",
        "from recloser import Failover",
        "import recloser.asgi",
        "import recloser.wsgi",
    ]
    rounds: list[dict[str, float]] = []
    with TemporaryDirectory() as compiled:
        # Bytecode is compiled once, as in an installation, also if this environment disables it.
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": compiled}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        for each in statements:
            _start_python(each, environment)
        dearest = _dearest("recloser", environment)
        for _ in range(effort.keep):
            shuffled = random.sample(statements, len(statements))
            rounds.append({each: _start_python(each, environment) for each in shuffled})
            tick()
    rounds.sort(key=lambda one: sum(one.values()))
    kept = rounds[: max(5, len(rounds) // 2)]
    section = Section("Import", ["", "CPU ms", "over bare Python, ms"])
    over: dict[str, float] = {}
    for each in statements:
        over[each] = statistics.median(one[each] - one["pass"] for one in kept) * 1000
        section.rows.append(
            [
                each,
                f"{statistics.median(one[each] for one in kept) * 1000:.1f}",
                f"{over[each]:.1f}",
            ]
        )
    section.goals.append(Goal("import recloser", over["import recloser"], 30.0, "ms"))
    section.notes.append("Dearest modules, own ms: " + ", ".join(dearest))
    return section


def _start_python(statement: str, environment: Mapping[str, str]) -> float:
    # CPU time of the child: on a shared machine, wall-clock time depends on other processes.
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", statement], check=True, env=environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def _dearest(module: str, environment: Mapping[str, str]) -> list[str]:
    lines = _imported(f"import {module}", environment)
    known = _imported("pass", environment)
    own = sorted(((lines[name], name) for name in lines.keys() - known.keys()), reverse=True)
    return [f"{name} {microseconds / 1000:.1f}" for microseconds, name in own[:12]]


def _imported(statement: str, environment: Mapping[str, str]) -> dict[str, int]:
    found = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", statement],
        check=True,
        capture_output=True,
        text=True,
        env=environment,
    )
    return {match[3]: int(match[1]) for match in _IMPORT_LINE.finditer(found.stderr)}
