"""What a guarded call, a guarded request, a refusal and a key cost: `python -m benchmarks.speed`."""
