"""What is shown of an exception: what went wrong, and nothing that gives access to anything."""

from __future__ import annotations

import logging
import time
from typing import Any

import pytest

from recloser import Breaker, BreakerOpenError, HopelessError, Registry, problem_document
from recloser._redaction import redacted, seen, shown
from recloser.testing import ManualClock, RecordingListener

SECRET = "hunter2"
TOKEN = "AAF-b7Xk_93kq"

LEAKING = [
    f"502 for url 'https://api.example/bot123456:{TOKEN}/send'",
    f"502 for url: https://bob:{SECRET}@api.example:8443/v1?api_key={SECRET}#{SECRET}",
    f"url=URL('https://api.example/{SECRET}?token={TOKEN}')",
    f"Max retries exceeded with url: /bot123456:{TOKEN}/send?key={SECRET} (Caused by X)",
    f"Redirect location: 'https://b.example/back?code={SECRET}'",
    f"api.example/bot1:{TOKEN}/send failed",
    f"Invalid URL 'bot1:{SECRET}/x': no scheme",
    f"//bob:{SECRET}@host is down",
    f"http://bob:{SECRET}@[2001:db8::1]:80/{SECRET}",
    f"postgresql://app:{SECRET}@db:5432/prod?password={SECRET}",
    f"postgresql://app:{SECRET}/x@db:5432/prod",
    f"postgresql://app:x@{SECRET}/y@db:5432/prod",
    f"redis://:{SECRET} x@cache:6379",
    f"https://bob:{SECRET}",
    f"jdbc:mysql://db/x?user=u&password={SECRET}",
    f"https%3A%2F%2Fbob%3A{SECRET}%40host",
    f"api%5Fkey%3D{SECRET}",
    f"host=db user=app password={SECRET} dbname=x",
    f"password='{SECRET} {SECRET}' user=x",
    f"SERVER=db;UID=sa;PWD={{{SECRET};{SECRET}}};x=1",
    f"AccountKey={SECRET}==;EndpointSuffix=core",
    f"PGPASSWORD={SECRET} DB_PASS={SECRET} client_secret: {SECRET}",
    f"Authorization: Bearer {SECRET}",
    f'Authorization: Digest username="bob", response="{SECRET}"',
    f"Proxy-Authorization: Basic {SECRET}",
    f"Cookie: a=b; c={SECRET}",
    f"headers={{'Authorization': 'Bearer {SECRET}', 'x-api-key': b'{SECRET}'}}",
    f"[('authorization', 'Token {SECRET}'), ('cookie', '{SECRET}')]",
    f"{{\\'password\\': \\'{SECRET}\\'}}",
    f'b\'{{"refresh_token": "{SECRET}"}}\'',
    f"Bearer {SECRET} was refused",
    f"password is {SECRET}",
    f"password '{SECRET}' was refused",
    f"invalid token {TOKEN}",
    f"Incorrect API key provided: sk-proj-{SECRET}. You can find it at https://x.example/{SECRET}",
    f"eyJhbGciOiJIUzI1NiJ9.{TOKEN}.{SECRET}",
    f"key AKIA{SECRET.upper()}EXAMPLE and hunter2wJalrXUtnFEMIK7MDENG",
    f"[Errno 2] No such file: '/run/secrets/{SECRET}'",
    f"[SQL: SELECT 1]\n[parameters: ('{SECRET}',)]",
    f"broken (caused by E('x\\n[parameters: {SECRET}]'))",
    f"502 for url: https://api.example/x?q='{SECRET}'&r=({SECRET})",
    f"https:\\/\\/api.example\\/{SECRET}",
    f"https:/api.example/{SECRET}",
    f"wss://api.example/{SECRET}, file:///run/secrets/{SECRET}",
    f"password={SECRET},{SECRET};{SECRET}&{SECRET}",
    f"<login><password>{SECRET}</password></login>",
    f"CREATE USER a IDENTIFIED BY '{SECRET}'",
    f"secret_{SECRET} was refused",
    f"AUTH {SECRET} failed",
    f"one\x0b{SECRET}\u2028{SECRET}",
]


