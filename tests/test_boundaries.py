"""The rules of the house: what may import what, how big a part may be, and where its tests are."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from types import ModuleType
from typing import ParamSpec, TypeVar

import pytest

import recloser

ROOT = Path(__file__).resolve().parent.parent
CORE = sorted((ROOT / "middleware" / "recloser").rglob("*.py"))
ADAPTERS = sorted((ROOT / "adapters" / "recloser_adapters").rglob("*.py"))

PUBLIC_CORE = [
    "recloser",
    "recloser.asgi",
    "recloser.fleet",
    "recloser.hints",
    "recloser.testing",
    "recloser.wsgi",
]

# Adapter -> libraries that it may import beside the one it is named after.
BESIDE = {
    # Flask is made of Werkzeug and click: its routing, and the commands of `app.cli`.
    "flask": {"werkzeug", "click"},
    # Django runs async code with it.
    "django": {"asgiref"},
    # Quart is Flask for asyncio, and Connexion routes with Starlette and serves Flask.
    "quart": {"werkzeug"},
    "connexion": {"starlette", "werkzeug"},
    # These libraries are imported by another name than users know them by.
    "prometheus": {"prometheus_client"},
    "sentry": {"sentry_sdk"},
    "langchain": {"langchain_core"},
    # The adapter of `pydantic_ai`.
    "pydantic": {"pydantic_ai"},
}

# Where Django looks for the app and for its command: nobody imports from there.
FOUND_BY_DJANGO = ("recloser_adapters.django.apps", "recloser_adapters.django.management")

# Adapters that need no library, and so no extra.
OF_THE_STANDARD_LIBRARY = {"dashboard", "graphql", "health", "sqlite"}

# The command and its demo are applications rather than adapters: they put a server, a framework, a
# client and a terminal together, and that is their point. The extra `demo` installs them all.
APPLICATIONS = {"__main__", "_command"}

MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60
# Each is on a path that every call takes, where a method would cost more than the work it does.
MAX_PRIVATE_USES = 20


def _module_name(path: Path) -> str:
    """Strip the first folder: what is left is the import name."""
    parts = path.relative_to(ROOT).with_suffix("").parts[1:]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _first_part(module: str) -> str:
    """What stands right below `recloser_adapters`: the name of an adapter; empty for the package."""
    return ".".join(module.split(".")[1:2])


def _is_private(module: str) -> bool:
    return any(part.startswith("_") for part in module.split("."))


def _imports(path: Path) -> Iterator[tuple[str, str | None]]:
    """Yield (module, name) of each import, wherever in the file it stands."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, None
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}:{node.lineno}: imports are absolute"
            for alias in node.names:
                yield node.module or "", alias.name


def _libraries(path: Path) -> set[str]:
    """Top-level third-party packages that the file imports."""
    # `_typeshed` exists for type checkers alone, and is imported under TYPE_CHECKING.
    ours = {"recloser", "recloser_adapters", "_typeshed"}
    return {module.split(".")[0] for module, _ in _imports(path)} - sys.stdlib_module_names - ours


LIBRARY_ADAPTERS = [
    path for path in ADAPTERS if _first_part(_module_name(path)) not in APPLICATIONS
]
# An adapter is a module, or a package whose `__init__` is what users import from.
PUBLIC_ADAPTERS = [
    path
    for path in LIBRARY_ADAPTERS
    if _first_part(_module_name(path))
    and not _is_private(_module_name(path))
    and not _module_name(path).startswith(FOUND_BY_DJANGO)
]
PUBLIC_PACKAGES = [path for path in PUBLIC_ADAPTERS if path.name == "__init__.py"]


@pytest.mark.parametrize("path", CORE, ids=_module_name)
def test_core_imports_the_standard_library_only(path: Path) -> None:
    assert _libraries(path) == set()
    assert not [module for module, _ in _imports(path) if module.startswith("recloser_adapters")]


