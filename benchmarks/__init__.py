"""Benchmarks: the cost of recloser and what it detects, next to its peers in the same run."""
