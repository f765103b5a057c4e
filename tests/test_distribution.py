"""What is shipped: the two packages and nothing else in the wheel, all that tests need in the sdist."""

from __future__ import annotations

import tarfile
import zipfile
from pathlib import Path

import pytest
from hatchling.builders.sdist import SdistBuilder
from hatchling.builders.wheel import WheelBuilder

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sdist")
    [path] = SdistBuilder(str(ROOT)).build(directory=str(folder), versions=["standard"])
    with tarfile.open(path) as archive:
        if hasattr(tarfile, "data_filter"):  # from 3.11.4 on; Debian 12 has 3.11.2
            archive.extraction_filter = tarfile.data_filter
        archive.extractall(folder)
    return folder / Path(path).name.removesuffix(".tar.gz")


@pytest.fixture(scope="module")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """A wheel built from the sdist, as an index's users get it."""
    folder = tmp_path_factory.mktemp("wheel")
    [path] = WheelBuilder(str(sdist)).build(directory=str(folder), versions=["standard"])
    return zipfile.ZipFile(path)


def _sources(root: Path) -> set[str]:
    return {
        path.relative_to(root).as_posix()
        for path in root.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_the_wheel_holds_the_two_packages_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    shipped = {name for name in wheel.namelist() if ".dist-info/" not in name}

    assert shipped == _sources(ROOT / "middleware") | _sources(ROOT / "adapters")


@pytest.mark.parametrize("package", ["recloser", "recloser_adapters"])
def test_the_wheel_says_that_it_is_typed(wheel: zipfile.ZipFile, package: str) -> None:
    assert f"{package}/py.typed" in wheel.namelist()


def test_the_wheel_has_licence_and_command(wheel: zipfile.ZipFile) -> None:
    [licence] = [name for name in wheel.namelist() if name.endswith("/LICENSE")]
    [commands] = [name for name in wheel.namelist() if name.endswith("/entry_points.txt")]

    assert b"MIT License" in wheel.read(licence)
    assert b"recloser = recloser_adapters.__main__:main" in wheel.read(commands)


def test_the_core_depends_on_nothing(wheel: zipfile.ZipFile) -> None:
    [metadata] = [name for name in wheel.namelist() if name.endswith("/METADATA")]

    required = [
        line
        for line in wheel.read(metadata).decode().splitlines()
        if line.startswith("Requires-Dist:") and "extra ==" not in line
    ]

    assert required == []


@pytest.mark.parametrize(
    "name",
    ["README.md", "LICENSE", "CHANGELOG.md", "tox.ini", ".ci/run", "tests/conftest.py", "examples"],
)
def test_the_sdist_holds_what_a_test_run_needs(sdist: Path, name: str) -> None:
    assert (sdist / name).exists()
