"""Guarded functions that are sent to another process by value, as Spark, Dask and Ray do."""

from __future__ import annotations

import subprocess
import sys

BY_VALUE = """
import pickle, sys
import cloudpickle
from recloser import Registry

breakers = Registry()

@breakers["plain"]
def plain(x):
    return 2 * x

@breakers["async"]
async def coroutine(x):
    return 2 * x

@breakers["generator"]
def generator(x):
    yield 2 * x

@breakers["asyncgen"]
async def async_generator(x):
    yield 2 * x

@breakers["labelled"].labelled_by(lambda x: x)
def labelled(x):
    return 2 * x

@breakers["timeout"].with_timeout(argument="t")
def in_time(x, t=None):
    return 2 * x

@breakers["timeout"].with_timeout(cap=5.0)
async def async_in_time(x):
    return 2 * x

functions = [plain, coroutine, generator, async_generator, labelled, in_time, async_in_time]
sys.stdout.buffer.write(cloudpickle.dumps([functions, breakers]))
"""

ELSEWHERE = """
import asyncio, pickle, sys
functions, breakers = pickle.load(sys.stdin.buffer)
plain, coroutine, generator, async_generator, labelled, in_time, async_in_time = functions

async def first(stream):
    async for each in stream:
        return each

assert plain(1) == labelled(1) == in_time(1) == next(generator(1)) == 2
assert asyncio.run(coroutine(1)) == asyncio.run(async_in_time(1)) == 2
assert asyncio.run(first(async_generator(1))) == 2
assert breakers["plain"].metrics().successes == 1
breakers["plain"].open("here")
try:
    plain(1)
except Exception as error:
    assert type(error).__name__ == "BreakerOpenError"
else:
    raise AssertionError
"""


def test_a_guarded_function_can_be_sent_by_value() -> None:
    """As Spark, Dask and Ray send what is defined in a script or notebook."""

    def run(script: str, given: bytes = b"") -> bytes:
        command = [sys.executable, "-c", script]
        done = subprocess.run(command, input=given, capture_output=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    run(ELSEWHERE, run(BY_VALUE))
