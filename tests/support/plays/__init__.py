"""Recorded plays: what a breaker decides in some two hundred situations, as text.

Each play lets callers call a callee through a real breaker, on a virtual clock and by seed, and notes
every change of state and the public figures at some moments. `expected.txt` has what came out. So any
change of a decision shows as a difference of that file, in plain words and numbers.

If you changed a decision on purpose, write it anew and read the difference before you commit it:

    PYTHONPATH=middleware:adapters:. python -m tests.support.plays --write
"""
