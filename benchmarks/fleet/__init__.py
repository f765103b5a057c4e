"""What workers that share a store gain, and what it costs.

`python -m benchmarks.fleet` plays many workers on virtual time: an outage, an overload, restarts, a
store that fails, a worker that is sick. Each is played by one worker that has all the traffic, by
workers that are alone, and by workers that share a store in memory.
"""
