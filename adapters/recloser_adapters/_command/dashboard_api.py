"""Speaks the JSON API of a dashboard, with the standard library, and says in one line what failed."""

from __future__ import annotations

import base64
import json
from http.client import HTTPException
from typing import Any, NoReturn, cast
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from recloser_adapters._close_keys import did_you_mean
from recloser_adapters._fleet_json import NO_FLEET

TIMEOUT = 10.0  # seconds for one request
REFUSED = 1
WRONG_USE = 2
NO_ANSWER = 3
"""Exit statuses: the server refused, the command was used wrongly, there is no dashboard."""

_LARGEST = 64 * 2**20  # bytes of an answer that are read; 1,000 keys take some 800 kB


class CommandError(Exception):
    """The command failed. The message is one line for the user.

    Attributes:
        status: The exit status.
    """

    def __init__(self, message: str, status: int) -> None:
        super().__init__(printable(message))
        self.status: int = status


def printable(text: str) -> str:
    """Return a text in which control sequences and line breaks are escaped.

    Keys, reasons and answers come from elsewhere: they must not forge lines or move the cursor.
    """
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


class _Stay(HTTPRedirectHandler):
    """Follows no redirect: urllib would send the password to any host that is named."""

    def redirect_request(
        self, req: Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> None:
        return None


class DashboardApi:
    """The JSON API of one dashboard.

    Args:
        url: Where the dashboard is mounted; without a scheme it is `http`.
        user: The user, for basic authentication; None for none.
        password: The user's password.

    Raises:
        CommandError: The URL is none, or has a password in it.
    """

    def __init__(self, url: str, user: str | None = None, password: str = "") -> None:
        self.url: str = _checked_url(url)
        self._opener = build_opener(_Stay)
        self._user = user
        self._headers = {"Accept": "application/json"}
        if user is not None:
            # What the shell hands over may be no UTF-8.
            known = f"{user}:{password}".encode("utf-8", "surrogateescape")
            token = base64.b64encode(known).decode()
            self._headers["Authorization"] = f"Basic {token}"
        self._etag = ""

    def keys(self, *, news_only: bool = False) -> dict[str, Any] | None:
        """Return all keys and whose view it is.

        Args:
            news_only: Return None if nothing has changed since the last call.

        Raises:
            CommandError: There is no answer, or not the one of a dashboard.
        """
        return self._read("/keys", news_only)

    def fleet(self, *, news_only: bool = False) -> dict[str, Any] | None:
        """Return what the process that answers knows of its fleet, and whose view it is.

        Args:
            news_only: Return None if nothing has changed since the last call.

        Raises:
            CommandError: There is no answer, not the one of a dashboard, or there is no fleet.
        """
        return self._read("/fleet", news_only)

    def _read(self, path: str, news_only: bool) -> dict[str, Any] | None:
        headers = {"If-None-Match": self._etag} if news_only and self._etag else {}
        answer, etag = self._ask("GET", path, headers=headers)
        if answer is None:
            return None
        self._etag = etag
        view: Any = answer
        try:
            if all(isinstance(key["key"], str) for key in view["keys"]):
                return cast("dict[str, Any]", view)
        except (KeyError, TypeError):
            pass
        raise self._no_dashboard()

    def act(self, key: str, action: str, body: dict[str, Any]) -> dict[str, Any]:
        """Do something with a key by hand, and return what the key is then.

        Args:
            key: The key.
            action: The last part of the path, such as `open`.
            body: What is sent, as values for JSON.

        Raises:
            CommandError: It was refused, or there is no answer.
        """
        # A dot or two would be taken for a folder.
        name = quote(key, safe="", errors="surrogateescape").replace(".", "%2E")
        answer, _ = self._ask(
            "POST",
            f"/keys/{name}/{action}",
            # A body of JSON is what proves that no form of another site sent this.
            headers={"Content-Type": "application/json"},
            body=json.dumps(body).encode(),
            key=key,
        )
        if not isinstance(answer, dict):
            raise self._no_dashboard()
        return cast("dict[str, Any]", answer)

    def _ask(
        self,
        method: str,
        path: str,
        *,
        headers: dict[str, str],
        body: bytes | None = None,
        key: str | None = None,
    ) -> tuple[object, str]:
        """Send a request; return what its JSON says, and its ETag; None if nothing has changed."""
        request = Request(self.url + path, body, {**self._headers, **headers}, method=method)
        try:
            with self._opener.open(request, timeout=TIMEOUT) as response:
                data, etag = response.read(_LARGEST), response.headers.get("ETag", "")
        except HTTPError as error:
            with error:
                if error.code == 304:
                    return None, ""
                self._fail(error, key)
        except TimeoutError:
            raise self._no_answer(f"nothing within {TIMEOUT:g} s") from None
        except URLError as error:
            why = error.reason
            raise self._no_answer(
                f"nothing within {TIMEOUT:g} s"
                if isinstance(why, TimeoutError)
                else f"{getattr(why, 'strerror', None) or why}"
            ) from None
        except (HTTPException, OSError, ValueError) as error:
            raise self._no_answer(f"{error}" or type(error).__name__) from None
        try:
            return json.loads(data), etag
        except (ValueError, RecursionError):
            raise self._no_dashboard() from None

    def _no_answer(self, why: str) -> CommandError:
        return CommandError(f"no answer from {self.url}: {why}", NO_ANSWER)

    def _no_dashboard(self) -> CommandError:
        return CommandError(
            f"{self.url} answers, but not as a dashboard of recloser: "
            "give the address at which the Dashboard is mounted",
            NO_ANSWER,
        )

    def _fail(self, error: HTTPError, key: str | None) -> NoReturn:
        """Raise what an answer with a bad status says."""
        problem = _problem_of(error)
        said = problem or f"HTTP {error.code}"
        if error.code == 401:
            hint = "give --user NAME" if self._user is None else "wrong user or password"
            raise CommandError(f"{self.url} asks who you are: {hint}", REFUSED)
        if error.code == 404 and problem == NO_FLEET:
            raise CommandError(f"{self.url} is in no fleet: {problem}", REFUSED)
        if error.code == 404 and key is not None and problem:
            raise CommandError(f"no breaker has the key {key!r}{self._near(key)}", REFUSED)
        if 300 <= error.code < 400:
            target = error.headers.get("Location", "elsewhere")
            raise CommandError(f"{self.url} redirects to {target}: give that address", NO_ANSWER)
        if error.code in (404, 410) or (error.code == 405 and key is None):
            raise self._no_dashboard()
        if error.code >= 500:
            raise self._no_answer(f"it failed: {said}")
        raise CommandError(f"refused: {said}", REFUSED)

    def _near(self, key: str) -> str:
        try:
            known = [each["key"] for each in (self.keys() or {})["keys"]]
        except CommandError:
            return ""
        return did_you_mean(key, known)


def _problem_of(error: HTTPError) -> str:
    """What a problem document (RFC 9457) says; empty if the answer is none."""
    try:
        said: Any = json.loads(error.read(_LARGEST))
        return f"{said.get('detail') or said['title']}"
    except (
        AttributeError,
        KeyError,
        TypeError,
        ValueError,
        RecursionError,
        OSError,
        HTTPException,
    ):
        return ""


def _checked_url(url: str) -> str:
    """A URL without its last slash, and with a scheme."""
    full = url if "://" in url else f"http://{url}"
    try:
        parts = urlsplit(full)
        host, _ = parts.hostname, parts.port
        full.encode("ascii")
    except ValueError:
        host, parts = None, urlsplit("")
    if not host or parts.scheme not in ("http", "https") or any(char <= " " for char in full):
        raise CommandError(
            f"{url!r} is no address of a dashboard: write one such as http://localhost:8000/recloser",
            WRONG_USE,
        )
    if parts.username is not None:
        raise CommandError(
            "no user or password in the URL, where other users of this machine can read it: "
            "give --user NAME",
            WRONG_USE,
        )
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"