@pytest.mark.parametrize("message", LEAKING)
@pytest.mark.parametrize("around", ["{}", "x: {}", "ERROR ({})", "'{}'", '"{}"', "{}\nmore"])
def test_no_secret_is_shown(message: str, around: str) -> None:
    if around[0] in "'\"" and around[0] in message:
        return  # what a text in quotes cannot hold
    text = shown(seen(OSError(around.format(message))))

    assert SECRET not in text.lower()
    assert TOKEN not in text
    assert text.startswith("OSError")


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("HTTP 502", "HTTP 502"),
        ("timed out", "timed out"),
        (
            "Server error '502 Bad Gateway' for url 'https://api.example/v1/x?y=z'\nFor more",
            "Server error '502 Bad Gateway' for url 'https://api.example'",
        ),
        (
            "HTTPConnectionPool(host='api.example', port=80): Read timed out. (read timeout=5)",
            "HTTPConnectionPool(host='api.example', port=80): Read timed out. (read timeout=5)",
        ),
        (
            "Connect call failed ('127.0.0.1', 5432) at postgres-primary:5432",
            "Connect call failed ('127.0.0.1', 5432) at postgres-primary:5432",
        ),
        (
            "(psycopg2.OperationalError) password authentication failed for user",
            "(psycopg2.OperationalError) password authentication failed for user",
        ),
        ("http://[::1]:8080/x", "http://[::1]:8080"),
        ("mongodb://u:p@h1:27017,h2/db", "mongodb://h1:27017,h2"),
        ("Requested tokens: 30000", "Requested tokens: 30000"),
        ("quota of GenerateContentRequests", "quota of GenerateContentRequests"),
    ],
)
def test_what_went_wrong_and_where_is_shown(message: str, expected: str) -> None:
    assert redacted(message) == expected


def test_a_message_is_shown_in_one_short_line() -> None:
    text = shown(seen(OSError("word " * 100_000)))

    assert len(text) < 150
    assert "\n" not in text


class MuteError(Exception):
    def __str__(self) -> str:
        raise RuntimeError(SECRET)


def test_an_error_without_words_is_shown_by_its_type() -> None:
    assert shown(seen(MuteError())) == "MuteError"
    assert shown(seen(OSError())) == "OSError"
    assert shown(seen(ExceptionGroup(f"key={SECRET}", [OSError(SECRET)]))) == (
        "ExceptionGroup: 'key=*** (1 sub-exception)'"
    )
    assert shown(seen(None)) == ""


@pytest.mark.parametrize("end", [*" '\"@/%=:?[({.", "key=", "://", "'key", "Bearer ", "x.", "\\'"])
@pytest.mark.parametrize(
    "unit", ["a", "a1", *" '\"@/%=:?[{.", "key", "http://", "x.y/", "a-", "a@"]
)
def test_no_message_takes_long(unit: str, end: str) -> None:
    message = (unit * 9 + end) * (1_000_000 // (9 * len(unit) + len(end)))
    before = time.process_time()

    redacted(message)

    assert time.process_time() - before < 0.2


def test_it_holds_wherever_a_breaker_speaks(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "recloser")
    registry, listener = Registry(), RecordingListener()
    registry.subscribe(listener)
    breaker = registry["k"]
    error = OSError(f"https://bob:{SECRET}@api.example/{SECRET}?key={SECRET}")
    try:
        raise error from ValueError(SECRET)
    except OSError as raised:
        registry.fault("classify", raised)
    for again in range(2):
        for _ in range(8):
            if (permit := breaker.try_acquire()) is not None:
                permit.failure(error if again else str(error))
        breaker.half_open()

    said: list[Any] = [str(each) for each in listener.transitions]
    said += [repr(each) for each in listener.transitions]
    said += [
        str(breaker.refusal()),
        breaker.explain(),
        problem_document(503, "x", breaker.explain()),
    ]
    formatter = logging.Formatter("%(message)s")
    said += [formatter.format(record) for record in caplog.records]
    assert any("api.example" in str(each) for each in said)
    assert not [each for each in said if SECRET in str(each)]


def test_keys_in_our_own_messages_are_no_secrets() -> None:
    cut_off = HopelessError("GET /orders/{order}", 2.0)
    refused = BreakerOpenError("api.openai.com gpt-4o", "open", "5 of 5 failed", 3.0)

    assert shown(seen(cut_off)) == (
        "HopelessError: \"no answer of 'GET /orders/{order}' within 2 s\""
    )
    assert "'api.openai.com gpt-4o' is open" in shown(seen(refused))
    assert "/orders/7" not in shown(seen(OSError("GET /orders/7 failed")))


def test_what_our_own_messages_quote_of_others_has_no_secrets() -> None:
    clock = ManualClock()
    breaker = Breaker("GET /a", clock=clock)
    while (permit := breaker.try_acquire()) is not None:
        permit.failure(OSError("https://u:hunter22@h.example/v1?token=abcdef123"))

    text = shown(seen(breaker.refusal()))

    assert "GET /a" in text
    assert "hunter22" not in text
    assert "abcdef" not in text


def test_our_own_messages_are_one_short_line() -> None:
    text = shown(seen(HopelessError("a\nb" * 100, 1.0)))

    assert "\n" not in text
    assert len(text) < 200
