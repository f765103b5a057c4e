"""An error is the server's if it came out of the server's function, in whatever form."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from recloser._http.server_errors import code_of, is_of_server, was_raised_in


def send(message: object = None) -> None:
    raise RuntimeError("the transport is closed")


def other() -> None:
    raise RuntimeError("the database is down")


class Server:
    def send(self) -> None:
        send()

    def __call__(self) -> None:
        send()


def raised_by(function: Callable[..., Any]) -> Exception:
    try:
        function()
    except Exception as error:
        return error
    raise AssertionError


def wrapped(function: Callable[..., Any]) -> Callable[[], None]:
    def run() -> None:
        try:
            function()
        except Exception as error:
            raise ValueError from error

    return run


def grouped(*functions: Callable[..., Any]) -> ExceptionGroup[Exception]:
    return ExceptionGroup("several", [raised_by(each) for each in functions])


@pytest.mark.parametrize(
    "function",
    [send, partial(partial(send), None), Server().send, Server()],
    ids=["function", "partial", "method", "object"],
)
def test_it_is_found_whatever_kind_of_function_it_is(function: Any) -> None:
    codes = {code_of(function)}

    assert was_raised_in(raised_by(function), codes)
    assert was_raised_in(raised_by(wrapped(function)), codes)
    assert not was_raised_in(raised_by(other), codes)


def test_a_group_is_the_servers_if_all_in_it_is() -> None:
    codes = {code_of(send)}

    assert was_raised_in(grouped(send, wrapped(send)), codes)
    assert not was_raised_in(grouped(send, other), codes)


def test_functions_that_are_not_python_have_no_errors_of_their_own() -> None:
    assert code_of(len) is None
    assert not was_raised_in(raised_by(other), {code_of(len), None})
    assert not was_raised_in(None, {code_of(send)})


def test_a_ring_of_causes_ends() -> None:
    one, two = raised_by(other), raised_by(other)
    one.__cause__, two.__cause__ = two, one

    assert not was_raised_in(one, {code_of(send)})


def test_what_the_server_raises_for_a_mistake_of_the_app_is_the_apps() -> None:
    def write(data: object) -> None:
        if not isinstance(data, bytes):
            raise TypeError("not bytes")
        raise OSError("the client has left")

    assert is_of_server(raised_by(lambda: write(b"")), write)
    assert not is_of_server(raised_by(lambda: write("")), write)
    assert not is_of_server(raised_by(other), write)
    assert not is_of_server(KeyboardInterrupt(), write)


def test_a_function_that_cannot_be_looked_at_is_nobodys() -> None:
    class Odd:
        def __getattr__(self, name: str) -> object:
            raise RuntimeError(name)

    assert not is_of_server(raised_by(other), Odd())


def test_a_signal_handler_that_strikes_in_a_function_of_the_server_is_no_error_of_it() -> None:
    def write(data: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as struck:
        write(b"")

    assert not is_of_server(struck.value, write)