def test_importing_the_core_loads_nothing_else_and_starts_no_thread() -> None:
    """Also what is imported indirectly: seen from outside, in a fresh interpreter."""
    script = (
        "import sys, threading, recloser, recloser.asgi, recloser.wsgi, recloser.testing\n"
        "loaded = {name.split('.')[0] for name in sys.modules}\n"
        "assert threading.active_count() == 1\n"
        "print(*sorted(loaded - sys.stdlib_module_names))"
    )
    before = _run("import sys; print(*sorted({name.split('.')[0] for name in sys.modules}))")

    loaded = set(_run(script).split())

    # What `site` and .pth files put there (coverage, editable installs) is none of ours.
    assert loaded - set(before.split()) - {"recloser"} == set()


def _run(script: str) -> str:
    return subprocess.run(
        [sys.executable, "-I", "-c", script], check=True, capture_output=True, text=True
    ).stdout


@pytest.mark.parametrize("path", LIBRARY_ADAPTERS, ids=_module_name)
def test_an_adapter_imports_the_library_it_is_named_after_and_no_other(path: Path) -> None:
    # What is private shows its library first, too: `_aiohttp_content`, `_httpx/`. What is named
    # after no library, such as `_routes/`, imports none.
    library = _first_part(_module_name(path)).lstrip("_").split("_")[0]

    assert _libraries(path) <= {library} | BESIDE.get(library, set())


@pytest.mark.parametrize("path", ADAPTERS, ids=_module_name)
def test_an_adapter_uses_public_names_of_the_core_only(path: Path) -> None:
    for module, name in _imports(path):
        if module.split(".")[0] != "recloser":
            continue
        full = f"{module}.{name}" if f"{module}.{name}" in PUBLIC_CORE else module
        assert full in PUBLIC_CORE, f"{full} is private"
        if name is not None and full == module:
            assert name in importlib.import_module(module).__all__, f"{module}.{name} is private"


@pytest.mark.parametrize("path", ADAPTERS, ids=_module_name)
def test_what_is_private_in_the_package_of_a_library_is_used_in_that_package_only(
    path: Path,
) -> None:
    here = _first_part(_module_name(path))
    for module, name in _imports(path):
        package = _first_part(module)
        if module.split(".")[0] != "recloser_adapters" or package in {"", here}:
            continue
        # What several adapters share lies in packages that are private as a whole.
        if not package.startswith("_"):
            full = f"{module}.{name}" if name is not None else module
            assert not _is_private(full), f"{full} is private"


@pytest.mark.parametrize("path", PUBLIC_ADAPTERS, ids=_module_name)
def test_an_adapter_has_an_extra_of_its_name(path: Path) -> None:
    if _first_part(_module_name(path)) in OF_THE_STANDARD_LIBRARY:
        return
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    library = _first_part(_module_name(path))

    requirements = project["optional-dependencies"][library]

    assert _module_name(path) == f"recloser_adapters.{library}"
    # `aiohttp_web` is another part of aiohttp than the client, and has the same requirement.
    assert any(requirement.startswith(library.split("_")[0]) for requirement in requirements)


@pytest.mark.parametrize(
    "path",
    [path for path in ADAPTERS if _first_part(_module_name(path)) in OF_THE_STANDARD_LIBRARY],
    ids=_module_name,
)
def test_what_needs_no_library_imports_none(path: Path) -> None:
    assert _libraries(path) == set()


@pytest.mark.parametrize("path", PUBLIC_PACKAGES, ids=_module_name)
def test_the_public_face_of_an_adapter_computes_nothing(path: Path) -> None:
    """`__init__` is a docstring, imports and `__all__`."""
    docstring, *imports, names = ast.parse(path.read_text()).body

    assert isinstance(docstring, ast.Expr)
    assert {type(node) for node in imports} == {ast.ImportFrom}
    assert isinstance(names, ast.Assign)


@pytest.mark.parametrize("name", PUBLIC_CORE)
def test_all_names_every_public_name_of_a_core_module(name: str) -> None:
    _check_all(importlib.import_module(name))


# Connexion uses what jsonschema has deprecated.
@pytest.mark.filterwarnings("ignore:jsonschema:DeprecationWarning")
@pytest.mark.parametrize("path", PUBLIC_ADAPTERS, ids=_module_name)
def test_all_names_every_public_name_of_an_adapter(path: Path) -> None:
    try:
        module = importlib.import_module(_module_name(path))
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("recloser"):
            raise
        pytest.skip(f"{error.name} is not installed")
    _check_all(module)


