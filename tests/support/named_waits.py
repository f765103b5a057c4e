"""The waits that calls were told to name: a breaker believes those of failed calls only in part."""

from __future__ import annotations

import pytest

from recloser._circuit.machine import Circuit
from recloser._circuit.votes import Ending, Vote


def record_waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The wait in seconds that each call names from now on; it grows as calls end."""
    waits: list[float] = []
    before = Circuit.end

    def end(circuit: Circuit, ending: Ending) -> Vote:
        waits.append(ending.wait)
        return before(circuit, ending)

    monkeypatch.setattr(Circuit, "end", end)
    return waits
