"""The cost of a guarded call, a guarded request, a refusal and a key.

Run it as `python -m benchmarks.speed`.
"""
