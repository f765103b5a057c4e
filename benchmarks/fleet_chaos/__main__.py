"""Fleets of real processes on real stores.

    python -m benchmarks.fleet_chaos --spread 200
    python -m benchmarks.fleet_chaos --chaos 600 --seed 1
    python -m benchmarks.fleet_chaos --chaos 90 --seed 1 --peer --engines redis-server
    python -m benchmarks.fleet_chaos --overhead --restart --servers --engines sqlite

It exits with 1 if a goal is missed, or something breaks that must hold.
"""

from __future__ import annotations

import argparse
import sys

from benchmarks.fleet_chaos import chaos, overhead, peer, restart, servers, spread
from benchmarks.fleet_chaos.stores import engines


def main(arguments: list[str]) -> int:
    """Do what is asked for; 0 if all is well."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fleet_chaos", description=__doc__)
    parser.add_argument("--spread", type=int, metavar="RUNS", help="outages, 8 workers")
    parser.add_argument("--rate", type=float, default=120.0, help="calls per second in all")
    parser.add_argument("--calm", type=float, default=4.0, help="seconds between two outages")
    parser.add_argument("--chaos", type=float, metavar="SECONDS", help="random faults")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--faults", default="", help="only faults whose name has this text")
    parser.add_argument("--peer", action="store_true", help="with --chaos: beside interlock-cb")
    parser.add_argument("--verbose", action="store_true", help="print each fault")
    parser.add_argument("--overhead", action="store_true", help="what a store costs")
    parser.add_argument("--restart", action="store_true", help="all workers are replaced")
    parser.add_argument("--servers", action="store_true", help="gunicorn and uvicorn, 4 workers")
    parser.add_argument("--engines", default=",".join(engines()))
    options = parser.parse_args(arguments)
    fine = True
    for engine in options.engines.split(","):
        if engine not in engines():
            parser.error(f"--engines: no {engine!r} here; there are {', '.join(engines())}")
        if options.spread:
            fine &= spread.report(engine, options.spread, options.rate, options.calm)
        if options.chaos and options.peer:
            missing = peer.unfit(engine)
            if missing:
                parser.error(missing)
            peer.report(engine, options.chaos, options.seed, options.faults)
        elif options.chaos:
            fine &= chaos.report(
                engine, options.chaos, options.seed, options.faults, options.verbose
            )
        for part, report in (
            (options.overhead, overhead.report),
            (options.restart, restart.report),
            (options.servers, servers.report),
        ):
            if part:
                fine &= report(engine)
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
