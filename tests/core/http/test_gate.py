"""Gate: what it accepts, and what it makes of requests that lack what it looks for."""

from __future__ import annotations

from typing import Any

import pytest

from recloser import UNGUARDED, Permit, Registry
from recloser._http.gate import Gate


def gate(registry: Registry | None = None, **settings: Any) -> Gate:
    given = {"key": None, "exempt": (), "classify": None, "mode": None, **settings}
    return Gate(registry, **given, method="method", path="path", root="root_path")


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"registry": "app"}, "registry"),
        ({"key": "GET /"}, "key"),
        ({"classify": 500}, "classify"),
        ({"exempt": "/health"}, "exempt"),
        ({"exempt": ["health"]}, "exempt"),
        ({"mode": "on"}, "mode"),
    ],
)
def test_a_setting_of_the_wrong_kind_is_named(settings: dict[str, Any], named: str) -> None:
    with pytest.raises((TypeError, ValueError), match=named):
        gate(**settings)


@pytest.mark.parametrize("name", ["key", "classify", "exempt"])
def test_a_coroutine_function_is_refused_where_a_function_is_wanted(name: str) -> None:
    async def answer(request: object) -> None: ...

    with pytest.raises(TypeError, match=f"{name} must be a plain function"):
        gate(None, **{name: answer})


@pytest.mark.parametrize("request_", [{}, {"method": None}, {"path": None, "method": "GET"}])
def test_a_request_without_method_or_path_is_guarded_all_the_same(
    request_: dict[str, Any],
) -> None:
    registry = Registry()

    admission = gate(registry).admit(request_, Permit)

    assert isinstance(admission, Permit)
    admission.success()
    assert registry.faults == 0


def test_a_key_that_is_none_leaves_a_request_unguarded() -> None:
    registry = Registry()

    assert gate(registry, key=lambda request: None).admit({}, Permit) is UNGUARDED
    assert len(registry) == 0


def test_a_path_that_is_not_known_yet_may_be_exempt_whatever_others_are() -> None:
    registry = Registry()
    one = gate(registry, exempt=["/static/*"])

    for path, is_guarded in [
        ("/a", True),
        ("/static/b", False),
        ("/a", True),
        ("/static/b", False),
    ]:
        admission = one.admit({"method": "GET", "path": path, "root_path": ""}, Permit)

        assert isinstance(admission, Permit) is is_guarded
        if isinstance(admission, Permit):
            admission.success()


def test_a_signal_handler_that_strikes_in_the_gate_is_what_is_raised(registry: Registry) -> None:
    def key(request: object) -> str:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        gate(registry, key=key).admit({}, Permit)

    assert registry.faults == 0
