"""What breakers do to a callee whose latency depends on what they let through.

`python -m benchmarks.closed_loop` plays scenarios on virtual time. A call that is let through takes
a server of the callee, and makes those behind it wait. So a breaker changes what it measures, which
the fixed calls of `benchmarks.detection` cannot show.
"""
