"""`recloser demo`: two web apps, one with breakers, in front of an upstream that falls ill.

Everything is real: four processes, sockets on the loopback interface, concurrent requests. The
parts, in the order of the data: `plan` (what will happen), `upstream`, `webapp` and `load` (the
three programs), `children` (starting and ending them), `story` (what was seen), `verdict` (what
it means), `screen` and `plain` (showing it), `show` (the run as a whole).
"""
