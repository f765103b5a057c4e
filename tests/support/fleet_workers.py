"""Workers of one fleet in one process, without threads: a test lets their time pass."""

from __future__ import annotations

from recloser import Policy, Registry
from recloser.fleet import Fleet, MemoryData, MemoryStore, StoreError
from recloser.testing import ManualClock, no_jitter

_STEP = 0.05  # seconds between two turns


class Shared(MemoryData):
    """The memory that they share.

    Attributes:
        trouble: What each operation fails with; empty while it works.
    """

    trouble = ""


class _Store(MemoryStore):
    def __init__(self, data: Shared) -> None:
        super().__init__(data)
        self._shared = data

    @property
    def place(self) -> str:
        return "memory:7/0"

    def _count(self, operation: str) -> MemoryData:
        if self._shared.trouble:
            raise StoreError(self._shared.trouble)
        return super()._count(operation)


class Workers:
    """Some workers.

    Args:
        clock: The clock of all.
        count: How many there are.

    Attributes:
        shared: The memory of their store.
        registries: One for each.
    """

    def __init__(self, clock: ManualClock, count: int = 3) -> None:
        self.clock = clock
        self.shared = Shared(clock)
        self.registries = [self._worker() for _ in range(count)]
        self.turn()

    def _worker(self) -> Registry:
        store = _Store(self.shared)
        registry = Registry(Policy(), clock=self.clock, random=no_jitter, store=store)
        fleet = self.fleet(registry)
        fleet.close()  # its thread never begins: here the test runs the turns
        self.shared.bells[id(store)] = lambda: setattr(fleet.member, "rung", True)
        return registry

    @staticmethod
    def fleet(registry: Registry) -> Fleet:
        """The fleet of a registry, which has one."""
        assert registry.fleet is not None
        return registry.fleet

    @property
    def names(self) -> list[str]:
        """The names of the workers."""
        return [self.fleet(each).name for each in self.registries]

    def turn(self, seconds: float = 0.0) -> None:
        """Let some time pass, in which each worker does what is due."""
        until = self.clock() + seconds
        while True:
            for registry in self.registries:
                self.fleet(registry).member.turn(self.clock())
            if self.clock() >= until:
                break
            self.clock.advance(_STEP)

    def call(self, key: str, *, times: int = 1, bad: bool = False) -> None:
        """Make calls of a key in each worker that end at once; those that are refused are none."""
        for registry in self.registries:
            for _ in range(times):
                permit = registry[key].try_acquire()
                if permit is not None:
                    permit.failure("HTTP 502") if bad else permit.success()
