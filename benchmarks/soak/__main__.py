"""Serves for half an hour under faults and hostile clients, and says which promises were broken.

    python -m benchmarks.soak                     # 30 minutes, six servers in turn
    python -m benchmarks.soak --minutes 180 --servers uvicorn-h11
    python -m benchmarks.soak --quick             # a minute

Each server runs twice, guarded and not. Four users send the same requests to both, to all frameworks
that it can serve, and compare the answers byte by byte, except for the headers `Date` and
`Connection`. 3 % of the requests to one route have a fault, another route has outages, and to each of
both come four hostile clients, who do all that `hostile.py` has. The promises:

- No healthy route is refused.
- No answer is altered.
- At the end no call is in flight and no file is left open.
- recloser itself has no fault.
- Memory does not grow more than the twin's. Judged after four minutes of one server.

It exits with 1 if one is broken.
"""

from __future__ import annotations

import argparse
import sys

from benchmarks.soak.servers import KINDS, missing
from benchmarks.soak.soak import Result, soak

SIX = (
    "uvicorn-httptools",
    "hypercorn",
    "granian",
    "gunicorn-sync",
    "gunicorn-gthread",
    "gunicorn-gevent",
)


def main(arguments: list[str]) -> int:
    """Run the soak; 0 if no promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0, help="for all servers together")
    parser.add_argument("--quick", action="store_true", help="a minute for all servers together")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--servers", default=",".join(SIX), help=f"of {', '.join(KINDS)}")
    options = parser.parse_args(arguments)
    kinds = options.servers.split(",")
    if unknown := [kind for kind in kinds if kind not in KINDS]:
        parser.error(f"--servers: no server is called {unknown[0]!r}; there are {', '.join(KINDS)}")
    if absent := {name for kind in kinds for name in missing(kind)}:
        parser.error(f"not installed: {', '.join(sorted(absent))}")
    seconds = 60.0 * (1.0 if options.quick else options.minutes) / len(kinds)
    print(
        f"{'server':19}{'minutes':>8}{'requests':>10}{'refused':>9}{'attacks':>9}{'MiB':>6}"
        f"{'KiB/min':>9}{'bare':>6}{'files':>10}{'in flight':>10}{'lost':>6}"
    )
    results = [soak_and_tell(kind, seconds, options.seed) for kind in kinds]
    wrong = [f"{each.kind}: {what}" for each in results for what in each.broken()]
    print("\n".join(wrong) if wrong else "no promise was broken")
    return 1 if wrong else 0


def soak_and_tell(kind: str, seconds: float, seed: int) -> Result:
    """Run one server, and print its row."""
    result = soak(kind, seconds, seed)
    guarded, bare = result.growth
    print(
        f"{kind:19}{result.seconds / 60:8.1f}{result.asked:10}{result.refused:9}{result.attacks:9}"
        f"{result.memory / 2**20:6.0f}{guarded / 1024:9.0f}{bare / 1024:6.0f}"
        f"{result.files[0]:5} ->{result.files[1]:3}{sum(result.left.values()):10}"
        f"{result.lost.total():6}  {dict(result.lost) or ''}",
        flush=True,
    )
    return result


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
