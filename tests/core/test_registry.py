"""Registry: one breaker per key, of the right policy, in bounded number."""

from __future__ import annotations

import copy
import gc
import tracemalloc
from typing import Any

import pytest
from tests.support.limits import limit
from tests.support.training import record

from recloser import Breaker, BreakerOpenError, Mode, Permit, Policy, Registry, State
from recloser.testing import ManualClock, open_breaker

OVERFLOW = "<overflow>"


def test_a_key_has_one_breaker_for_good() -> None:
    registry = Registry()

    breaker = registry["GET /users/{id}"]

    assert registry["GET /users/{id}"] is breaker
    assert breaker.key == "GET /users/{id}"
    assert "GET /users/{id}" in registry
    assert list(registry) == registry.breakers() == [breaker]
    assert len(registry) == 1


@pytest.mark.parametrize("mode", [None, Mode.OBSERVE, Mode.ENFORCE])
def test_a_breaker_of_requests_that_match_no_route_guards_nothing(mode: Mode | None) -> None:
    registry = Registry(clock=ManualClock())
    breaker = registry["<unmatched>"]
    if mode is not None:
        registry.mode = mode

    breaker.open()

    assert breaker.mode is Mode.DISABLED
    assert registry["other"].mode is registry.mode
    with breaker:
        pass
    assert breaker.metrics().refused == 0


@pytest.mark.parametrize("key", [None, 1, b"k", ("k",), ["k"]])
def test_a_key_is_a_str(key: Any) -> None:
    with pytest.raises(TypeError):
        Registry()[key]


def test_a_key_gets_its_own_policy_else_that_of_the_first_pattern_it_fits() -> None:
    default, exact, search, get = (Policy(open_for=float(number)) for number in range(1, 5))
    registry = Registry(
        default,
        policies={"GET /search*": search, "GET *": get, "GET /search/me": exact, "[::1]:80": exact},
    )

    assert registry["GET /search/me"].policy is exact
    assert registry["GET /search/you"].policy is search
    assert registry["GET /users"].policy is get
    assert registry["POST /users"].policy is default
    assert registry["[::1]:80"].policy is exact
    assert registry["get /users"].policy is default


@pytest.mark.parametrize(
    ("settings", "error", "name"),
    [
        ({"policy": "strict"}, TypeError, "policy"),
        ({"policies": {"k": 5}}, TypeError, "policies"),
        ({"policies": {5: Policy()}}, TypeError, "policies"),
        ({"policies": [Policy()]}, TypeError, "policies"),
        ({"policies": None}, TypeError, "policies"),
        ({"clock": 5}, TypeError, "clock"),
        ({"random": 5}, TypeError, "random"),
        ({"mode": "observ"}, ValueError, "mode must be one of enforce, observe, disabled"),
        ({"max_keys": 0}, ValueError, "max_keys"),
        ({"max_keys": -5}, ValueError, "max_keys"),
        ({"max_keys": 2.0}, TypeError, "max_keys"),
        ({"max_keys": True}, TypeError, "max_keys"),
        ({"mode": "enforced"}, ValueError, "enforced"),
        ({"max_key": 5}, TypeError, "max_key"),
    ],
)
def test_a_mistake_is_refused_by_name(
    settings: dict[str, Any], error: type[Exception], name: str
) -> None:
    with pytest.raises(error, match=name):
        Registry(**settings)


