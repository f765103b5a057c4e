"""`recloser demo`: two web apps, one with breakers, and an upstream that becomes unhealthy.

Everything is real: four processes, sockets on the loopback interface, concurrent requests. The
modules, in the order of the data: `plan` (the schedule), `upstream`, `webapp` and `load` (the three
programs), `children` (starts and ends them), `record` (the observed events), `results` (the
figures and expectations), `screen`, `plain` and `summary` (the output), `run` (the whole run).
"""
