"""Which modules are mutated, and which tests may kill their mutants."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCE_ROOTS = ("middleware", "adapters")
# Judged by the clock on the wall or by the scheduling of threads, or too slow to be run for each
# mutant: simulations, and tests that raise at each line of a whole request or decision in turn. So
# the share killed is at least what is reported.
_IGNORED = tuple(
    f"tests/core/test_{name}.py"
    for name in (
        "closed_loop",
        "closed_loop_parts",
        "detection",
        "everyday",
        "interleavings",
        "interrupted_requests",
        "own_faults",
        "speed_floors",
        "strikes",
        "threads",
    )
)


@dataclass(frozen=True, slots=True)
class Group:
    """Modules that the same tests are about.

    Attributes:
        name: For the files that are kept of it.
        modules: Patterns of paths, from the root of the repository.
        tests: Arguments of pytest.
    """

    name: str
    modules: tuple[str, ...]
    tests: tuple[str, ...]

    def files(self, only: list[str]) -> list[str]:
        """The modules, as paths from the root; of `only`, parts of paths, at least one is in each."""
        found = {
            str(path.relative_to(ROOT))
            for pattern in self.modules
            for path in ROOT.glob(pattern)
            if path.name != "__init__.py"
        }
        return sorted(
            path for path in found if not only or any(part in _plain(path) for part in only)
        )

    @property
    def arguments(self) -> list[str]:
        """The arguments of pytest that collect the tests."""
        return [*self.tests, *(f"--ignore={path}" for path in _IGNORED)]


GROUPS = (
    Group(
        "core",
        (
            "middleware/recloser/_circuit/*.py",
            "middleware/recloser/_permit.py",
            "middleware/recloser/_breaker.py",
            "middleware/recloser/_admitting_circuit.py",
            "middleware/recloser/_locked_circuit.py",
            "middleware/recloser/_streaming_circuit.py",
            "middleware/recloser/_steerable_circuit.py",
            "middleware/recloser/_hooks.py",
            "middleware/recloser/_overrides.py",
            "middleware/recloser/_policies.py",
            "middleware/recloser/_reporting.py",
            "middleware/recloser/_callers.py",
            "middleware/recloser/_special_keys.py",
        ),
        ("tests/core",),
    ),
    Group(
        "fleet",
        ("middleware/recloser/_fleet/*.py",),
        ("tests/core/fleet", "tests/core/test_fleet.py", "tests/core/test_fleet_simulation.py"),
    ),
    Group(
        "web",
        (
            "middleware/recloser/asgi.py",
            "middleware/recloser/wsgi.py",
            "middleware/recloser/_http/*.py",
        ),
        (
            "tests/contract",
            "--ignore=tests/contract/outbound",
            "tests/core/http",
            "tests/core/test_asgi.py",
            "tests/core/test_asgi_corners.py",
            "tests/core/test_asgi_refused.py",
            "tests/core/test_wsgi.py",
            "tests/core/test_wsgi_corners.py",
            "tests/core/test_wsgi_refused.py",
            "tests/adapters/starlette",
            "tests/adapters/flask",
            "tests/adapters/test_werkzeug.py",
        ),
    ),
    Group(
        "outbound",
        ("adapters/recloser_adapters/_outbound/*.py",),
        (
            "tests/contract/outbound",
            "tests/adapters/test_httpx.py",
            "tests/adapters/test_requests.py",
        ),
    ),
)


def _plain(path: str) -> str:
    """A module as one writes it after `--only`: `_circuit/pauses`."""
    return path.removesuffix(".py")


def own_tests(module: str) -> str:
    """How the names of the test files of a module begin, with their folder.

    `_circuit/pauses.py` has `circuit/test_pauses.py`, and maybe `circuit/test_pauses_in_use.py`.
    """
    path = Path(module)
    folder = path.parent.name.lstrip("_")
    name = f"test_{path.stem.lstrip('_')}"
    return name if folder == "recloser" else f"{folder}/{name}"


def is_play(test: str) -> bool:
    """Whether a test is a recorded play, which goes through all of `_circuit`."""
    return test.startswith("tests/core/circuit/test_plays.py::")