def test_a_million_keys_leave_no_more_than_max_keys() -> None:
    registry = Registry(max_keys=100)
    # A million takes half a minute; what counts is that nothing grows from here on.
    number = 20_000
    for index in range(number // 2):
        registry[f"GET /{index}"]
    gc.collect()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()

    for index in range(number // 2, number):
        registry[f"GET /{index}"]
    gc.collect()

    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(registry) == len(registry.breakers()) == 100
    assert registry.evicted == number - 100
    assert registry.overflowed == 0
    assert after - before < 500_000


def test_a_fresh_key_takes_no_more_than_1700_bytes() -> None:
    registry = Registry(max_keys=3_000)
    keys = [f"GET /{index}" for index in range(2_000)]
    gc.collect()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()

    for key in keys:
        registry[key]
    gc.collect()

    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (after - before) / len(keys) <= 1_700


@pytest.mark.parametrize("change", ["open", "half_open", "limit"])
def test_a_sick_key_that_was_left_alone_loses_its_place(change: str) -> None:
    """Or dead hosts that nobody asks for any more would keep all places for ever."""
    clock = ManualClock()
    registry = Registry(max_keys=3, clock=clock)
    for key in "abc":
        if change == "limit":
            limit(registry[key], clock)
        else:
            record(registry[key], 30, success=False)
        if change == "half_open":
            clock.advance(registry[key].retry_after)
            registry[key].acquire().success()
    assert registry["too soon"].key == OVERFLOW

    clock.advance(2 * Policy().max_open_for + 1.0)

    assert registry["d"].key == "d"


def test_a_pause_and_an_order_hold_without_demand() -> None:
    clock = ManualClock()
    registry = Registry(max_keys=2, clock=clock)
    registry["ordered"].open("maintenance")
    registry["paused"].open("quota", for_=900.0)

    clock.advance(890.0)
    assert registry["new"].key == OVERFLOW
    clock.advance(1e6)
    assert registry["new"].key == "new"
    assert registry["newer"].key == "newer"

    assert registry["ordered"].state is State.OPEN


def test_keys_without_a_place_refuse_nothing_of_each_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    registry = Registry(max_keys=1, clock=ManualClock())
    open_breaker(registry["a"])
    for _ in range(50):
        permit = registry["sick"].try_acquire()
        assert permit is not None
        permit.failure()

    registry.mode = "enforce"
    registry["healthy"].acquire().success()

    assert registry[OVERFLOW].mode is Mode.OBSERVE
    told = [each for each in caplog.messages if "not guarded" in each]
    assert len(told) == 1
    assert "1 breakers (max_keys)" in told[0]


@pytest.mark.parametrize("max_keys", [20, 50, 100, 1000])
@pytest.mark.parametrize("share", [0.02, 0.1])
@pytest.mark.parametrize("known", [True, False])
def test_keys_that_are_asked_once_push_out_none_that_is_asked_again(
    max_keys: int, share: float, known: bool
) -> None:
    registry = Registry(max_keys=max_keys, clock=ManualClock())
    every = round(1.0 / share)
    if known:
        for _ in range(5):
            registry["regular"].acquire().success()
    for index in range(3 * max_keys + 10 * every):
        registry[f"once {index}"].acquire().success()
        if index % every == 0:
            registry["regular"].acquire().success()
    before = registry["regular"].metrics().successes

    for index in range(5 * max_keys + 10 * every):
        registry[f"once more {index}"].acquire().success()
        if index % every == 0:
            registry["regular"].acquire().success()

    assert before >= 5
    assert registry["regular"].metrics().successes >= before + 10


def test_keys_that_are_used_no_more_leave_their_places() -> None:
    registry = Registry(max_keys=50, clock=ManualClock())
    for turn in range(3):
        for _ in range(20):
            for index in range(50):
                registry[f"{turn} {index}"].acquire().success()

    held = sum(each.key.startswith("2 ") for each in registry)
    assert held >= 40


def test_a_key_has_one_breaker_also_after_it_lost_its_place() -> None:
    registry = Registry(max_keys=5, mode="observe", clock=ManualClock())
    guarded = registry["payments"](lambda: "charged")
    for index in range(100):
        registry[f"GET /{index}"].acquire().success()
    assert "payments" not in registry
    assert "payments" in [each.key for each in registry.breakers()]

    registry.mode = Mode.ENFORCE
    registry["payments"].open("maintenance")

    with pytest.raises(BreakerOpenError):
        guarded()
    assert len(registry) == 5
    assert [each.key for each in registry].count("payments") == 1


def test_a_key_that_lost_its_place_keeps_its_breaker_also_where_none_is_free() -> None:
    registry = Registry(max_keys=1, clock=ManualClock())
    first = registry["first"]
    open_breaker(registry["second"])

    assert registry["first"] is first
    assert registry.overflowed == 0


@pytest.mark.parametrize("name", ["policies", "clock", "random", "max_keys"])
def test_a_setting_that_cannot_be_changed_says_so(name: str) -> None:
    with pytest.raises(AttributeError, match=rf"Registry\({name}="):
        setattr(Registry(), name, Policy())


def test_an_attribute_that_there_is_not_is_an_error() -> None:
    with pytest.raises(AttributeError):
        setattr(Registry(), "modes", "observe")  # noqa: B010 - type checkers know it


@pytest.mark.parametrize("max_keys", [1, 2, 20, 100])
def test_open_and_busy_breakers_are_never_evicted(max_keys: int) -> None:
    clock = ManualClock()
    registry = Registry(max_keys=max_keys, clock=clock)
    kept: list[Breaker] = []
    permits: list[Permit] = []
    for index in range(max_keys):
        breaker = registry[f"kept {index}"]
        if index % 3 == 0:
            breaker.open(for_=5.0)
        elif index % 3 == 1:
            breaker.half_open()
        else:
            permits.append(breaker.acquire())
        kept.append(breaker)

    for index in range(1_000):
        registry[f"GET /{index}"].acquire().success()

    assert all(registry[breaker.key] is breaker for breaker in kept)
    assert registry.evicted == 0
    assert registry.overflowed == 1_000
    # The shared one is there besides.
    assert len(registry) == max_keys + 1
    assert registry[OVERFLOW].metrics().successes == 1_000


def test_room_is_made_again_once_there_is_some() -> None:
    registry = Registry(max_keys=2)
    permits = [registry[key].acquire() for key in "ab"]
    assert registry["c"].key == OVERFLOW

    for permit in permits:
        permit.success()

    assert registry["d"].key == "d"
    assert len(registry) == 3  # the shared one stays
    assert registry["d"] is registry["d"]


def test_a_permit_that_was_dropped_does_not_keep_its_breaker() -> None:
    registry = Registry(max_keys=1)
    registry["a"].acquire()

    assert registry["b"].key == "b"


def test_a_scan_of_random_keys_does_not_drive_out_the_busy_ones() -> None:
    registry = Registry(max_keys=300)
    busy: list[Breaker] = []
    for index in range(20):
        busy.append(registry[f"busy {index}"])
        registry[f"GET /early/{index}"].acquire().success()

    for index in range(5_000):
        registry[f"GET /{index}"].acquire().success()
        if index % 10 == 0:
            for breaker in busy:
                breaker.acquire().success()

    assert all(registry[breaker.key] is breaker for breaker in busy)


def test_making_a_key_is_quick_also_when_nothing_can_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """O(1) in the number of keys: or a scan during an outage would be an outage of its own."""
    looked_at = 0
    registry = Registry(max_keys=500)
    for index in range(500):
        open_breaker(registry[f"down {index}"])
    circuit = type(registry["down 0"]._circuit)
    asked = circuit.asked

    def counted(self: Any) -> int:
        nonlocal looked_at
        looked_at += 1
        return int(asked.__get__(self))

    monkeypatch.setattr(circuit, "asked", property(counted))
    for index in range(100):
        registry[f"GET /{index}"]

    assert looked_at <= 100 * 20


def test_a_finalizer_may_ask_for_a_breaker_while_one_is_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    registry = Registry(max_keys=3)
    policy_for = Registry.policy_for

    def collecting(self: Registry, key: str) -> Policy:
        if key != "inner":
            self["inner"].acquire().success()
        return policy_for(self, key)

    monkeypatch.setattr(Registry, "policy_for", collecting)
    for key in "abcdef":
        assert registry[key] is registry[key]

    assert len(registry) <= 4


def test_the_mode_of_all_breakers_can_be_changed_at_once() -> None:
    registry = Registry(mode="observe")
    old = registry["old"]
    assert old.mode is Mode.OBSERVE

    registry.mode = Mode.ENFORCE
    assert old.mode is registry["new"].mode is Mode.ENFORCE
    with pytest.raises(ValueError, match="of"):
        registry.mode = "of"

    assert registry.mode is Mode.ENFORCE


def test_what_it_holds_shows_in_its_repr() -> None:
    registry = Registry(max_keys=10)
    open_breaker(registry["a"])
    registry["b"]

    assert repr(registry) == "<Registry 2 of 10 keys, 1 not closed>"


def test_its_settings_can_be_read() -> None:
    policy = Policy(min_failures=9)
    registry = Registry(policy, max_keys=7)

    assert (registry.policy, registry.max_keys) == (policy, 7)


def test_a_copy_is_the_same_registry(registry: Registry) -> None:
    assert copy.copy(registry) is registry
    assert copy.deepcopy({"app": registry})["app"] is registry


# Keys that are made from others


def test_the_policy_of_the_beginning_of_a_key_is_its_own_unless_it_has_one() -> None:
    host, model, pattern = Policy(min_failures=6), Policy(min_failures=7), Policy(min_failures=8)
    registry = Registry(policies={"a.test": host, "a.test big": model, "a.test *t": pattern})

    assert registry["a.test chat"].policy is pattern
    assert registry["a.test small (credential 1)"].policy is host
    assert registry["a.test big (credential 1)"].policy is model
    assert registry["a.testing small"].policy is registry.policy_for("b")


def test_a_breaker_is_made_with_a_policy_once() -> None:
    registry = Registry(policies={"a": Policy(min_failures=6)})
    own = Policy(min_failures=7)

    breaker = registry.with_policy("a", own)

    assert breaker.policy is own
    assert registry.with_policy("a", Policy()) is registry["a"] is breaker


def test_a_discarded_breaker_gives_its_place_back_in_whatever_state_it_is() -> None:
    registry = Registry(max_keys=1)
    breaker = registry["a"]
    breaker.open("test")

    registry.discard(breaker)

    assert "a" not in registry
    assert registry["b"].key == "b"
    assert registry["b"] is not breaker
    registry.discard(breaker)  # nothing happens
    assert len(registry) == 1
