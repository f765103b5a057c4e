"""Tells whether an exempt pattern matches all paths of a route, perhaps some, or none.

The middleware matches a pattern with the path of a request. Here there are no requests, only
templates such as `/items/<int:id>` of Werkzeug or `/items/{id}` of Starlette.
"""

from __future__ import annotations

import enum
import re
from fnmatch import translate
from typing import Final


class Cover(enum.Enum):
    """How many paths of a route a pattern matches."""

    NONE = "none"
    SOME = "some"
    """Perhaps some: it is only known that pattern and template begin with the same text."""
    ALL = "all"


_VARIABLE: Final = re.compile(r"<[^<>]+>|\{[^{}]+\}")
_WILDCARD: Final = re.compile(r"[*?[]")
# Values for the variables of a template. No template and no pattern contains this character. There are two
# lengths, because `?` matches exactly one character.
_SAMPLES: Final = ("\ue000", "\ue000" * 9)


def cover(pattern: str, method: str, template: str) -> Cover:
    """Tell how many requests to a route a pattern exempts, for one method.

    Args:
        pattern: A pattern of the middleware: `/health*`, or `GET /search*` for one method.
        method: One of the route's methods.
        template: The template of its path.
    """
    first, space, glob = pattern.partition(" ")
    if not space:
        glob = pattern
    elif first and first.upper() != method:
        return Cover.NONE
    before_variable = _VARIABLE.split(template, maxsplit=1)[0]
    has_variable = before_variable != template
    # Whether `[...]` matches a variable depends on the value of the variable.
    if not (has_variable and "[" in glob):
        matches = re.compile(translate(glob)).match
        if all(matches(_VARIABLE.sub(sample, template)) for sample in _SAMPLES):
            return Cover.ALL
    before_wildcard = _WILDCARD.split(glob, maxsplit=1)[0]
    length = min(len(before_variable), len(before_wildcard))
    alike = before_variable[:length] == before_wildcard[:length]
    return Cover.SOME if has_variable and alike else Cover.NONE
