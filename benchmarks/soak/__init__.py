"""Real servers under faults and hostile clients, next to unguarded twins: `python -m benchmarks.soak`."""
