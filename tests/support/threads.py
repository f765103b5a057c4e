"""Work that many threads do at once."""

from __future__ import annotations

import threading
from collections.abc import Callable


def all_at_once(number: int, work: Callable[[int], None]) -> None:
    """Run `work` on many threads at once, each with its own number. No thread may raise."""
    together = threading.Barrier(number)
    errors: list[BaseException] = []

    def run(index: int) -> None:
        together.wait()
        try:
            work(index)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(index,)) for index in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60.0)
    assert errors == []