def _check_all(module: ModuleType) -> None:
    """Everything public that a module or package defines is in `__all__`, sorted.

    What a package imports from a module of its own counts as defined by the package.
    """
    defined = {
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and not isinstance(value, TypeVar | ParamSpec)
        and _is_within(getattr(value, "__module__", None), module.__name__)
    }
    exported = list(module.__all__)

    # In the order of ruff's RUF022: constants, classes, functions.
    assert exported == sorted(exported, key=lambda name: (not name.isupper(), name))
    assert defined <= set(exported)
    assert all(hasattr(module, name) for name in exported)


def _is_within(module: str | None, package: str) -> bool:
    return module is not None and f"{module}.".startswith(f"{package}.")


def test_only_the_listed_core_modules_are_public() -> None:
    names = map(_module_name, CORE)

    assert sorted(name for name in names if not _is_private(name)) == PUBLIC_CORE


def test_the_package_root_computes_nothing() -> None:
    """`__init__` is a docstring, imports, `__all__`, and what imports the failover on first use."""
    tree = ast.parse(Path(recloser.__file__).read_text())

    kinds = [type(node) for node in tree.body[1:]]

    assert set(kinds[:-2]) <= {ast.ImportFrom}
    assert kinds[-2:] == [ast.Assign, ast.If]


def test_the_adapter_for_httpx2_is_the_one_for_httpx_by_another_name() -> None:
    """The two libraries differ in their name, so one adapter is written and the other generated."""
    script = ROOT / ".ci" / "generate_httpx2.py"

    checked = subprocess.run(
        [sys.executable, script, "--check"], check=False, capture_output=True, text=True
    )

    assert checked.returncode == 0, checked.stderr


# Where the tests are


@pytest.mark.parametrize(
    "path", [path for path in CORE if path.stem != "__init__"], ids=_module_name
)
def test_a_core_module_has_a_test_file_of_its_name_in_the_room_of_its_name(path: Path) -> None:
    *rooms, module = path.relative_to(ROOT / "middleware" / "recloser").with_suffix("").parts
    folder = ROOT.joinpath("tests", "core", *(room.lstrip("_") for room in rooms))

    assert (folder / f"test_{module.lstrip('_')}.py").exists()


# How big a part may be


@pytest.mark.parametrize("path", [*CORE, *ADAPTERS], ids=_module_name)
def test_no_file_and_no_function_is_too_long(path: Path) -> None:
    text = path.read_text()
    functions = (
        node
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )

    lengths = {f"{each.name}, line {each.lineno}": _lines(each) for each in functions}

    assert len(text.splitlines()) <= MAX_FILE_LINES
    assert {name: lines for name, lines in lengths.items() if lines > MAX_FUNCTION_LINES} == {}


def _lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    assert node.end_lineno is not None
    return node.end_lineno - node.lineno + 1


# What the parts of the core know of each other


def test_no_modules_of_the_core_import_each_other_in_a_circle() -> None:
    """Not even for annotations: imports under TYPE_CHECKING count, and those in functions."""
    names = {_module_name(path) for path in CORE}
    graph: dict[str, set[str]] = {
        _module_name(path): {
            f"{module}.{name}" if f"{module}.{name}" in names else module
            for module, name in _imports(path)
            if module in names
        }
        for path in CORE
    }

    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(reversed(error.args[1])), pytrace=False)


def test_few_parts_of_the_core_use_what_is_private_to_another() -> None:
    uses = Counter({_module_name(path): sum(1 for _ in _private_uses(path)) for path in CORE})

    assert uses.total() <= MAX_PRIVATE_USES, {name: uses[name] for name in +uses}


def _private_uses(path: Path) -> Iterator[ast.Attribute]:
    """Yield each attribute with one leading underscore that is not of `self`, `cls` or `super()`."""
    for node in ast.walk(ast.parse(path.read_text())):
        if (
            isinstance(node, ast.Attribute)
            and node.attr.startswith("_")
            and not node.attr.startswith("__")
            and not (isinstance(node.value, ast.Name) and node.value.id in ("self", "cls"))
            and not (isinstance(node.value, ast.Call) and ast.unparse(node.value) == "super()")
        ):
            yield node
