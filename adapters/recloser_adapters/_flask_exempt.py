"""Which rules an exempt pattern covers: all their paths, or some.

The middleware asks a pattern about a path. Here there are no requests yet, only rules such as
`/items/<int:id>`, so two languages are compared rather than a word with one.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from fnmatch import translate
from functools import cache
from typing import Final

from werkzeug.routing import Rule


class Cover(enum.Enum):
    """How many of the paths of a rule a pattern matches."""

    NONE = "none"
    SOME = "some"
    ALL = "all"


_VARIABLE: Final = re.compile(r"<(?:([^<>:(]+)[^<>:]*:)?[^<>]+>")
# What a variable is made of; None for anything. Of converters that are not Werkzeug's we know no more.
_CHARACTERS: Final[dict[str, str | None]] = {
    "int": r"[-0-9]",
    "float": r"[-.0-9]",
    "uuid": r"[-0-9A-Fa-f]",
    "default": r"[^/]",
    "string": r"[^/]",
    "any": r"[^/]",
}
# In no rule and in no pattern, and of two lengths: `?` matches but the one of them.
_SAMPLES: Final = ("\ue000", "\ue000" * 9)


@dataclass(frozen=True, slots=True)
class _Token:
    """One character, or any number of them: this one, one out of a class, or (None) whichever."""

    literal: str | None = None
    among: str | None = None
    repeats: bool = False

    def meets(self, other: _Token) -> bool:
        for one, another in ((self, other), (other, self)):
            if one.literal is not None and another.literal is not None:
                return one.literal == another.literal
            if one.literal is not None and another.among is not None:
                return re.fullmatch(another.among, one.literal) is not None
        # The classes all have the digits in common.
        return True


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
    if "[" not in glob or _VARIABLE.search(rule.rule) is None:
        # A class in brackets is not known to match a variable whatever its value.
        matches = re.compile(translate(glob)).match
        if all(matches(_VARIABLE.sub(sample, rule.rule)) for sample in _SAMPLES):
            return Cover.ALL
    return Cover.SOME if _overlap(_of_rule(rule.rule), _of_glob(glob)) else Cover.NONE


def _of_rule(template: str) -> tuple[_Token, ...]:
    tokens: list[_Token] = []
    end = 0
    for variable in _VARIABLE.finditer(template):
        tokens += map(_Token, template[end : variable.start()])
        among = _CHARACTERS.get(variable[1] or "default")
        tokens += [_Token(among=among), _Token(among=among, repeats=True)]
        end = variable.end()
    return (*tokens, *map(_Token, template[end:]))


def _of_glob(glob: str) -> tuple[_Token, ...]:
    # A class in brackets passes for any character: to say "may be" too often is no lie.
    pieces = re.findall(r"\[!?\]?[^]]*\]|.", glob, re.DOTALL)
    special = {"*": _Token(repeats=True), "?": _Token()}
    return tuple(
        special.get(piece, _Token() if len(piece) > 1 else _Token(piece)) for piece in pieces
    )


def _overlap(some: tuple[_Token, ...], others: tuple[_Token, ...]) -> bool:
    """Whether some word fits both."""

    @cache
    def meet(i: int, j: int) -> bool:
        a = some[i] if i < len(some) else None
        b = others[j] if j < len(others) else None
        if a is None and b is None:
            return True
        if (a is not None and a.repeats and meet(i + 1, j)) or (
            b is not None and b.repeats and meet(i, j + 1)
        ):
            return True
        if a is None or b is None or (a.repeats and b.repeats) or not a.meets(b):
            return False
        return meet(i + (not a.repeats), j + (not b.repeats))

    return meet(0, 0)
