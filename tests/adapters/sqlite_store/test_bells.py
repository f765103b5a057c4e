"""The bell: sockets in a folder, and what replaces them where there are none."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support.waiting import PATIENCE, until

from recloser_adapters.sqlite import SqliteStore, _bell


def sockets(path: Path) -> list[str]:
    return [
        os.path.join(folder, name)
        for folder in _bell.folders(str(path))
        if os.path.isdir(folder)
        for name in os.listdir(folder)
    ]


def hears(store: SqliteStore, other: SqliteStore, wake: int) -> None:
    other.wait(0.0, wake)
    store.ring()
    assert other.wait(PATIENCE, wake)


def test_a_socket_of_the_dead_is_removed(
    path: Path, store: SqliteStore, other: SqliteStore, wake: int
) -> None:
    hears(store, other, wake)
    alive = sockets(path)
    name = f"{os.path.basename(alive[0]).partition('-')[0]}-00000000"
    dead = os.path.join(os.path.dirname(alive[0]), name)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as of_the_dead:
        of_the_dead.bind(dead)

    hears(store, other, wake)

    assert sorted(sockets(path)) == sorted(alive)


def test_who_is_closed_leaves_nothing(
    path: Path, store: SqliteStore, other: SqliteStore, wake: int
) -> None:
    hears(store, other, wake)
    assert len(sockets(path)) == 2

    store.close()
    assert len(sockets(path)) == 1
    other.close()

    assert not any(os.path.exists(folder) for folder in _bell.folders(str(path)))


@pytest.mark.parametrize("namespace", ["another", "x" * 1000])
def test_other_namespaces_are_not_rung(
    path: Path, store: SqliteStore, wake: int, namespace: str
) -> None:
    other = SqliteStore(path, namespace=namespace)
    other.wait(0.0, wake)
    store.ring()

    assert not other.wait(0.05, wake)
    other.close()


def test_a_folder_that_was_emptied_is_used_again(
    path: Path, store: SqliteStore, other: SqliteStore, wake: int
) -> None:
    hears(store, other, wake)
    for folder in {os.path.dirname(each) for each in sockets(path)}:
        shutil.rmtree(folder)

    hears(store, other, wake)
    hears(other, store, wake)


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = Path(tempfile.mkdtemp())
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def deep(tmp_path: Path) -> Path:
    """A path that is too long for the address of a socket."""
    folder = tmp_path / ("deep" * 30)
    folder.mkdir()
    return folder / "recloser.db"


def test_where_the_path_is_too_long_the_sockets_are_in_the_temporary_folder(
    deep: Path, temporary: Path, wake: int
) -> None:
    stores = [SqliteStore(deep) for _ in range(2)]
    hears(stores[0], stores[1], wake)

    assert len(list(temporary.glob("recloser-*/*"))) == 2
    assert oct(next(temporary.glob("recloser-*")).stat().st_mode & 0o777) == "0o700"
    for store in stores:
        store.close()
    temporary.rmdir()


def _without_sockets(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    monkeypatch.delattr(socket, "AF_UNIX")


def _with_long_paths_only(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    monkeypatch.setattr(_bell, "_LONGEST", 10)


def _with_a_file_in_place(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    for folder in _bell.folders(str(path)):
        Path(folder).write_text("mine")


def _with_a_folder_of_somebody_else(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    user = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: user + 1)


@pytest.mark.parametrize(
    "broken",
    [
        _without_sockets,
        _with_long_paths_only,
        _with_a_file_in_place,
        _with_a_folder_of_somebody_else,
    ],
)
def test_where_there_is_no_bell_a_wait_looks_for_changes(
    path: Path,
    opened: Callable[[], SqliteStore],
    temporary: Path,
    wake: int,
    monkeypatch: pytest.MonkeyPatch,
    broken: Callable[[pytest.MonkeyPatch, Path], None],
) -> None:
    broken(monkeypatch, path)
    store, other = opened(), opened()
    other.news(0)
    assert not other.wait(0.0, wake)

    store.swap("name", 0, 1, "text", 60.0)

    assert other.wait(PATIENCE, wake)
    assert [fact.name for fact in other.news(0).facts] == ["name"]
    assert not other.wait(0.15, wake)
    assert sockets(path) == []
    os.close(os.dup(wake))
    reader, writer = os.pipe()
    os.write(writer, b"x")
    assert not other.wait(2 * PATIENCE, reader)
    os.close(reader)
    os.close(writer)
    shutil.rmtree(temporary)


def test_a_descriptor_above_1023_can_be_waited_for(store: SqliteStore, other: SqliteStore) -> None:
    resource = pytest.importorskip("resource")
    fcntl = pytest.importorskip("fcntl")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 2048:
        pytest.skip("no such descriptors here")
    reader, writer = os.pipe()
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2048), hard))
    try:
        high = fcntl.fcntl(reader, fcntl.F_DUPFD, 1500)
        assert not other.wait(0.0, high)
        store.ring()
        assert other.wait(PATIENCE, high)
        os.write(writer, b"x")
        assert not other.wait(2 * PATIENCE, high)
        os.close(high)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        os.close(reader)
        os.close(writer)


def test_a_worker_that_was_stopped_does_not_delay_a_ring(
    store: SqliteStore, other: SqliteStore, wake: int
) -> None:
    """Its queue is full after some rings."""
    hears(store, other, wake)
    for _ in range(1000):
        store.ring()

    assert other.wait(PATIENCE, wake)
    until(lambda: not other.wait(0.05, wake), "the bell is still")
