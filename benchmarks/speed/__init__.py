"""The cost of a guarded call, a guarded request, a refusal and a key.

Run it as `python -m benchmarks.speed`.

Candidates named "floor" show which goals plain Python can reach: each is the least code that keeps
what cannot be given up, and stands in the table of its section beside the goal (see `floors`). They
are for a block, an ASGI and a WSGI request, their refusals, a Flask request and a real server.
"""
