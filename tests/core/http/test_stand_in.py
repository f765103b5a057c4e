"""What stands for an object is copied and pickled as that object."""

from __future__ import annotations

import copy
import pickle
from typing import Any

from recloser._http.stand_in import StandIn


class Standing(StandIn):
    def __init__(self, other: Any) -> None:
        self.other = other

    def _stands_for(self) -> Any:
        return self.other


def test_a_copy_is_one_of_the_object_inside() -> None:
    inside = [[1]]
    standing: Any = Standing(inside)
    shallow, deep = copy.copy(standing), copy.deepcopy(standing)

    assert shallow == deep == inside
    assert shallow is not inside
    assert shallow[0] is inside[0]
    assert deep[0] is not inside[0]


def test_a_pickle_is_one_of_the_object_inside() -> None:
    assert pickle.loads(pickle.dumps(Standing({"a": 1}))) == {"a": 1}
