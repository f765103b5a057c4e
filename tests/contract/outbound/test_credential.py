"""Whose call it is: one account has one hash, however its key comes, and the hash gives nothing away."""

from __future__ import annotations

import re
import subprocess
import sys
from hashlib import blake2b

import pytest

pytest.importorskip("recloser_adapters")
from recloser_adapters._outbound.credential import credential_of

HEADERS = (
    "authorization",
    "x-api-key",
    "api-key",
    "x-goog-api-key",
    "ocp-apim-subscription-key",
    "private-token",
    "x-auth-token",
)


def hashed(target: str = "/v1/chat", **headers: str) -> str:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return credential_of(lambda name: named.get(name, ""), target)


def test_who_shows_no_key_has_none() -> None:
    assert hashed() == ""
    assert hashed(accept="*/*", cookie="a=b") == ""
    assert hashed("/v1/keys/4?monkey=5&page=2") == ""


@pytest.mark.parametrize("name", HEADERS)
def test_a_key_is_found_in_the_headers_that_carry_one(name: str) -> None:
    first, second = (hashed(**{name: key}) for key in ("sk-1", "sk-2"))

    assert re.fullmatch("[0-9a-f]{8}", first)
    assert re.fullmatch("[0-9a-f]{8}", second)
    assert first != second == hashed(**{name: "sk-2"})


@pytest.mark.parametrize(
    "name", ["openai_organization", "openai_project", "x_goog_user_project", "stripe_account"]
)
def test_accounts_that_share_a_key_are_told_apart(name: str) -> None:
    first, second = (hashed(x_api_key="sk-1", **{name: account}) for account in ("a", "b"))

    assert len({first, second, hashed(x_api_key="sk-1")}) == 3
    assert hashed(**{name: "a"}) == ""


@pytest.mark.parametrize("name", ["key", "apikey", "api_key", "access_token"])
def test_or_in_the_query(name: str) -> None:
    found = hashed(f"/v1?page=2&{name}=sk-1&more=3#top")

    assert found == hashed(f"/other?{name}=sk-1") == hashed(x_api_key="sk-1")
    assert found != hashed(f"/v1?{name}=sk-2")


def test_a_key_in_a_header_comes_before_one_in_the_query() -> None:
    assert hashed("/v1?key=sk-2", authorization="Bearer sk-1") == hashed(x_api_key="sk-1")


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_same_key_is_the_same_account_in_another_header(scheme: str) -> None:
    assert hashed(authorization=f"{scheme}  sk-1 ") == hashed(x_api_key="sk-1")
    assert hashed(authorization="Basic sk-1") != hashed(x_api_key="sk-1")


@pytest.mark.parametrize(
    "signed",
    [
        "AWS4-HMAC-SHA256 Credential={}/20260101/us-east-1/s3/aws4_request, Signature={}",
        'Digest username="{}", realm="r", nonce="{}", response="x"',
    ],
)
def test_of_a_signature_that_is_new_each_time_the_account_stays(signed: str) -> None:
    one = hashed(authorization=signed.format("AKIA1", "abc"))

    assert one == hashed(authorization=signed.format("AKIA1", "def"))
    assert one != hashed(authorization=signed.format("AKIA2", "abc"))
    assert one == hashed(x_api_key="AKIA1")


def test_what_only_looks_like_a_signature_is_a_key() -> None:
    first, second = (hashed(x_api_key=f'{key} username="same"') for key in ("sk-1", "sk-2"))

    assert first != second
    assert hashed(authorization="Digest broken") != hashed(authorization="Digest otherwise")


def test_a_key_that_is_no_text_of_the_web_is_one_all_the_same() -> None:
    assert hashed(x_api_key="\ud800") == hashed(x_api_key="\ud800") != ""


def test_nobody_can_look_a_key_up_by_its_hash() -> None:
    """Each process has another hash of the same key."""
    script = (
        "from recloser_adapters._outbound.credential import credential_of\n"
        "print(credential_of(lambda name: 'sk-1', '/'))"
    )
    other = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    ).stdout.strip()

    assert re.fullmatch("[0-9a-f]{8}", other)
    assert other != hashed(x_api_key="sk-1")


def test_nobody_can_find_a_key_by_hashing_likely_ones() -> None:
    plain = {
        blake2b(value, digest_size=4).hexdigest()
        for value in (b"sk-1", b"Bearer sk-1", b"bearer sk-1")
    }

    assert hashed(authorization="Bearer sk-1") not in plain
