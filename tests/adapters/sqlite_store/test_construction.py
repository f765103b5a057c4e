"""What can be mended is said when a store is made, and what is made is for one user only."""

from __future__ import annotations

import errno
import os
import sqlite3
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from recloser.fleet import StoreError
from recloser_adapters.sqlite import SqliteStore, _bell, _file

NOBODY = 65534


@pytest.mark.parametrize("path", [None, 3, b"recloser.db", object()])
def test_a_path_of_another_type_is_a_type_error(path: Any) -> None:
    with pytest.raises(TypeError, match=r"path must be a str or a path object.*write SqliteStore"):
        SqliteStore(path)


@pytest.mark.parametrize("path", ["", ":memory:", "file:recloser.db?mode=memory", "a\0b"])
def test_a_path_that_others_cannot_open_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="path must be the path of a file"):
        SqliteStore(path)


def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"there is no folder '.*/missing'; make it first"):
        SqliteStore(tmp_path / "missing" / "recloser.db")


def test_a_folder_that_may_not_be_seen_is_no_missing_folder(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual, folder = os.stat, str(path.parent.resolve())

    def refuse(name: Any, **more: Any) -> os.stat_result:
        if name == folder:
            raise PermissionError(errno.EACCES, "Permission denied", name)
        return usual(name, **more)

    monkeypatch.setattr(os, "stat", refuse)
    monkeypatch.setattr(os.path, "isdir", lambda name: name != folder)

    with pytest.raises(ValueError, match="permission denied"):
        SqliteStore(path)


@pytest.mark.parametrize("length", [241, 248, 255, 256, 300, 5000])
def test_a_name_that_is_too_long_is_refused(tmp_path: Path, length: int) -> None:
    limit = os.pathconf(tmp_path, "PC_NAME_MAX") - len("-journal")
    path = tmp_path / ("x" * length)
    if length <= limit:
        store = SqliteStore(path)
        assert store.beat("worker", "", 60.0) == 1
        store.close()
        return
    with pytest.raises(ValueError, match=r"is too long.*name a shorter path"):
        SqliteStore(path)
    assert [*tmp_path.iterdir()] == []


def test_a_path_that_sqlite_does_not_take_is_refused(tmp_path: Path) -> None:
    folder = tmp_path
    while len(os.fsencode(folder)) < 460:
        folder /= "y" * 20
    folder.mkdir(parents=True)
    taken = 0
    for length in range(1, 60):
        path = folder / ("x" * length)
        if len(os.fsencode(path)) + len("-journal") > 512:
            with pytest.raises(ValueError, match="is too long"):
                SqliteStore(path)
        else:
            store = SqliteStore(path)
            assert store.beat("worker", "", 60.0) == 1
            store.close()
            taken += 1
    assert 0 < taken < 59


@pytest.mark.parametrize("number", [*_file._NEVER])
def test_a_folder_where_no_file_can_be_made_is_refused(
    path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(*args: Any) -> int:
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr(os, "open", _only_new(refuse))

    with pytest.raises(ValueError, match=r"no file can be made there \(.*name a file on a disk"):
        SqliteStore(path)


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOSPC, errno.EIO])
def test_where_no_file_can_be_made_now_it_is_made_later(
    path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(*args: Any) -> int:
        raise OSError(number, os.strerror(number), str(path))

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", _only_new(refuse))
        store = SqliteStore(path)
        with pytest.raises(StoreError):
            store.beat("worker", "", 60.0)

    assert store.beat("worker", "", 60.0) == 1
    store.close()


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs Linux")
@pytest.mark.parametrize("folder", ["/proc", "/sys"])
def test_a_folder_of_the_system_is_refused(folder: str) -> None:
    with pytest.raises(ValueError, match=f"{folder}/recloser.db"):
        SqliteStore(f"{folder}/recloser.db")


def _only_new(refuse: Callable[..., int]) -> Callable[..., int]:
    """`os.open`, but for new files."""
    usual = os.open

    def opened(path: Any, flags: int, *more: int) -> int:
        return refuse() if flags & os.O_CREAT else usual(path, flags, *more)

    return opened


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="name a file in a folder"):
        SqliteStore(tmp_path)


def test_a_namespace_is_a_text(path: Path) -> None:
    with pytest.raises(ValueError, match="namespace must not be empty"):
        SqliteStore(path, namespace="")
    wrong: Any = 3
    with pytest.raises(TypeError, match="namespace must be a str, not 3"):
        SqliteStore(path, namespace=wrong)


def test_a_relative_path_stays_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store = SqliteStore("recloser.db")
    monkeypatch.chdir("/")

    assert store.swap("name", 0, 1, "text", 60.0)

    assert store.place == f"sqlite:{tmp_path.resolve()}/recloser.db"
    assert "recloser.db" in repr(store)
    store.close()


# The file system


def _mounts(folder: Path, *mounts: tuple[str, str]) -> str:
    lines = [
        f"{number} 1 0:{number} / {point} rw,relatime shared:1 - {kind} source rw\n"
        for number, (point, kind) in enumerate(mounts)
    ]
    path = folder / "mountinfo"
    path.write_text("garbage\n" + "".join(lines))
    return str(path)


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "cifs", "smb3", "fuse.sshfs", "9p"])
def test_a_network_file_system_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    mounts = _mounts(tmp_path, ("/", "ext4"), (str(tmp_path.resolve()), kind))
    monkeypatch.setattr(_file, "MOUNTS", mounts)

    with pytest.raises(ValueError, match=rf"network file system \({kind}\).*use Redis"):
        SqliteStore(tmp_path / "recloser.db")
    assert not (tmp_path / "recloser.db").exists()


