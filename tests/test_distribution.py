"""What is shipped: the two packages and nothing else in the wheel, all that tests need in the sdist."""

from __future__ import annotations

import os
import runpy
import shutil
import tarfile
import zipfile
from pathlib import Path
from typing import Any

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


def test_two_builds_are_the_same_to_the_byte(
    sdist: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever builds a release again can compare it, whatever the times of his files are."""
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    built: list[list[bytes]] = []
    for name, changed in (("a", 1_600_000_000), ("b", 1_650_000_000)):
        source = tmp_path / name
        shutil.copytree(sdist, source)
        for path in source.rglob("*"):
            os.utime(path, (changed, changed))
        folder = str(tmp_path / f"dist-{name}")
        [archive] = SdistBuilder(str(source)).build(directory=folder, versions=["standard"])
        [wheel] = WheelBuilder(str(source)).build(directory=folder, versions=["standard"])
        built.append([Path(archive).read_bytes(), Path(wheel).read_bytes()])

    assert built[0] == built[1]


@pytest.fixture(scope="module")
def release() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / ".ci" / "check_release.py"))


PYPROJECT = '[project]\nversion = "1.2.3"\n[project.urls]\nSource = "somewhere"\n'
CHANGELOG = "## [1.2.3] - 2027-01-01\n"


def test_a_release_whose_tag_version_and_change_log_agree_may_go_on(
    release: dict[str, Any],
) -> None:
    assert release["problems"]("v1.2.3", PYPROJECT, CHANGELOG) == []


@pytest.mark.parametrize(
    ("tag", "pyproject", "changelog", "says"),
    [
        ("1.2.3", PYPROJECT, CHANGELOG, "the tag '1.2.3' is not like v1.2.3"),
        (
            "v1.2.4",
            PYPROJECT,
            "## 1.2.4",
            "the tag is v1.2.4, and version in pyproject.toml is 1.2.3",
        ),
        ("v1.2.3", PYPROJECT, "## [Unreleased]\n", "CHANGELOG.md has no section `## 1.2.3`"),
        ("v1.2.3", PYPROJECT, "## 1.2.30\n", "CHANGELOG.md has no section `## 1.2.3`"),
        (
            "v1.2.3",
            '[project]\nversion = "1.2.3"\n',
            CHANGELOG,
            "pyproject.toml has no [project.urls] with Source: write where the code is",
        ),
    ],
)
def test_a_release_that_is_not_ready_is_told_why(
    release: dict[str, Any], tag: str, pyproject: str, changelog: str, says: str
) -> None:
    assert says in release["problems"](tag, pyproject, changelog)


@pytest.mark.parametrize(
    ("tag", "before", "kind"),
    [
        ("v2.0.0", "v1.9.9", "major"),
        ("v1.3.0", "v1.2.9", "minor"),
        ("v1.2.4", "v1.2.3", "patch"),
    ],
)
def test_a_release_is_a_major_a_minor_or_a_patch(
    release: dict[str, Any], tag: str, before: str, kind: str
) -> None:
    assert release["kind"](tag, before) == kind
