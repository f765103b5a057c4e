"""What users notice of an unhealthy primary if calls fail over: `python -m benchmarks.failover`."""
