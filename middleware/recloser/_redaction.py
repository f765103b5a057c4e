"""What may be shown of an exception: its type, and its message without what may be secret.

Messages quote URLs, headers, connection strings and parameters, and a reason goes to the log, to
listeners and to clients. So nothing of a message is shown unless it looks like plain words:

- only the first line: the others quote SQL and its parameters, or the body of an answer;
- of a URL only scheme and host, of a path and of what stands before an `@` nothing;
- no value of anything that is named like a secret, and nothing after the name of an
  authentication scheme;
- no word that looks made up: letters mixed with digits, a known prefix of keys, percent-encoding.

Shorter secrets that look like a word and have no name beside them cannot be told from words.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from typing import NamedTuple, TypeAlias

from recloser._errors import RecloserError

HIDDEN = "***"
"""What stands for what is hidden."""
# So many characters of a message are read. It bounds the time that this takes.
_READ = 1000
_SHOWN = 120

_NAMES = (
    r"pass(?:w|wd|word|wort|phrase|code|key)?|pwd|secrets?|tokens?|credentials?|signature|sig|"
    r"(?:api|access|account|private|shared|subscription|license|signing|encryption|master)"
    r"[-_ ]?(?:access[-_ ]?)?key(?:[-_ ]?id)?|"
    r"keys?|auth|bearer|jwt|otp|totp|pin|csrf|xsrf|nonce|session(?:[-_ ]?id)?|sid|sas|cvc|cvv|"
    r"(?:auth|authorization|verification|security|device|user)[-_ ]?code"
)
# What its value may look like: quoted, in braces (ODBC), or up to the next space.
_VALUE = (
    r"(?:[rbuf]{0,2}'[^']*(?:'(?![\s,;:)}\]>]|$)[^']*)*'?"
    r'|[rbuf]{0,2}"[^"]*(?:"(?![\s,;:)}\]>]|$)[^"]*)*"?'
    r"|\{[^}]*\}?|(?!\*{3})[^\s'\"]\S*)"
)
# The rest of a URL or path. A quote or bracket ends it if no more of it follows.
_REST = r"(?:[^\s'\"<>`)]|['\"<>`)](?=[^\s'\"<>`).,;:}\]]))*"
_AUTHENTICATION = r"bearer|basic|digest|negotiate|ntlm|apikey|aws4-hmac-sha256"
# Words that follow the name of a scheme in a sentence.
_SPEECH = r"(?:token|auth|authentication|authorization|realm|scheme|is|was|and|or|not|error)\b"
_PREFIXES = (
    r"(?:sk|pk|rk|whsec|ghp|gho|ghu|ghs|ghr|github_pat|glpat|xox[a-z]|xapp|hf|gsk|npm|pypi|"
    r"shp(?:at|ca|pa|ss)|dop_v1|dckr_pat|lin_api|sq0[a-z]{3}|nvapi|r8|pplx)"
    r"[-_][^\s'\",;)]+|(?:AKIA|ASIA|AIza|eyJ|ya29\.|SG\.)[^\s'\",;)]+"
)


class Raised(NamedTuple):
    """An exception, as it was. Only `shown` makes a text of it that may leave the breaker.

    Attributes:
        name: The name of its class.
        message: Its message.
        is_own: Whether recloser wrote the message. It has keys and numbers in it, and no secrets: what
            it quotes of another exception was shown before.
    """

    name: str
    message: str
    is_own: bool = False


def seen(error: BaseException | str | None) -> Raised | str:
    """Note what failed, at little cost: most failures are never shown.

    Args:
        error: What failed, or what is to be said of it; None for nothing.
    """
    try:
        message = str(error or "")[:_READ]
    except Exception:  # the user's own __str__
        message = ""
    if not isinstance(error, BaseException):
        return message
    return Raised(type(error).__name__, message, isinstance(error, RecloserError))


def shown(what: Raised | str) -> str:
    """Describe a failure by type and message, in one printable line without secrets.

    Args:
        what: What `seen` returned.

    Returns:
        At most some 200 characters.
    """
    # repr() keeps control characters out of logs: of a message, or of a class name made from one.
    if not isinstance(what, Raised):
        return repr(redacted(what))[1:-1]
    name = repr(what.name)[1:-1][:_SHOWN]
    message = _cut(_first_line(what.message)) if what.is_own else redacted(what.message)
    return f"{name}: {message!r}" if message else name


def redacted(text: str) -> str:
    """The first line of a text, without what may be secret, and cut to 120 characters."""
    text = str.__str__(text)  # of a subclass, the text itself
    if text.startswith("HTTP ") and text[5:].isdigit():  # what the middlewares say
        return text[:_SHOWN]
    line = _first_line(text)
    # A quote within a quoted text. It is shown without the backslash.
    line = line.replace("\\'", "'").replace('\\"', '"')
    for pattern, replacement in _rules():
        line = pattern.sub(replacement, line)
    return _cut(line)


def _cut(line: str) -> str:
    return line if len(line) <= _SHOWN else f"{line[: _SHOWN - 3]}..."


def _first_line(text: str) -> str:
    part = text[:_READ].lstrip()
    lines = part.splitlines()
    line = lines[0] if lines else ""
    # The end of a line within a text that is quoted.
    line = line.partition("\\n")[0].partition("\\r")[0].rstrip()
    if len(text) >= _READ and len(lines) == 1:
        # The last word may be the first half of one that would be hidden.
        return line.rpartition(" ")[0]
    return line


_Rule: TypeAlias = tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]]


@cache
def _rules() -> list[_Rule]:
    # Made for the first message: to compile them takes longer than to import recloser.
    return [*_of_names(), *_of_shapes()]


def _of_names() -> list[_Rule]:
    """URLs, and what is called a secret."""
    flags = re.IGNORECASE
    return [
        # scheme://user:password@host/path?query#fragment
        (re.compile(rf"\b([a-z][a-z0-9+.-]{{0,30}}):(/{{2,3}})({_REST})", flags), _host_only),
        # Cookie and Authorization headers without quotes: the value ends with the line.
        (
            re.compile(
                r"\b((?:proxy-)?authorization|(?:set-)?cookie2?)\b(['\"]?\s*(?:[:=]|=>|,)\s*)"
                rf"(?:{_VALUE}(?<=['\"])|.*)",
                flags,
            ),
            rf"\1\2{HIDDEN}",
        ),
        (
            re.compile(rf"\b({_AUTHENTICATION})\s+(?!{_SPEECH})[^\s'\",;)]+.*", flags),
            rf"\1 {HIDDEN}",
        ),
        # name=value, 'name': 'value', name => value
        (
            re.compile(
                # The number of tokens that a model was asked for is no secret.
                rf"(?!\S{{0,20}}tokens['\"]?\s{{0,3}}[:=]\s{{0,3}}\d+\b)"
                rf"((?<![a-z])[a-z]{{0,20}}?(?:{_NAMES})[a-z0-9_-]{{0,12}}['\"]?\]?"
                rf"\s{{0,3}}(?:=>|[:=]=?)\s{{0,3}}){_VALUE}",
                flags,
            ),
            rf"\1{HIDDEN}",
        ),
        # token "value", token abc123
        (
            re.compile(
                rf"\b({_NAMES}|identified by)(\s+(?:was\s+|is\s+)?|[-_])"
                r"(?:'[^']*'?|\"[^\"]*\"?|(?=[^\s\d]*\d)\S{6,})",
                flags,
            ),
            rf"\1\2{HIDDEN}",
        ),
        # <token>value</token>
        (re.compile(rf"(<[\w:.-]{{0,20}}?(?:{_NAMES})[^>]*>)[^<]*", flags), rf"\1{HIDDEN}"),
    ]


def _of_shapes() -> list[_Rule]:
    """What looks like a secret, or may have one in it."""
    flags = re.IGNORECASE
    return [
        (re.compile(rf"(?<![a-z0-9])(?:{_PREFIXES})"), HIDDEN),
        # user:password@host, somebody@example.org
        (re.compile(r"(?<![^\s'\"<>(,=])[^\s'\"<>(,=@]*@(?:[^\s'\"<>(,=@]*@)*"), f"{HIDDEN}@"),
        # url '...'; what has a scheme was reduced above
        (
            re.compile(
                r"\b(ur[li]|dsn|location)\b(['\"]?+\s{0,3}+[:=]?+\s{0,3}+['\"]?+)"
                r"(?!(?:URL\(['\"]?)?[a-z][a-z0-9+.-]{0,30}://)(?=[^\s'\"]*[/:?&%])[^\s'\"]+",
                flags,
            ),
            rf"\1\2{HIDDEN}",
        ),
        # host.example/path, /path, ?query
        (
            re.compile(r"(?<![\w./-])((?=[\w-]+\.)[\w.-]{1,253}(?::\d{1,5})?)/" + _REST),
            rf"\1/{HIDDEN}",
        ),
        (re.compile(r"(?<![\w.*/])(?<!:(?=//))[/\\]" + _REST), f"/{HIDDEN}"),
        (re.compile(r"\?[^\s'\"<>)]*=" + _REST), f"?{HIDDEN}"),
        (
            re.compile(r"(?<![^\s'\"<>()=,])[^\s'\"<>()=,%]*%[0-9a-f]{2}[^\s'\"<>(),]*", flags),
            HIDDEN,
        ),
        (re.compile(r"\d(?:[ -]?\d){11,}"), HIDDEN),  # cards, accounts
        (re.compile(r"[A-Za-z0-9_+~:/.=*-]{8,}"), _unless_words),
    ]


def _host_only(url: re.Match[str]) -> str:
    scheme, rest = url[1], url[3]
    authority, *behind = re.split(r"[/?#\\]", rest, maxsplit=1)
    behind_host = "".join(behind)
    closing = "" if behind or not authority else authority[len(authority.rstrip(").,;:]}")) :]
    host = authority.rpartition("@")[2].rstrip(").,;:]}")
    if authority.rpartition("@")[2].startswith("["):
        host = authority.rpartition("@")[2]
        closing = ""
    # Where a password has a slash in it, what looks like the host is a part of it.
    if "@" in behind_host or not _is_host(host):
        return f"{scheme}://{HIDDEN}"
    return f"{scheme}://{host}{closing}"


def _is_host(host: str) -> bool:
    # [::1]:8080, or names with ports, of which some connection strings list several
    return bool(
        re.fullmatch(r"\[[0-9a-fA-F:.]{2,45}\](?::\d{1,5})?", host)
        or re.fullmatch(r"[\w.-]{1,253}(?::\d{1,5})?(?:,[\w.-]{1,253}(?::\d{1,5})?){0,9}", host)
    )


def _unless_words(match: re.Match[str]) -> str:
    """The word itself if it is made of words, numbers, a host or a version; else what hides it."""
    word = match[0]
    if HIDDEN in word:
        return word
    core = re.sub(r":\d{1,5}$", "", word)
    pieces = re.split(r"[^A-Za-z0-9]+", core)
    if any(map(_is_made_up, pieces)):
        return HIDDEN
    mixed = (str.isdigit, str.isupper, str.islower)
    is_long = len(core) >= 20 and "." not in core
    if is_long and all(any(map(test, core)) for test in mixed):
        return HIDDEN
    return word


def _is_made_up(piece: str) -> bool:
    if len(piece) >= 8 and not piece.isalpha() and not piece.isdigit():
        # `psycopg2` and `2xx` are words, `deadbeef01` is not.
        return not re.fullmatch(r"[A-Za-z]+\d{1,3}|\d{1,4}[A-Za-z]{1,3}", piece)
    if len(piece) >= 16 and piece.isalpha():
        changes = sum(a.islower() and b.isupper() for a, b in pairwise(piece))
        return len(piece) >= 48 or changes * 5 > len(piece)
    return False
