"""Bell: an empty datagram tells another process of the host that there is news.

Each worker has a UNIX socket in a folder that all know, so nobody keeps a list. A worker that is gone
leaves a socket that refuses; who finds it, removes it.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from contextlib import suppress
from typing import Any

from recloser_adapters.sqlite._native import native

# Bytes of the address of a UNIX socket: 108 on Linux, 104 elsewhere, with a zero at the end.
_LONGEST = 103
_NAME = 8 + 1 + 8  # of a socket: namespace, random


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def folders(path: str) -> list[str]:
    """Where the sockets of a store may be, the best place first: a long path has no room for them."""
    user = os.getuid() if hasattr(os, "getuid") else 0
    places = (
        f"{path}-bells",
        os.path.join(tempfile.gettempdir(), f"recloser-{user}-{_hash(path)[:16]}"),
    )
    return [place for place in places if len(os.fsencode(place)) + 1 + _NAME <= _LONGEST]


class Bell:
    """The socket of one worker. It never raises; where there are no such sockets, it is silent.

    Args:
        path: Of the file of the store.
        namespace: Only workers of the same namespace hear each other.
    """

    def __init__(self, path: str, namespace: str) -> None:
        self._folders = folders(path)
        self._prefix = _hash(namespace)[:8]
        self._socket: Any = None
        self._own = ""

    def listen(self) -> int | None:
        """The file descriptor to wait for; None if there is no bell."""
        # Somebody may have emptied the folder.
        if self._socket is not None and not os.path.exists(self._own):
            self.close()
        for folder in self._folders if self._socket is None else ():
            with suppress(Exception):
                self._open(folder)
                break
        if self._socket is None:
            return None
        fd: int = self._socket.fileno()
        return fd

    def _open(self, folder: str) -> None:
        with suppress(FileExistsError):
            os.mkdir(folder, 0o700)
        found = os.lstat(folder)
        # The temporary folder is everybody's: another user may have made this one.
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
            raise PermissionError(folder)
        # The constants are there on all systems that have the sockets.
        family, kind = native("socket", "AF_UNIX"), native("socket", "SOCK_DGRAM")
        made = native("socket", "socket")(family, kind)
        own = os.path.join(folder, f"{self._prefix}-{os.urandom(4).hex()}")
        try:
            made.setblocking(False)
            made.bind(own)
        except BaseException:
            made.close()
            raise
        self._socket, self._own = made, own

    def ring(self) -> None:
        """Ring the bells of all others."""
        if self.listen() is None:
            return
        own = os.path.basename(self._own)
        for folder in self._folders:
            with suppress(OSError):
                for name in os.listdir(folder):
                    if name != own and name.startswith(f"{self._prefix}-"):
                        self._ring(os.path.join(folder, name))

    def _ring(self, path: str) -> None:
        # A full queue is a bell that rings already.
        with suppress(OSError):
            try:
                self._socket.sendto(b"", path)
            except ConnectionRefusedError:
                os.unlink(path)

    def rang(self) -> bool:
        """Whether it has rung since it was asked last."""
        heard = False
        with suppress(OSError, AttributeError):  # closed by another thread
            while True:
                self._socket.recv(1)
                heard = True
        return heard

    def close(self) -> None:
        """Give the socket back."""
        own = self._own
        self.forget()
        if own:
            with suppress(OSError):
                os.unlink(own)
            with suppress(OSError):
                os.rmdir(os.path.dirname(own))  # the last one

    def forget(self) -> None:
        """Close the socket, and leave its name to the process that it belongs to."""
        was, self._socket, self._own = self._socket, None, ""
        if was is not None:
            with suppress(OSError):
                was.close()
