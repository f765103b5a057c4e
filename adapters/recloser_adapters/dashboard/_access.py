"""Who may see the dashboard, and who may act."""

from __future__ import annotations

import base64
import hmac
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from hashlib import sha256
from inspect import iscoroutinefunction
from ipaddress import ip_address
from typing import TypeAlias

from recloser_adapters.dashboard._exchange import JSON, MAX_BODY, Headers, Problem, Request

Auth: TypeAlias = Callable[[Headers], str | None]
"""A function from the headers of a request to the name of the user; None for an unknown one."""

# A request with one of these came through a proxy, so its client is not the one that is seen.
_OF_PROXIES = (
    "forwarded",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-real-ip",
)
_LOGIN = ("WWW-Authenticate", 'Custom realm="recloser"')


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who asks.

    Attributes:
        name: The name of the user; empty where nobody has to log in.
        may_act: Whether this user may change anything.
    """

    name: str
    may_act: bool


class Basic:
    """Users who log in with a name and a password, by HTTP Basic authentication (RFC 7617).

    Args:
        users: From a name to its password.

    Raises:
        TypeError: A name or password is no str.
        ValueError: There is no user, a name is empty or has a colon, or a password is empty.
    """

    challenge: str = 'Basic realm="recloser", charset="UTF-8"'

    def __init__(self, users: Mapping[str, str]) -> None:
        if not isinstance(users, Mapping):
            raise TypeError(f"users must be a mapping of name to password, not {type(users)}")
        if not users:
            raise ValueError("users must have at least one name and password: nobody could log in")
        for name, password in users.items():
            # The message does not show a password.
            if not isinstance(name, str) or not isinstance(password, str):
                raise TypeError(f"users must map a str to a str; those of {name!r} are not")
            if not name or ":" in name:
                raise ValueError(
                    f"a name in users must be non-empty, without a colon, not {name!r}"
                )
            if not password:
                raise ValueError(f"the password of {name!r} in users is empty")
        self._users = {name: _digest(f"{name}:{password}") for name, password in users.items()}

    def __call__(self, headers: Headers) -> str | None:
        """Return the name of the user who sent the request; None if no password fits."""
        scheme, _, encoded = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "basic":
            return None
        try:
            given = _digest(base64.b64decode(encoded.strip(), validate=True).decode())
        except ValueError:
            return None
        found = None
        # All of them, and digests of one length: the time does not tell who exists.
        for name, known in self._users.items():
            if hmac.compare_digest(given, known):
                found = name
        return found


def _digest(credentials: str) -> bytes:
    return sha256(credentials.encode("utf-8", "surrogatepass")).digest()


def basic(users: Mapping[str, str]) -> Basic:
    """Let users log in with a name and a password: `Dashboard(registry, auth=basic({...}))`.

    Use HTTPS: the password is sent with each request. It is compared in constant time.

    Args:
        users: From a name to its password.

    Raises:
        TypeError: A name or password is no str.
        ValueError: There is no user, a name is empty or has a colon, or a password is empty.
    """
    return Basic(users)


class Access:
    """Decides who may see and who may act.

    Without `auth`, whoever is on the same machine may see, and nobody may act.
    """

    __slots__ = ("_auth", "_operators")

    def __init__(self, auth: Auth | None, operators: Collection[str] | None) -> None:
        if auth is not None and not callable(auth):
            raise TypeError(
                f"auth must be a function from headers to a user's name or None, not {auth!r}"
            )
        if iscoroutinefunction(auth) or iscoroutinefunction(getattr(auth, "__call__", None)):  # noqa: B004
            raise TypeError(
                f"auth must be a plain function, not a coroutine function: {auth!r}: write def, not "
                "async def"
            )
        if isinstance(operators, str) or not (
            operators is None or all(isinstance(name, str) for name in operators)
        ):
            raise TypeError(f"operators must be a collection of names, or None, not {operators!r}")
        if operators is not None and auth is None:
            raise ValueError("operators need auth=: without it nobody has a name")
        self._auth = auth
        self._operators = None if operators is None else frozenset(operators)

    def viewer(self, request: Request) -> Viewer:
        """Who asks.

        Raises:
            Problem: 401 or 403, this client may not even see.
        """
        # Another site that has read access by the CORS headers of the app around us, or embeds us.
        site = request.headers.get("sec-fetch-site", "none")
        if site not in ("same-origin", "none") and not _is_link(request):
            raise Problem(403, "From another site", "A page of another site may not read this.")
        if self._auth is None:
            _check_local(request)
            return Viewer("", False)
        name = self._auth(request.headers)
        if not name:
            challenge = getattr(self._auth, "challenge", None)
            login = ("WWW-Authenticate", challenge) if challenge else _LOGIN
            raise Problem(401, "Not logged in", "Log in as a user of this dashboard.", login)
        if not isinstance(name, str):
            raise TypeError(f"auth must return the name of a user or None, not {type(name)}")
        return Viewer(name, self._operators is None or name in self._operators)


def _is_link(request: Request) -> bool:
    """Whether a user followed a link to the page, as from a chat: no script sees the answer."""
    return request.method in ("GET", "HEAD") and (
        request.headers.get("sec-fetch-mode") == "navigate"
        and request.headers.get("sec-fetch-dest") == "document"
    )


def _check_local(request: Request) -> None:
    """Check that the client is on this machine, and was not sent here by another site."""
    host = request.headers.get("host", "localhost").lower()
    host = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    if (
        not _is_loopback(request.client or "")
        or any(name in request.headers for name in _OF_PROXIES)
        # A site may let its own name point to 127.0.0.1 (DNS rebinding). Such a name has a dot.
        or ("." in host and not host.endswith(".localhost") and not _is_loopback(host))
    ):
        raise Problem(
            403,
            "Only on the same machine",
            "Without auth= the dashboard is shown on http://localhost only, and not through a proxy.",
        )


def _is_loopback(host: str) -> bool:
    try:
        address = ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool(address.is_loopback or (mapped is not None and mapped.is_loopback))


def check_may_act(request: Request, viewer: Viewer) -> None:
    """Check that an action was asked for by somebody who may, on our own page or by a program.

    Browsers send a password by themselves, so it is no proof of what the user wanted. They say
    which site asks, and no site can change that.

    Raises:
        Problem: 403, 413 or 415.
    """
    if not viewer.may_act:
        why = f"{viewer.name} may only look." if viewer.name else "Without auth= it is read-only."
        raise Problem(403, "You may look, but not act", why)
    headers = request.headers
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is not None:
        ours = site == "same-origin"
    else:
        # The scheme is not compared: a proxy may be what speaks HTTPS.
        ours = origin is None or origin.partition("://")[2] == headers.get("host")
    if not ours:
        raise Problem(
            403,
            "From another site",
            "Only the dashboard's own page may act. Behind a proxy, it must pass the header Host.",
        )
    if headers.get("content-type", "").partition(";")[0].strip().lower() != JSON:
        raise Problem(415, "Not JSON", f"The body must be JSON, with the content type {JSON}.")
    if len(request.body) > MAX_BODY:
        raise Problem(413, "Too long", f"The body must have at most {MAX_BODY} bytes.")
