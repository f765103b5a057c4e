"""Load that is healthy, though it is not simple, and what a breaker does with it.

`python -m benchmarks.everyday` runs recloser with its defaults on virtual time. It counts the good
calls that were refused and the changes of state, and compares them with goals.
"""
