"""How soon trouble is noticed and how seldom wolf is cried: recloser next to its peers.

`python -m benchmarks.detection` plays the same calls, on virtual time, to every breaker, and
prints what each of them let through and refused. See docs/detection.md for the table it writes.
"""
