"""How a breaker is told a label or a size, and that nothing is kept of calls that have ended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator
from math import nan
from typing import Any

import pytest
from tests.support.breaker_state import counts, ended
from tests.support.training import learned

from recloser import Breaker, Mode, Registry
from recloser._circuit.kinds import Kind, kind_of
from recloser.testing import ManualClock, open_breaker


def test_a_permit_tells_what_it_was_told(breaker: Breaker) -> None:
    permit = breaker.acquire("chat", 12_000)
    assert (permit.label, permit.size) == ("chat", 8192.0)

    permit.size = 3
    assert (permit.label, permit.size) == ("chat", 2.0)
    permit.label = "export"
    assert (permit.label, permit.size) == ("export", 2.0)
    assert (breaker.acquire().label, breaker.acquire().size) == ("", None)


@pytest.mark.parametrize("wrong", [{"size": -1}, {"size": nan}, {"size": "x"}, {"label": 5}])
def test_a_wrong_label_or_size_is_a_fault_and_the_call_passes(wrong: dict[str, Any]) -> None:
    registry = Registry()
    breaker = registry["k"]

    permit = breaker.acquire(**wrong)
    assert registry.faults == 1
    for name, value in wrong.items():
        setattr(permit, name, value)
    permit.success()

    assert registry.faults == 2
    assert ended(breaker) == (1, 0, 0, 0)


def test_a_disabled_breaker_takes_labels_and_sizes(clock: ManualClock) -> None:
    breaker = Breaker("k", mode=Mode.DISABLED, clock=clock)

    permit = breaker.acquire("export", 5)
    permit.size = 7
    permit.success()

    assert breaker.metrics().calls == 0


def test_a_refused_call_keeps_nothing(breaker: Breaker) -> None:
    open_breaker(breaker)

    assert breaker.try_acquire("export") is None
    assert breaker._circuit.explained is None


def test_a_block_can_be_told_its_size(breaker: Breaker) -> None:
    with breaker as permit:
        permit.size = 5
        assert permit.size == 4.0
    with breaker.acquire("export") as permit:
        assert permit.label == "export"

    assert ended(breaker) == (2, 0, 0, 0)


def itself(prompt: str) -> str:
    return prompt


def name_or_tokens(name: str, tokens: int = 0) -> str | int:
    return name or tokens


def labels_of(breaker: Breaker) -> list[Kind]:
    explained = breaker._circuit.explained
    return [] if explained is None else [*explained.kinds.values()]


def test_a_plain_function_is_labelled_by_its_arguments(breaker: Breaker) -> None:
    seen: list[Kind] = []

    @breaker.labelled_by(name_or_tokens)
    def ask(name: str, tokens: int = 0) -> str:
        """Ask."""
        seen.extend(labels_of(breaker))
        return name

    assert ask("export") == "export"
    ask("", tokens=12_000)
    assert seen == [("export", None), kind_of(None, 12_000)]
    assert ask.__doc__ == "Ask."
    assert ended(breaker) == (2, 0, 0, 0)


def test_so_is_a_coroutine_function(breaker: Breaker) -> None:
    @breaker.labelled_by(len)
    async def ask(prompt: str) -> list[Kind]:
        return labels_of(breaker)

    assert asyncio.run(ask("four")) == [kind_of(None, 4)]
    assert ended(breaker) == (1, 0, 0, 0)


def test_so_are_generators(breaker: Breaker) -> None:
    @breaker.labelled_by(itself)
    def words(prompt: str) -> Generator[list[Kind]]:
        yield labels_of(breaker)

    @breaker.labelled_by(itself)
    async def more(prompt: str) -> AsyncGenerator[list[Kind]]:
        yield labels_of(breaker)

    async def collect() -> list[list[Kind]]:
        return [each async for each in more("b")]

    assert [*words("a")] == [[("a", None)]]
    assert asyncio.run(collect()) == [[("b", None)]]
    assert ended(breaker) == (2, 0, 0, 0)


def test_what_a_labelled_function_raises_passes_and_is_counted(breaker: Breaker) -> None:
    @breaker.labelled_by(lambda: "x")
    def fail() -> None:
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        fail()

    assert ended(breaker) == (0, 1, 0, 0)


def test_a_coroutine_behind_a_plain_function_is_one_call(breaker: Breaker) -> None:
    async def late() -> str:
        return "late"

    @breaker.labelled_by(lambda: "x")
    def ask() -> Any:
        return late()

    assert asyncio.run(ask()) == "late"
    assert ended(breaker) == (1, 0, 0, 0)


def _raises() -> Any:
    raise ValueError


@pytest.mark.parametrize(
    ("known", "faults"),
    [
        pytest.param(_raises, 1, id="raises"),
        pytest.param(lambda: None, 0, id="nothing"),
        pytest.param(lambda: [1], 1, id="no label"),
    ],
)
def test_a_function_that_cannot_tell_a_label_refuses_no_call(known: Any, faults: int) -> None:
    registry = Registry()

    @registry["k"].labelled_by(known)
    def ask() -> str:
        return "answer"

    assert ask() == "answer"
    assert registry.faults == faults
    assert ended(registry["k"]) == (1, 0, 0, 0)


def test_what_is_no_function_is_said_so(breaker: Breaker) -> None:
    with pytest.raises(TypeError, match="known must be a function of the arguments"):
        breaker.labelled_by("export")(len)  # type: ignore[arg-type]


# After the end


@pytest.mark.parametrize("way", ["success", "failure", "throttled", "ignore", "cancel", "drop"])
@pytest.mark.parametrize("late", [False, True])
def test_nothing_is_kept_of_a_call_that_has_ended(
    breaker: Breaker, clock: ManualClock, way: str, late: bool
) -> None:
    learned(breaker, clock)
    permit = breaker.acquire(None if late else "export")
    permit.size = 5
    explained = breaker._circuit.explained
    assert explained is not None
    assert len(explained.kinds) == 1

    if way == "drop":
        del permit
    else:
        getattr(permit, way)()
    metrics = breaker.metrics()

    assert not explained.kinds
    assert metrics.in_flight == 0
    assert sum(counts(breaker).values()) == 101


def test_what_is_told_after_the_end_is_not_kept(breaker: Breaker) -> None:
    permit = breaker.acquire("export")
    permit.success()
    permit.size = 5
    permit.label = "import"

    assert breaker._circuit.explained is not None
    assert not breaker._circuit.explained.kinds
    assert (permit.label, permit.size) == ("", None)


def test_a_size_told_while_another_thread_ends_the_call_is_not_kept(
    breaker: Breaker, clock: ManualClock
) -> None:
    learned(breaker, clock)
    permit = breaker.acquire()
    token = permit.token
    permit.success()
    permit.token = token  # as the other thread has read it

    permit.size = 5

    assert breaker._circuit.explained is not None
    assert not breaker._circuit.explained.kinds


def test_a_child_process_knows_nothing_of_the_calls_of_its_parent(breaker: Breaker) -> None:
    held = breaker.acquire("export")

    breaker.after_fork()

    assert breaker._circuit.explained is not None
    assert not breaker._circuit.explained.kinds
    held.success()
    assert breaker.metrics().in_flight == 0
