"""Which policy a key gets."""

from __future__ import annotations

from typing import Any, cast

import pytest

from recloser import Policy
from recloser._policies import Policies, check_policy

DEFAULT, EXACT, PATTERN, HOST = (Policy(min_failures=number) for number in (5, 6, 7, 8))


def test_the_exact_key_comes_before_patterns_and_these_before_the_beginning_of_a_key() -> None:
    policies = Policies(DEFAULT, {"GET /*": PATTERN, "GET /a": EXACT, "api.example.org": HOST})

    assert policies.of("GET /a") is EXACT
    assert policies.of("GET /b") is PATTERN
    assert policies.of("api.example.org chat large") is HOST
    assert policies.of("api.example.organisation") is DEFAULT


def test_a_pattern_may_have_all_wildcards_at_once() -> None:
    policies = Policies(DEFAULT, {"GET /[ab]?*": PATTERN})

    assert policies.of("GET /ax") is PATTERN
    assert policies.of("GET /a") is policies.of("GET /cx") is DEFAULT


def test_a_policy_is_replaced_by_key_pattern_or_for_all() -> None:
    policies = Policies(DEFAULT, {"GET /*": PATTERN})
    one, some, rest = Policy(min_failures=20), Policy(min_failures=21), Policy(min_failures=22)

    policies.set("GET /a", one)
    policies.set("GET /*", some)
    policies.set("*", rest)

    assert policies.of("GET /a") is one
    assert policies.of("GET /b") is some
    assert policies.of("POST /b") is policies.default is rest
    assert set(policies.exact) == {"GET /a", "GET /*"}


def test_what_is_set_last_comes_first() -> None:
    policies = Policies(DEFAULT, {"*": PATTERN, "GET /*": HOST})
    some, rest = Policy(min_failures=21), Policy(min_failures=22)

    policies.set("GET /a*", some)
    assert policies.of("GET /ab") is some

    policies.set("*", rest)
    assert policies.of("POST /b") is rest
    assert policies.of("GET /b") is HOST


def test_what_is_no_policy_is_an_error() -> None:
    with pytest.raises(TypeError, match="policies must be a mapping"):
        Policies(None, cast("Any", [DEFAULT]))
    with pytest.raises(TypeError, match="policies must map str to Policy, not 'a' to 5"):
        Policies(None, cast("Any", {"a": 5}))
    with pytest.raises(TypeError, match="policy must be a Policy, not 5"):
        Policies(cast("Any", 5), {})
    with pytest.raises(TypeError, match="key must be a str, not None"):
        check_policy(None, DEFAULT)
    with pytest.raises(TypeError, match=r"policy must be a Policy, not \{\}"):
        check_policy("k", {})
