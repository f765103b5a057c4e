"""What stands for an object of the server or the app: a copy of it is a copy of that object."""

from __future__ import annotations

import copy
from typing import Any, SupportsIndex


class StandIn:
    """An object that stands for another one, which it watches. Copies and pickles are not watched."""

    __slots__ = ()

    def _stands_for(self) -> Any:
        """The other object: each subclass has its own."""

    def __copy__(self) -> Any:
        return copy.copy(self._stands_for())

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return copy.deepcopy(self._stands_for(), memo)

    def __reduce_ex__(self, protocol: SupportsIndex) -> Any:
        return _itself, (self._stands_for(),)


def _itself(other: Any) -> Any:
    return other
