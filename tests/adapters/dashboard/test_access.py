"""Who may see, and who may act."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import pytest
from tests.support.dashboard_client import Ask, login

from recloser import Registry, State
from recloser_adapters.dashboard import Dashboard, Headers, basic


@pytest.fixture
def local(registry: Registry) -> Iterator[Dashboard]:
    """Without `auth`."""
    dashboard = Dashboard(registry)
    yield dashboard
    dashboard.close()


# Without auth


@pytest.mark.parametrize("client", ["127.0.0.1", "127.8.9.1", "::1", "::ffff:127.0.0.1"])
@pytest.mark.parametrize(
    "host", ["localhost:8000", "127.0.0.1:8000", "[::1]:8000", "shop.localhost", "test"]
)
def test_without_auth_a_client_on_the_same_machine_may_look(
    ask: Ask, local: Dashboard, client: str, host: str
) -> None:
    reply = ask("GET", "/keys", to=local, client=client, authorization=None, host=host)

    assert reply.status == 200
    assert reply.json()["view"]["read_only"] is True


@pytest.mark.parametrize("client", ["192.0.2.7", "10.0.0.1", "2001:db8::1", "", "localhost", "::2"])
@pytest.mark.parametrize("path", ["/", "/keys", "/app.js", "/openapi.json"])
def test_without_auth_nobody_else_may(ask: Ask, local: Dashboard, client: str, path: str) -> None:
    reply = ask("GET", path, to=local, client=client, host="localhost")

    assert reply.status == 403
    assert reply.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    "header",
    ["Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-IP", "Via"],
)
def test_without_auth_a_request_through_a_proxy_is_not_local(
    ask: Ask, local: Dashboard, header: str
) -> None:
    headers = {header: "127.0.0.1"}

    reply = ask("GET", "/keys", to=local, client="127.0.0.1", host="localhost", **headers)

    assert reply.status == 403


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example"])
def test_without_auth_a_name_that_may_be_of_another_site_is_not_local(
    ask: Ask, local: Dashboard, host: str
) -> None:
    """DNS rebinding: the name of a site is made to point to 127.0.0.1."""
    assert ask("GET", "/keys", to=local, client="127.0.0.1", host=host).status == 403


def test_without_auth_nobody_may_act(
    ask: Ask, local: Dashboard, registry: Registry, opened: str
) -> None:
    reply = ask("POST", f"/keys/{opened}/open", {}, to=local, client="127.0.0.1", host="localhost")

    assert reply.status == 403
    assert registry[opened].state is State.CLOSED


# With auth


def test_who_is_not_logged_in_is_asked_to(ask: Ask) -> None:
    reply = ask("GET", "/", authorization=None)

    assert reply.status == 401
    assert reply.headers["www-authenticate"].startswith("Basic realm=")


@pytest.mark.parametrize(
    "given",
    [
        login("anna", "wrong"),
        login("nobody", "pässword:1"),
        login("", ""),
        login("anna", ""),
        "Basic",
        "Basic !",
        "Basic " + base64.b64encode(b"\xff\xfe").decode(),
        "Bearer x",
        login().replace("Basic", "Digest"),
    ],
)
def test_a_wrong_password_is_a_401(ask: Ask, given: str) -> None:
    assert ask("GET", "/keys", authorization=given).status == 401


def test_the_scheme_is_read_in_any_case(ask: Ask) -> None:
    assert ask("GET", "/keys", authorization=login().replace("Basic", "bAsIc")).status == 200


def test_a_user_who_is_no_operator_may_look_and_not_act(
    ask: Ask, registry: Registry, opened: str
) -> None:
    guest = login("guest", "look")

    seen = ask("GET", "/keys", authorization=guest)
    acted = ask("POST", f"/keys/{opened}/open", {}, authorization=guest)

    assert seen.json()["view"]["read_only"] is True
    assert seen.json()["view"]["user"] == "guest"
    assert acted.status == 403
    assert registry[opened].state is State.CLOSED


def test_auth_is_any_function_of_the_headers(ask: Ask, registry: Registry) -> None:
    seen: list[Headers] = []

    def auth(headers: Headers) -> str | None:
        seen.append(headers)
        return headers.get("X-User")

    dashboard = Dashboard(registry, auth)

    assert ask("GET", "/keys", to=dashboard, x_user="ben").json()["view"]["user"] == "ben"
    assert ask("GET", "/keys", to=dashboard).status == 401
    assert "www-authenticate" in ask("GET", "/keys", to=dashboard).headers
    assert seen[0]["x-USER"] == "ben"
    dashboard.close()


@pytest.mark.parametrize("answer", [True, 7, RuntimeError("database is down")])
def test_an_auth_that_fails_lets_nobody_in(ask: Ask, registry: Registry, answer: Any) -> None:
    def auth(headers: Headers) -> Any:
        if isinstance(answer, Exception):
            raise answer
        return answer

    dashboard = Dashboard(registry, auth)

    assert ask("GET", "/keys", to=dashboard).status == 500
    assert registry.faults == 1
    dashboard.close()


# Same origin


OURS = [
    {},  # a program
    {"Sec-Fetch-Site": "same-origin", "Origin": "https://shop.example"},
    # A proxy has changed the header Host; browsers let no site set Sec-Fetch-Site.
    {"Sec-Fetch-Site": "same-origin", "Origin": "https://public.example"},
    {"Origin": "https://shop.example"},
]
OTHERS = [
    {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"},
    {"Sec-Fetch-Site": "same-site", "Origin": "https://evil.shop.example"},
    {"Sec-Fetch-Site": "cross-site", "Origin": "https://shop.example"},
    {"Sec-Fetch-Site": "none"},
    {"Sec-Fetch-Site": "same-origin, cross-site"},
    {"Sec-Fetch-Site": ""},
    {"Origin": "https://evil.example"},
    {"Origin": "https://shop.example.evil.example"},
    {"Origin": "https://shop.example:8443"},
    {"Origin": "null"},
    {"Origin": ""},
]


@pytest.mark.parametrize("headers", OURS)
def test_our_own_page_and_programs_may_act(ask: Ask, opened: str, headers: dict[str, str]) -> None:
    assert ask("POST", f"/keys/{opened}/open", {}, **headers).status == 200


@pytest.mark.parametrize("headers", OTHERS)
def test_another_site_may_not_act(
    ask: Ask, registry: Registry, opened: str, headers: dict[str, str]
) -> None:
    assert ask("POST", f"/keys/{opened}/open", {}, **headers).status == 403
    assert registry[opened].state is State.CLOSED


@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "", None],
)
def test_what_a_form_can_send_is_a_415(
    ask: Ask, registry: Registry, opened: str, content_type: str | None
) -> None:
    reply = ask("POST", f"/keys/{opened}/open", body=b"{}", content_type=content_type)

    assert reply.status == 415
    assert registry[opened].state is State.CLOSED


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_a_page_of_another_site_may_not_even_read(ask: Ask, site: str) -> None:
    """The app around the dashboard may allow all origins."""
    headers = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"}

    assert ask("GET", "/keys", **headers).status == 403
    assert ask("OPTIONS", "/keys", **headers).status == 403
    frame = {**headers, "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"}
    assert ask("GET", "/", **frame).status == 403


def test_a_link_on_another_site_may_be_followed(ask: Ask) -> None:
    headers = {
        "Sec-Fetch-Site": "cross-site",
        "Sec-Fetch-Mode": "navigate",
        "Sec-Fetch-Dest": "document",
    }

    assert ask("GET", "/", **headers).status == 200


# Settings


@pytest.mark.parametrize(
    ("users", "error", "message"),
    [
        ({}, ValueError, "users must have at least one"),
        ({"a:b": "c"}, ValueError, "without a colon"),
        ({"": "c"}, ValueError, "non-empty"),
        ({"a": ""}, ValueError, "the password of 'a' in users is empty"),
        ({"a": None}, TypeError, "those of 'a'"),
        (["a"], TypeError, "users must be a mapping"),
    ],
)
def test_users_are_checked(users: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        basic(users)


async def _later(headers: Headers) -> str | None:
    return "anna"


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"auth": "anna"}, TypeError, "auth must be a function"),
        ({"auth": _later}, TypeError, "plain function"),
        ({"operators": ["anna"]}, ValueError, "operators need auth="),
        ({"auth": basic({"a": "b"}), "operators": "a"}, TypeError, "collection of names"),
    ],
)
def test_settings_are_checked(
    registry: Registry, settings: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        Dashboard(registry, **settings)


def test_a_registry_is_needed() -> None:
    with pytest.raises(TypeError, match="registry must be a Registry"):
        Dashboard({})  # type: ignore[arg-type]
