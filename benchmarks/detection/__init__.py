"""How fast recloser and its peers detect faults, and how rarely they open without a fault.

`python -m benchmarks.detection` gives the same calls, on virtual time, to every breaker. It prints
what each of them admitted and refused. docs/detection.md is the report that it writes.
"""
