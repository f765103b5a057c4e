"""What `import recloser` gives, and that it gives all of it."""

from __future__ import annotations

import inspect
import pickle
import subprocess
import sys
from importlib.metadata import version

import pytest

import recloser

PROMISED = {
    "Breaker",
    "BreakerOpenError",
    "Failover",
    "Listener",
    "Metrics",
    "Mode",
    "Outcome",
    "Permit",
    "Policy",
    "Reason",
    "RecloserError",
    "Registry",
    "State",
    "Transition",
}


def test_every_promised_name_is_public() -> None:
    assert set(recloser.__all__) >= PROMISED


@pytest.mark.parametrize("name", sorted(recloser.__all__))
def test_every_public_name_is_documented(name: str) -> None:
    documented = inspect.getdoc(getattr(recloser, name))

    # A dataclass without a docstring gets its own signature for one.
    assert documented
    assert not documented.startswith(f"{name}(")


@pytest.mark.parametrize("name", sorted(recloser.__all__))
def test_every_public_method_of_a_public_class_is_documented(name: str) -> None:
    public = getattr(recloser, name)
    if not inspect.isclass(public):
        return

    bare = [
        attribute
        for attribute, member in vars(public).items()
        if not attribute.startswith("_")
        and (inspect.isfunction(member) or isinstance(member, property))
        and not inspect.getdoc(member)
    ]

    assert bare == []


def test_a_star_import_gives_the_public_names() -> None:
    namespace: dict[str, object] = {}

    exec("from recloser import *", namespace)

    assert set(recloser.__all__) <= set(namespace)


def test_what_a_breaker_works_without_is_imported_on_first_use() -> None:
    """In a fresh interpreter: another test may have used it in this one."""
    script = (
        "import sys, recloser\n"
        "later = {'recloser._failover', 'recloser._failover.failover', 'recloser._metrics'}\n"
        "assert not later & sys.modules.keys()\n"
        "assert set(recloser.__all__) <= set(dir(recloser))\n"
        "assert not later & sys.modules.keys()\n"
        "from recloser import Failover, Metrics\n"
        "assert later <= sys.modules.keys()\n"
        "assert recloser.Failover is Failover is sys.modules['recloser._failover.failover'].Failover\n"
    )

    subprocess.run([sys.executable, "-c", script], check=True)


def test_a_name_that_does_not_exist_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'recloser' has no attribute 'Fallover'"):
        recloser.Fallover  # type: ignore[attr-defined]  # noqa: B018
    with pytest.raises(ImportError, match="Fallover"):
        exec("from recloser import Fallover")


def test_the_distribution_is_installed_and_has_a_version() -> None:
    assert version("recloser").split(".")[0].isdigit()


@pytest.mark.parametrize("value", [recloser.Policy(min_failures=7), recloser.State.HALF_OPEN])
def test_values_survive_a_pickle(value: object) -> None:
    assert pickle.loads(pickle.dumps(value)) == value


def test_the_root_error_catches_a_refusal() -> None:
    assert issubclass(recloser.BreakerOpenError, recloser.RecloserError)
    assert issubclass(recloser.RecloserError, Exception)


def test_importing_it_imports_no_event_loop_and_no_logging() -> None:
    """They cost as much as all the rest: who uses them has imported them."""
    code = "import sys, recloser.asgi, recloser.wsgi; print(*sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert not {"asyncio", "logging"} & set(found.stdout.split())
