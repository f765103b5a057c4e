"""Fuzz a breaker for some million steps: `python -m benchmarks.fuzz --millions 10 --seed 0`.

Each play of 400 steps has a seed of its own, and half of them a policy at the bounds of its ranges. A
broken promise is shown with its seed: `--seed N --millions 0` plays that one again. The exit status is
1 then.
"""

from __future__ import annotations

import argparse
import itertools
import logging
import sys
import time
from collections import Counter

from benchmarks.fuzz.world import play
from recloser import State

STEPS = 400
# All promises are checked after so many steps. To check is a decision itself, so not after each one.
CHECK_EVERY = 5


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fuzz", description=__doc__)
    parser.add_argument(
        "--millions", type=float, default=1.0, help="steps in millions (default: 1)"
    )
    parser.add_argument("--seed", type=int, default=0, help="the first seed (default: 0)")
    arguments = parser.parse_args()
    logging.disable()
    reached: Counter[State] = Counter()
    began, broken, steps = time.perf_counter(), 0, 0
    for seed in itertools.count(arguments.seed):
        try:
            reached += play(seed, STEPS, CHECK_EVERY)
        except Exception as error:
            broken += 1
            print(f"seed {seed}: {error!r}", *getattr(error, "__notes__", ()), sep="\n  ")
        steps += STEPS
        if steps >= arguments.millions * 1e6:
            break
    seen = ", ".join(f"{state.value} {number}" for state, number in reached.most_common())
    print(f"{steps} steps in {time.perf_counter() - began:.0f} s, {broken} plays broke a promise")
    print(f"states at the checks: {seen}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
