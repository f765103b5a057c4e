"""What is remembered of providers: whose credentials and models are rejected."""

from __future__ import annotations

from recloser._failover.memory import Memory


def lengths(memory: Memory, model: str | None, times: int) -> list[float]:
    """For how long a provider is rejected after each of some rejections, one after the other."""
    found: list[float] = []
    now = 100.0
    for _ in range(times):
        memory.reject("a", model, now)
        length = 1.0
        while memory.is_rejected("a", model, now + length):
            length += 1.0
        found.append(length)
        now += length
    return found


def test_each_rejection_lasts_twice_as_long_as_the_one_before_up_to_five_minutes() -> None:
    assert lengths(Memory(), None, 9) == [5, 10, 20, 40, 80, 160, 300, 300, 300]


def test_several_calls_that_are_rejected_at_a_time_count_once() -> None:
    memory = Memory()
    for _ in range(10):
        memory.reject("a", None, 100.0)

    assert not memory.is_rejected("a", None, 105.0)


def test_rejected_credentials_concern_all_models_and_a_model_only_itself() -> None:
    memory = Memory()
    memory.reject("a", None, 100.0)
    memory.reject("b", "big", 100.0)

    assert memory.is_rejected("a", "small", 101.0)
    assert memory.is_rejected("b", "big", 101.0)
    assert not memory.is_rejected("b", "small", 101.0)
    assert not memory.is_rejected("c", "big", 101.0)


def test_one_service_ends_it() -> None:
    memory = Memory()
    memory.reject("a", None, 100.0)
    memory.reject("a", "big", 100.0)

    memory.accept("a", "big")

    assert not memory.is_rejected("a", "big", 101.0)


def test_the_names_of_models_do_not_fill_the_memory() -> None:
    memory = Memory()
    for number in range(5000):
        memory.reject("a", f"model-{number}", 100.0)

    assert len(memory._rejected) <= 1000


def test_a_slow_provider_is_put_last_but_for_one_call_now_and_then() -> None:
    memory = Memory()
    assert not memory.is_slow("a m", 100.0)
    memory.note_speed("a m", 0.5, 100.0, slow=True)

    assert [memory.is_slow("a m", at) for at in (101.9, 102.0, 102.1, 103.9, 104.0)] == [
        True,
        False,
        True,
        True,
        False,
    ]
    memory.note_speed("a m", 0.05, 104.0, slow=False)
    assert not memory.is_slow("a m", 104.1)


def test_the_slower_it_is_the_more_seldom_it_is_asked() -> None:
    memory = Memory()
    memory.note_speed("a", 30.0, 100.0, slow=True)

    assert memory.is_slow("a", 219.0)
    assert not memory.is_slow("a", 220.0)
