"""File: whether a path can hold the store, and whether it still is the file that was opened."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress

from recloser.fleet import StoreError
from recloser_adapters.sqlite._native import native

# SQLite's locks and its memory that is mapped do not work there, or not between hosts.
NETWORK = frozenset(
    {
        *("9p", "afs", "beegfs", "ceph", "cifs", "coda", "davfs", "gfs2", "glusterfs", "lustre"),
        *("ncpfs", "nfs", "nfs4", "ocfs2", "smb", "smb2", "smb3", "smbfs"),
        *(
            "fuse.ceph",
            "fuse.cephfs",
            "fuse.davfs",
            "fuse.gcsfuse",
            "fuse.glusterfs",
            "fuse.goofys",
        ),
        *("fuse.juicefs", "fuse.mountpoint-s3", "fuse.rclone", "fuse.s3fs", "fuse.smbnetfs"),
        "fuse.sshfs",
    }
)
MOUNTS = "/proc/self/mountinfo"

# The names of the files beside the store are longer by so many bytes, and SQLite takes paths of so many.
_BESIDE, _LONGEST = len("-journal"), 512
# Why a file cannot be made where that does not pass by itself.
_NEVER = (errno.EACCES, errno.EINVAL, errno.ENAMETOOLONG, errno.ENOENT, errno.EPERM, errno.EROFS)

_EFFECTIVE = os.access in os.supports_effective_ids  # a process may have changed its user

Identity = tuple[tuple[int, int] | None, tuple[int, int] | None]


class UnusableError(StoreError):
    """The file cannot be a store until somebody mends it: a `ValueError` when a store is made."""


def checked(path: str | os.PathLike[str]) -> str:
    """The absolute path of a file that can hold a store, without symbolic links.

    Raises:
        TypeError: It is neither a str nor a path object.
        ValueError: There can be no such file, or it lies on a network file system.
    """
    name: object = os.fspath(path) if isinstance(path, os.PathLike) else path
    if not isinstance(name, str):
        raise TypeError(
            f"path must be a str or a path object such as pathlib.Path, not {path!r}:"
            ' write SqliteStore("/var/lib/shop/recloser.db")'
        )
    if not name or "\0" in name or name == ":memory:" or name.startswith("file:"):
        raise ValueError(
            f"path must be the path of a file, not {name!r}: other processes must be able to open it"
        )
    full = os.path.realpath(name)
    folder = os.path.dirname(full)
    if not os.path.isdir(folder):
        if _is_hidden(folder):
            raise ValueError(
                f"path {full!r}: this user may not look for {folder!r} (permission denied);"
                " all workers must run as the user that owns it"
            )
        raise ValueError(f"path {full!r}: there is no folder {folder!r}; make it first")
    if _is_too_long(folder, full):
        raise ValueError(
            f"path {full!r} is too long: SQLite makes files beside it whose names are longer by"
            f" {_BESIDE} bytes; name a shorter path"
        )
    if os.path.lexists(full) and not os.path.isfile(full):
        raise ValueError(f"path {full!r} is no file: name a file in a folder")
    kind = filesystem(folder, MOUNTS)
    if kind in NETWORK:
        raise ValueError(
            f"path {full!r} lies on a network file system ({kind}), where SQLite loses and destroys"
            " data: name a file on a disk of this host, or use Redis"
        )
    for needed in (folder, full):
        if os.path.exists(needed) and not _is_writable(needed):
            raise ValueError(
                f"path {full!r}: this user may not write to {needed!r};"
                " all workers must run as the user that owns it"
            )
    return full


def _is_hidden(folder: str) -> bool:
    try:
        os.stat(folder)
    except PermissionError:
        return True
    except (OSError, ValueError):
        pass
    return False


def _is_too_long(folder: str, full: str) -> bool:
    with suppress(OSError, ValueError, AttributeError):  # Windows has no `pathconf`
        longest = os.pathconf(folder, "PC_NAME_MAX")
        if len(os.fsencode(os.path.basename(full))) + _BESIDE > longest:
            return True
    return os.name == "posix" and len(os.fsencode(full)) + _BESIDE > _LONGEST


def _is_writable(path: str) -> bool:
    return os.access(path, os.W_OK, effective_ids=_EFFECTIVE)


def filesystem(folder: str, mounts: str) -> str:
    """The type of the file system of a folder, by the list of mounts; empty if it is not told."""
    best, kind = "", ""
    try:
        with open(mounts, encoding="utf-8", errors="surrogateescape") as file:
            lines = file.readlines()
    except OSError:
        return ""
    for line in lines:
        fields, _, rest = line.partition(" - ")
        point = _unescaped(fields.split(" ")[4]) if fields.count(" ") > 4 else ""
        inside = f"{folder}/".startswith(point if point.endswith("/") else f"{point}/")
        # A later mount at the same place hides an earlier one.
        if point and inside and len(point) >= len(best):
            best, kind = point, rest.split(" ")[0]
    return kind


def _unescaped(point: str) -> str:
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        point = point.replace(code, character)
    return point


def identity(path: str) -> Identity:
    """Which files are at the path and at that of its log; None where there is none."""
    return _inode(path), _inode(f"{path}-wal")


def _inode(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def provide(path: str, before: Identity | None, deadline: float) -> None:
    """Make an empty file if there is none, and remove the log of one that was deleted or replaced.

    SQLite would take the old log for that of the new file. All workers do this at the same moment,
    so it is done under a lock: else a late one removed the log of the file that another has made.

    Args:
        path: Of the file.
        before: The identity of the file that this worker has still open; None if it has none.
        deadline: When to give up, by the monotonic clock.

    Raises:
        OSError: The file cannot be made now.
        UnusableError: It cannot be made until somebody mends that.
        StoreError: Another process has the lock until the deadline.
    """
    if not _is_stale(path, before):
        return
    with _locked(os.path.dirname(path), deadline):
        if not _is_stale(path, before):
            return
        for suffix in ("-wal", "-shm", "-journal"):
            with suppress(FileNotFoundError):
                os.unlink(path + suffix)
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        except FileExistsError:
            pass
        except OSError as error:
            if error.errno not in _NEVER:
                raise  # too many open files, no space left: that passes
            raise UnusableError(
                f"{path}: no file can be made there ({error.strerror}): name a file on a disk of this"
                " host, in a folder that this user may write to"
            ) from error


def mend_modes(path: str) -> None:
    """Make the files beside one that can be written writable, too.

    SQLite gives them the mode of the file. If that was read-only for a while, they still are.
    """
    for beside in (f"{path}-wal", f"{path}-shm"):
        if os.path.exists(beside) and not _is_writable(beside) and _is_writable(path):
            with suppress(OSError):
                os.chmod(beside, 0o600)


def _is_stale(path: str, before: Identity | None) -> bool:
    file, log = identity(path)
    if file is None:
        return True
    return before is not None and log is not None and log == before[1] and file != before[0]


@contextmanager
def _locked(folder: str, deadline: float) -> Generator[None, None, None]:
    """A lock between processes that ends with its process, on the folder: it needs no file."""
    try:
        from fcntl import LOCK_EX, LOCK_NB, flock
    except ImportError:  # Windows, where a file in use cannot be deleted
        yield
        return
    folder_fd = os.open(folder, os.O_RDONLY)
    try:
        while True:
            try:
                flock(folder_fd, LOCK_EX | LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise StoreError(f"another process has locked the folder {folder}") from None
                native("time", "sleep")(0.002)
            except OSError:
                break  # no locks on this file system: the race is a small one
        yield
    finally:
        os.close(folder_fd)