def test_the_mount_that_is_seen_decides(tmp_path: Path) -> None:
    mounts = _mounts(
        tmp_path, ("/", "nfs"), ("/a", "nfs"), ("/a\\040b/c", "xfs"), ("/a", "tmpfs"), ("/ab", "9p")
    )

    assert _file.filesystem("/", mounts) == "nfs"
    assert _file.filesystem("/a/x", mounts) == "tmpfs"
    assert _file.filesystem("/a b/c/d", mounts) == "xfs"
    assert _file.filesystem("/a b/d", mounts) == "nfs"
    assert _file.filesystem("/ab", mounts) == "9p"
    assert _file.filesystem("/ab", str(tmp_path / "missing")) == ""


@pytest.mark.skipif(not os.path.exists("/proc/self/mountinfo"), reason="needs Linux")
def test_the_system_tells_its_mounts() -> None:
    assert _file.filesystem("/proc/self", _file.MOUNTS) == "proc"


# What is in the file


def test_a_file_that_is_no_database_is_refused_and_not_touched(path: Path) -> None:
    text = "These are my notes. " * 500
    path.write_text(text)

    with pytest.raises(ValueError, match=rf"{path} is damaged or is no SQLite file"):
        SqliteStore(path)
    assert path.read_text() == text


def test_a_damaged_file_is_refused(path: Path) -> None:
    store = SqliteStore(path)
    store.swap("name", 0, 1, "text", 60.0)
    store.close()
    whole = path.read_bytes()
    path.write_bytes(whole[:100] + b"\xff" * 4000 + whole[4100:])

    with pytest.raises(ValueError, match="is damaged or is no SQLite file"):
        SqliteStore(path)


def test_the_database_of_another_program_is_refused_and_not_touched(
    path: Path, sql: Callable[..., list[Any]]
) -> None:
    sql("CREATE TABLE orders (id INTEGER)")

    with pytest.raises(ValueError, match="is the SQLite file of another program"):
        SqliteStore(path)
    assert sql("SELECT name FROM sqlite_master") == [("orders",)]
    assert sql("PRAGMA journal_mode") == [("delete",)]


@pytest.mark.parametrize("version", [0, 2, 17])
def test_another_version_of_our_tables_is_refused(
    path: Path, sql: Callable[..., list[Any]], version: int
) -> None:
    SqliteStore(path).close()
    sql(f"PRAGMA user_version = {version}")

    with pytest.raises(ValueError, match=rf"has version {version} of the tables.*knows 1"):
        SqliteStore(path)


def test_an_empty_file_becomes_a_store(path: Path) -> None:
    path.touch()
    store = SqliteStore(path)

    assert store.swap("name", 0, 1, "text", 60.0)
    store.close()


def test_a_store_is_read_by_the_next_process(path: Path) -> None:
    store = SqliteStore(path)
    store.swap("name", 0, 1, "text", 60.0)
    news = store.news(0)
    store.close()

    again = SqliteStore(path)

    assert again.news(0).life == news.life
    assert again.news(0).version == news.version
    again.close()


def test_a_store_that_was_only_made_holds_nothing_open(path: Path) -> None:
    before = len(os.listdir("/dev/fd"))
    store = SqliteStore(path)

    assert len(os.listdir("/dev/fd")) == before
    assert sorted(os.listdir(path.parent)) == ["recloser.db"]
    store.close()


# Users


def _mode(path: str) -> str:
    return oct(stat.S_IMODE(os.stat(path).st_mode))


def test_all_files_are_for_one_user_only(path: Path, wake: int) -> None:
    mask = os.umask(0)
    try:
        store = SqliteStore(path)
        store.swap("name", 0, 1, "text", 60.0)
        store.wait(0.0, wake)
    finally:
        os.umask(mask)

    assert [_mode(f"{path}{suffix}") for suffix in ("", "-wal", "-shm")] == ["0o600"] * 3
    assert _mode(_bell.folders(str(path))[0]) == "0o700"
    store.close()


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder of a user who is not root, who is the user of this process for a while."""
    if os.getuid() != 0:
        with tempfile.TemporaryDirectory() as name:
            yield Path(name)
        return
    with tempfile.TemporaryDirectory() as name:
        os.chown(name, NOBODY, NOBODY)
        os.seteuid(NOBODY)
        try:
            yield Path(name)
        finally:
            os.seteuid(0)


def test_a_folder_that_may_not_be_written_to_is_named(folder: Path) -> None:
    folder.chmod(0o500)
    try:
        with pytest.raises(ValueError, match=rf"may not write to '{folder.resolve()}'"):
            SqliteStore(folder / "recloser.db")
    finally:
        folder.chmod(0o700)


def test_a_file_that_became_read_only_is_a_store_error_until_it_is_mended(folder: Path) -> None:
    path = folder / "recloser.db"
    store = SqliteStore(path)
    store.swap("name", 0, 1, "text", 60.0)
    store.close()
    path.chmod(0o400)

    with pytest.raises(StoreError, match="readonly"):
        store.swap("name", 1, 2, "text", 60.0)
    with pytest.raises(ValueError, match="may not write to"):
        SqliteStore(path)

    path.chmod(0o600)
    assert store.swap("name", 1, 2, "text", 60.0)
    store.close()


def test_a_locked_file_can_be_a_store_later(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("BEGIN EXCLUSIVE")
        store = SqliteStore(path)
        with pytest.raises(StoreError, match="locked"):
            store.swap("name", 0, 1, "text", 60.0)
        with pytest.raises(StoreError, match="locked"):
            store.news(0)

    assert store.swap("name", 0, 1, "text", 60.0)
    store.close()
