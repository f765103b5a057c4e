"""The check of the settings, without a client: each mistake is told with what to write instead."""

from __future__ import annotations

from typing import Any

import pytest

from recloser import Policy, Registry

pytest.importorskip("recloser_adapters")
from recloser_adapters._outbound.settings import check_names, check_settings

WORDS = ("auto", "raise", "response")


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"key": "openai"},
        {"key": str},
        {"label_by": None, "classify": None, "on_end": None, "verdict": None},
        {"label_by": str, "classify": str, "on_end": str, "verdict": str},
        *({"on_refuse": word} for word in WORDS),
        {"on_refuse": str},
        {"verdict": "llm"},
        {"sse_errors": True, "cut_off": True},
        {"cut_off": False},
    ],
)
def test_settings_that_exist_are_taken(settings: dict[str, Any]) -> None:
    check_settings(None, settings, words=WORDS)
    check_settings(Registry(), settings, words=WORDS)


@pytest.mark.parametrize(
    ("settings", "error", "said"),
    [
        ({"key": 7}, TypeError, "key must be a str or a callable, not 7"),
        ({"key": None}, TypeError, "key must be a str or a callable, not None"),
        ({"key": ""}, ValueError, "key must not be empty"),
        (
            {"on_refuse": "respond"},
            ValueError,
            'on_refuse must be "auto", "raise", "response" or a callable, not \'respond\': '
            "did you mean 'response'?",
        ),
        (
            {"on_refuse": None},
            ValueError,
            'on_refuse must be "auto", "raise", "response" or a callable, not None',
        ),
        ({"cut_off": 1}, TypeError, "cut_off must be True or False, not 1"),
        ({"cut_off": None}, TypeError, "cut_off must be True or False, not None"),
        (
            {"verdict": "gpt"},
            ValueError,
            'verdict must be "llm", "graphql" or a callable, not \'gpt\'',
        ),
        ({"classify": "x"}, TypeError, "classify must be a callable, not 'x'"),
        ({"label_by": "x"}, TypeError, "label_by must be a callable, not 'x'"),
        ({"on_end": "x"}, TypeError, "on_end must be a callable, not 'x'"),
        (
            {"on_error": str},
            TypeError,
            "unexpected keyword argument 'on_error': the settings are classify, cut_off, key,"
            " label_by, on_end, on_refuse, sse_errors, verdict",
        ),
    ],
)
def test_a_mistake_is_told_by_name(
    settings: dict[str, Any], error: type[Exception], said: str
) -> None:
    with pytest.raises(error) as raised:
        check_settings(None, settings, words=WORDS)

    assert str(raised.value) == said


def test_the_words_are_those_that_the_library_allows() -> None:
    with pytest.raises(ValueError, match=r'^on_refuse must be "auto", "raise" or a callable, not'):
        check_settings(None, {"on_refuse": "response"}, words=("auto", "raise"))


@pytest.mark.parametrize(
    ("registry", "said"),
    [
        (7, r"^registry must be a Registry, not 7$"),
        (Policy(), r"^registry must be a Registry, not Policy\(.*\): write Registry\(policy\)$"),
    ],
)
def test_something_else_than_a_registry_is_none(registry: object, said: str) -> None:
    with pytest.raises(TypeError, match=said):
        check_settings(registry, {}, words=WORDS)


def test_names_are_looked_up_in_what_is_known() -> None:
    check_names(["b"], frozenset({"a", "b"}))
    with pytest.raises(
        TypeError, match=r"^unexpected keyword argument 'c': the settings are a, b$"
    ):
        check_names(["b", "c"], frozenset({"a", "b"}))
