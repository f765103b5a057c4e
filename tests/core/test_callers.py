"""Which callers belong to the share that is refused."""

from __future__ import annotations

from collections.abc import Iterator
from contextvars import copy_context
from typing import Any, cast

import pytest

from recloser import calling_for
from recloser._callers import is_enforced

SOME = {"REMOTE_ADDR": "10.0.0.1"}


def test_a_caller_is_in_every_share_above_its_own_number() -> None:
    for name in map(str, range(200)):
        enforced = [is_enforced(tenth / 10, {"REMOTE_ADDR": name}) for tenth in range(11)]

        assert enforced == sorted(enforced)
        assert (enforced[0], enforced[10]) == (False, True)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_share_is_as_large_as_it_says(share: float) -> None:
    addresses = [f"10.0.{host // 256}.{host % 256}" for host in range(4000)]
    enforced = sum(is_enforced(share, {"client": (each, 80)}) for each in addresses)

    assert enforced / 4000 == pytest.approx(share, abs=0.03)


def test_what_the_app_says_counts_more_than_the_address() -> None:
    names = [str(number) for number in range(50)]
    for name in names:
        with calling_for(name):
            assert is_enforced(0.5, SOME) == is_enforced(0.5, {"REMOTE_ADDR": name})
    assert len({is_enforced(0.5, {"REMOTE_ADDR": name}) for name in names}) == 2


def test_the_client_of_a_request_is_the_same_by_both_protocols() -> None:
    for name in map(str, range(50)):
        by_wsgi = is_enforced(0.5, {"REMOTE_ADDR": name})
        assert (
            is_enforced(0.5, {"client": (name, 80)})
            == is_enforced(0.5, {"client": [name]})
            == by_wsgi
        )
    nobody: list[dict[str, Any]] = [{}, {"client": None}, {"client": []}, {"REMOTE_ADDR": ""}]
    for unknown in nobody:
        assert is_enforced(0.5, unknown) == is_enforced(0.5, None)


def test_a_call_of_nobody_belongs_to_its_process(monkeypatch: pytest.MonkeyPatch) -> None:
    nobody: list[dict[str, Any]] = [{}, {"client": None}, {"client": []}, {"REMOTE_ADDR": ""}]
    of_processes = set[bool]()
    for process in range(50):
        monkeypatch.setattr("os.getpid", lambda process=process: process)
        of_processes.add(is_enforced(0.5, None))
        assert {is_enforced(0.5, each) for each in nobody} == {is_enforced(0.5, None)}

    assert of_processes == {False, True}


def test_a_block_ends_what_it_says() -> None:
    before = is_enforced(0.5, None)

    with calling_for("a"):
        with calling_for("b"):
            assert is_enforced(0.5, None) == is_enforced(0.5, {"REMOTE_ADDR": "b"})
        assert is_enforced(0.5, None) == is_enforced(0.5, {"REMOTE_ADDR": "a"})

    assert is_enforced(0.5, None) == before


def test_a_block_that_ends_in_another_context_raises_nothing() -> None:
    """As in a generator that a thread pool runs step by step."""

    def pieces() -> Iterator[str]:
        with calling_for("a"):
            yield "1"
            yield "2"

    made = pieces()

    assert [copy_context().run(next, made) for _ in range(2)] == ["1", "2"]
    assert copy_context().run(lambda: list(made)) == []


def test_a_caller_that_is_no_name_is_an_error() -> None:
    with pytest.raises(TypeError, match="caller must be a str, not 7"), calling_for(cast("Any", 7)):
        pass
