"""Fleets of real processes on real stores, and what happens to them: `python -m benchmarks.fleet_chaos`."""
