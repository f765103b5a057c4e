"""The templates of URL patterns, as text: `/orders/<int:number>`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from django.urls.resolvers import LocalePrefixPattern, RegexPattern, RoutePattern

LANGUAGE: Final = "<language>"
"""Stands for the prefix of `i18n_patterns`, so that a route has one key in all languages."""

_NAMED: Final = re.compile(r"\(\?P<(\w+)>")
_NO_TEXT: Final = re.compile(r"\\[AZzbB]|\(\?[a-zA-Z]+\)|[\^$?*+]|\{\d*,?\d*\}")
_ESCAPED: Final = re.compile(r"\\(\W)")


def template_of(chain: Sequence[Any], *, exact: bool = False) -> str:
    """The template of a route.

    Args:
        chain: The patterns from the outermost `include` to the route itself.
        exact: Whether regular expressions are written as they are, and not simplified.
    """
    return "/" + "".join(_text(pattern, exact) for pattern in chain)


def is_translated(pattern: Any) -> bool:
    """Whether the text of a pattern depends on the language: `path(_("orders/"), ...)`."""
    text: object = getattr(pattern, "_route", None)
    if text is None:
        text = getattr(pattern, "_regex", "")
    return not isinstance(text, str)


def _text(pattern: Any, exact: bool) -> str:
    if isinstance(pattern, LocalePrefixPattern):
        return f"{LANGUAGE}/"
    text = str(pattern)
    if isinstance(pattern, RoutePattern):
        return text
    if exact or not isinstance(pattern, RegexPattern):
        return text.removeprefix("^")
    return simplified(text)


def simplified(regex: str) -> str:
    r"""Write a regular expression as a template: `^years/(?P<year>[0-9]{4})/$` as `years/<year>/`.

    A group without a name becomes `<var>`. An expression that is too odd stays as it is.
    """
    out: list[str] = []
    start = 0
    while (group := _next_group(regex, start)) is not None:
        begin, end = group
        if end < 0:
            return regex
        out.append(_literal(regex[start:begin]))
        out.append(_placeholder(regex[begin:end]))
        start = end
        # A quantifier of the group.
        while start < len(regex) and regex[start] in "?*+":
            start += 1
    out.append(_literal(regex[start:]))
    return "".join(out)


def _placeholder(group: str) -> str:
    named = _NAMED.match(group)
    if named is not None:
        return f"<{named[1]}>"
    if group.startswith("(?:"):
        inside = group[3:-1]
        return "<var>" if "|" in inside else simplified(inside)
    if group.startswith("(?"):
        return ""  # a look-around or flags: they match no text
    return "<var>"


def _next_group(regex: str, start: int) -> tuple[int, int] | None:
    """Begin and end of the next group; the end is -1 if the group is never closed."""
    depth = 0
    begin = -1
    is_set = False
    place = start
    while place < len(regex):
        char = regex[place]
        if char == "\\":
            place += 1
        elif is_set:
            is_set = char != "]"
        elif char == "[":
            is_set = True
            # A bracket right after the first one is part of the set.
            place += len(regex[place + 1 : place + 3]) - len(
                regex[place + 1 : place + 3].lstrip("^").lstrip("]")
            )
        elif char == "(":
            if depth == 0:
                begin = place
            depth += 1
        elif char == ")" and depth:
            depth -= 1
            if depth == 0:
                return begin, place + 1
        place += 1
    return None if begin < 0 else (begin, -1)


def _literal(text: str) -> str:
    return _ESCAPED.sub(r"\1", _NO_TEXT.sub("", text))
