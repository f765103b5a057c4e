"""Steps in any order against a plain reference of what a breaker promises: `python -m benchmarks.fuzz`."""
