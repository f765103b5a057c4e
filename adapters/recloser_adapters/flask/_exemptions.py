"""Which rules an exempt pattern covers: all their paths, or perhaps some.

The middleware asks a pattern about a path. Here there are no requests yet, only rules such as
`/items/<int:id>`.
"""

from __future__ import annotations

import enum
import re
from fnmatch import translate
from typing import Final

from werkzeug.routing import Rule


class Cover(enum.Enum):
    """How many of the paths of a rule a pattern matches."""

    NONE = "none"
    SOME = "some"
    """At most some: that they begin alike is all that is known."""
    ALL = "all"


_VARIABLE: Final = re.compile(r"<[^<>]+>")
_WILDCARD: Final = re.compile(r"[*?[]")
# In no rule and in no pattern, and of two lengths: `?` matches but the one of them.
_SAMPLES: Final = ("\ue000", "\ue000" * 9)


def cover(pattern: str, method: str, rule: Rule) -> Cover:
    """Tell how many of the requests to a rule, by one method, a pattern exempts.

    Args:
        pattern: As the middleware takes it: `/health*`, or `GET /search*` for one method.
        method: One of the rule's methods.
        rule: The rule.
    """
    first, space, glob = pattern.partition(" ")
    if not space:
        glob = pattern
    elif first and first.upper() != method:
        return Cover.NONE
    before_variable = _VARIABLE.split(rule.rule, maxsplit=1)[0]
    has_variable = before_variable != rule.rule
    # Whether a class in brackets matches a variable is its value's affair.
    if not (has_variable and "[" in glob):
        matches = re.compile(translate(glob)).match
        if all(matches(_VARIABLE.sub(sample, rule.rule)) for sample in _SAMPLES):
            return Cover.ALL
    before_wildcard = _WILDCARD.split(glob, maxsplit=1)[0]
    length = min(len(before_variable), len(before_wildcard))
    alike = before_variable[:length] == before_wildcard[:length]
    return Cover.SOME if has_variable and alike else Cover.NONE
