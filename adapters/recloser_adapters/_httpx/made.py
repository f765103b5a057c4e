"""What providers have made for callers (files, batches, stored responses), and which one made it."""

from __future__ import annotations

import re
from collections import OrderedDict

_MOST = 10_000  # names remembered
# The name of what an answer is about is one of its first members.
_HEAD = 4096  # bytes
_ID = re.compile(rb'"id"\s*:\s*"([^"\\]{2,256})"')
# Gemini's, such as files/abc. A name without a slash may be that of a tool.
_NAME = re.compile(rb'"(?:name|uri)"\s*:\s*"([^"\\]{2,256}/[^"\\]{1,256})"')
_ANY_NAME = re.compile(rb'"([A-Za-z][^"\\\s]{2,255})"')


class Made:
    """Which provider has made what, by its name. It forgets the oldest names."""

    def __init__(self) -> None:
        self._makers: OrderedDict[str, str] = OrderedDict()

    def remember(self, head: bytes, key: str) -> None:
        """Remember the names at the beginning of an answer, which the provider `key` gave."""
        head = head[:_HEAD]
        # The first id is that of the answer itself; the next ones may be of anything.
        found = _ID.search(head)
        for name in (found, *_NAME.finditer(head)):
            if name is not None:
                self._makers[name[1].decode("utf-8", "replace")] = key
        while len(self._makers) > _MOST:
            self._makers.popitem(last=False)

    def maker(self, raw_path: bytes, content: bytes | None) -> str | None:
        """The key of the provider that made what a request names; None if that is not known."""
        makers = self._makers
        if not makers:
            return None
        path = raw_path.partition(b"?")[0].decode("latin-1")
        parts = path.split("/")
        for number, part in enumerate(parts):
            # Gemini's names have two parts: files/abc
            key = makers.get(part.partition(":")[0]) or makers.get(
                "/".join(parts[number - 1 : number + 1])
            )
            if key is not None:
                return key
        for found in _ANY_NAME.finditer(content or b""):
            key = makers.get(found[1].decode("utf-8", "replace"))
            if key is not None:
                return key
        return None
