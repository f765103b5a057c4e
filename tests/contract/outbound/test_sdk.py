"""Which form a refusal has, by the SDK that sent the request."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("recloser_adapters")
from recloser_adapters._outbound.sdk import fitting

STAINLESS = {"x-stainless-lang": "python"}
STRIPE = {"x-stripe-client-user-agent": "{}"}
FERN = {"x-fern-language": "Python"}
SUPABASE = {"x-client-info": "supabase-py/2.4"}
POSTGREST = {"x-client-info": "postgrest-py/0.16"}
OTHER = {"x-client-info": "mine/1.0"}


@pytest.mark.parametrize(
    ("headers", "asked", "expected"),
    [
        # A plain client is told by an error.
        ({}, None, "raise"),
        (OTHER, None, "raise"),
        # These retry every error, and believe a response.
        (STAINLESS, None, "response"),
        (STRIPE, None, "response"),
        # These retry every 503, and sleep.
        (FERN, None, "raise"),
        (SUPABASE, None, "raise"),
        # What the user asks for holds, except where the SDK would hide it or sleep.
        ({}, "response", "response"),
        (OTHER, "response", "response"),
        (STAINLESS, "raise", "raise"),
        (STRIPE, "raise", "raise"),
        (FERN, "response", "raise"),
        (SUPABASE, "response", "raise"),
        (POSTGREST, "response", "raise"),
        # One that is made by both.
        ({**STAINLESS, **FERN}, None, "raise"),
    ],
)
def test_the_form_is_the_one_that_its_sdk_neither_hides_nor_sleeps_for(
    headers: dict[str, str], asked: Any, expected: str
) -> None:
    assert fitting(lambda name: headers.get(name, ""), asked) == expected
