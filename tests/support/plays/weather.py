"""Plays of changing weather: one fault after another, chosen by seed; and all policies at their bounds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any

from tests.support.plays.callees import (
    Queue,
    failing,
    good,
    hanging,
    ignoring,
    mixed,
    streaming,
    throttling,
)
from tests.support.plays.registered import play
from tests.support.plays.world import ANYBODY, Callee, Caller, World

from recloser import Policy

# The lowest and the highest value of each setting, with what it must not contradict.
BOUNDS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "failure_threshold_z_score": (
        {"failure_threshold_z_score": 0.5},
        {"failure_threshold_z_score": 10.0},
    ),
    "min_latency_ratio": (
        {"min_latency_ratio": 1.0},
        {"min_latency_ratio": 8.0, "max_latency_ratio": 9.0},
    ),
    "max_latency_ratio": (
        {"max_latency_ratio": 1.0, "min_latency_ratio": 1.0},
        {"max_latency_ratio": 1000.0},
    ),
    "slow_floor": ({"slow_floor": 0.0}, {"slow_floor": 1.0}),
    "slow_ceiling": ({"slow_ceiling": 0.12}, {"slow_ceiling": 86400.0}),
    "history_size": ({"history_size": 50}, {"history_size": 1_000_000}),
    "history_span": ({"history_span": 0.0}, {"history_span": 86400.0}),
    "min_history": ({"min_history": 10}, {"min_history": 300}),
    "failure_rate_threshold": ({"failure_rate_threshold": 0.05}, {"failure_rate_threshold": 1.0}),
    "min_failures": ({"min_failures": 1}, {"min_failures": 40}),
    "false_trip_interval": ({"false_trip_interval": 100.0}, {"false_trip_interval": 1e15}),
    "normal_bad_rate": ({"normal_bad_rate": 0.0001}, {"normal_bad_rate": 0.5}),
    "evidence_half_life": ({"evidence_half_life": 1.0}, {"evidence_half_life": 86400.0}),
    "open_for": ({"open_for": 0.001}, {"open_for": 9.0}),
    "max_open_for": ({"max_open_for": 0.15}, {"max_open_for": 86400.0}),
    "typical_outage": ({"typical_outage": 0.1}, {"typical_outage": 86400.0}),
    "jitter": ({"jitter": 0.0}, {"jitter": 0.5}),
    "half_open_requests": ({"half_open_requests": 1}, {"half_open_requests": 60}),
    "success_rate_threshold": ({"success_rate_threshold": 0.01}, {"success_rate_threshold": 1.0}),
    "latency_patience": ({"latency_patience": 1.0}, {"latency_patience": 86400.0}),
    "max_retry_after": ({"max_retry_after": 0.0}, {"max_retry_after": 86400.0}),
    "quota_open_for": ({"quota_open_for": 1.0}, {"quota_open_for": 604800.0}),
}


def _storm(world: World) -> None:
    """A little of everything, in a short time."""
    world.load(20.0, 20.0, good(), looks=1)
    world.load(20.0, 2.0, failing(), looks=1)
    world.load(20.0, 6.0, mixed(0.4, failing(), good()), looks=1)
    world.load(20.0, 6.0, good(0.5), looks=1)
    world.load(20.0, 3.0, hanging, Caller(patience=1.0, gives_up="failure"), looks=1)
    world.load(20.0, 6.0, good(), looks=1)
    world.load(20.0, 3.0, throttling(1.5), looks=1)
    world.load(20.0, 2.0, throttling(quota=True), looks=1)
    world.load(20.0, 6.0, good(0.25), looks=1)
    world.load(20.0, 10.0, good(), looks=1)


for _name, _ends in BOUNDS.items():
    for _word, _settings in zip(("lowest", "highest"), _ends, strict=True):
        play(f"a storm with the {_word} {_name}", Policy(**_settings), jitter=True)(_storm)

assert {each.name for each in fields(Policy)} - {*BOUNDS} == {
    "mode",
    "enforce_share",
    "ignore_errors",
    "classify_error",
}


def _callee(world: World, scale: float) -> tuple[str, Callee]:
    """One kind of weather."""
    chance = world.chance
    share, factor = chance.choice((0.12, 0.3, 0.45, 0.6)), chance.choice((1.6, 2.7, 4.0, 6.0, 15.0))
    kinds: dict[str, Callable[[], Callee]] = {
        "good": lambda: good(scale),
        "dead": lambda: failing(0.2 * scale),
        f"{share:.0%} fail at once": lambda: mixed(share, failing(0.1 * scale), good(scale)),
        f"{share:.0%} fail late": lambda: mixed(share, failing(4.0 * scale), good(scale)),
        f"{share:.0%} hang": lambda: mixed(share, hanging, good(scale)),
        "hangs": lambda: hanging,
        f"{factor:g} times as slow": lambda: good(factor * scale),
        f"{share:.0%} are slow": lambda: mixed(share, good(factor * scale), good(scale)),
        f"{share:.0%} are asked to wait": lambda: mixed(share, throttling(2.0), good(scale)),
        "asks all to wait": lambda: throttling(),
        f"{share:.0%} at fault": lambda: mixed(share, ignoring(0.5 * scale), good(scale)),
        f"two servers, {factor:g} times as slow": lambda: Queue(2, 0.3 * factor * scale),
        f"{share:.0%} of the streams stall": lambda: streaming(3, scale, scale, stalls=share),
        f"slow, {share:.0%} fail": lambda: mixed(share, failing(scale), good(factor * scale)),
    }
    name = chance.choice([*kinds])
    return name, kinds[name]()


def _callers(world: World, scale: float) -> list[Caller]:
    some = [
        ANYBODY,
        Caller(patience=10.0 * scale, gives_up="failure"),
        Caller(patience=8.0 * scale),
        Caller(patience=3.0 * scale, gives_up="time_out"),
        Caller(patience=5.0 * scale, gives_up="cut", retries=1),
        Caller(label="a"),
        Caller(size=100.0, late=True),
        Caller(sends_for=3.0 * scale),
    ]
    return [world.chance.choice(some) for _ in range(3)]


def _weather(world: World) -> None:
    """Good for a while, and then ten times something else or good again."""
    chance = world.chance
    scale = chance.choice((0.003, 0.04, 0.1, 0.5, 3.0))
    rate = chance.choice((0.5, 2.0, 8.0)) / scale / 2.0
    callers = _callers(world, scale)
    world.record.say(f"calls of {scale:g} s at {rate:g}/s")
    world.load(rate, chance.choice((40, 200, 1200)) / rate, good(scale), *callers, looks=1)
    for _ in range(8):
        name, callee = _callee(world, scale)
        world.record.say(name)
        world.load(rate, chance.choice((15, 40, 150)) / rate, callee, *callers, looks=1)
        if chance.random() < 0.5:
            world.record.say("good again")
            world.load(rate, chance.choice((20, 80)) / rate, good(scale), *callers, looks=1)


for _number in range(1, 31):
    play(
        f"weather {_number}",
        Policy(latency_patience=10.0) if _number % 2 else None,
        jitter=_number % 3 == 0,
        step=1.0 / 1024.0 if _number % 5 == 0 else 0.0,
    )(_weather)
