"""What users notice of a sick primary when calls fail over: `python -m benchmarks.failover`."""
