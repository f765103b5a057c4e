"""Link: the connection that runs our scripts, made anew when it is needed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from recloser_adapters.redis._bounded import abandon, ask, drop, set_deadline
from recloser_adapters.redis._scripts import Script
from recloser_adapters.redis._servers import Servers

# After these answers the server is no longer the right one, or not yet: the next call connects anew,
# and asks sentinels or other nodes where to.
_ELSEWHERE = {"READONLY", "MASTERDOWN", "CLUSTERDOWN"}
# The libraries have classes for some codes, and remove the code from the text.
_OF_CLASSES = {
    "AuthenticationError": "WRONGPASS",
    "BusyLoadingError": "LOADING",
    "ClusterDownError": "CLUSTERDOWN",
    "MasterDownError": "MASTERDOWN",
    "MovedError": "MOVED",
    "NoPermissionError": "NOPERM",
    "NoScriptError": "NOSCRIPT",
    "OutOfMemoryError": "OOM",
    "ReadOnlyError": "READONLY",
}
# Redis 6.2 says of an error in a script: `Error running script (...): ...: -READONLY You`.
_CODE = re.compile(r"^([A-Z]{3,}) |: -?([A-Z]{3,}) ")
_MOVED = re.compile(r"(?:MOVED )?\d+ (\S*):(\d+)$")


def code_of(error: BaseException) -> str:
    """The code of an error that the server has answered, such as READONLY; empty if it has none."""
    name = type(error).__name__
    if name in _OF_CLASSES:
        return _OF_CLASSES[name]
    code = _CODE.search(str(error))
    return code[1] or code[2] if code is not None else ""


class Link:
    """One connection. Nothing is sent twice, except where the server says that it did nothing.

    Attributes:
        made: How many connections were made so far.
    """

    def __init__(self, servers: Servers) -> None:
        self._servers = servers
        self.made = 0
        self._connection: Any = None

    def run(self, script: Script, keys: Sequence[str], args: Sequence[Any], until: float) -> Any:
        """Run a script, and give its answer."""
        # The library would refuse a name that is no proper text, such as the key of a strange path.
        rest = (len(keys), *(key.encode("utf-8", "surrogatepass") for key in keys), *args)
        try:
            return self._ask(until, "EVALSHA", script.sha, *rest)
        except Exception as error:
            code = code_of(error)
            moved = _MOVED.match(str(error)) if code == "MOVED" else None
            if code != "NOSCRIPT" and moved is None:
                raise
        if moved is not None:
            self.close()
            self._servers.moved(moved[1], int(moved[2]))
        try:
            return self._ask(until, "EVAL", script.text, *rest)
        except Exception as error:
            # Two nodes that each say it is the other: the next call begins with another one.
            if code_of(error) == "MOVED":
                self.close()
            raise

    def command(self, until: float, *command: Any) -> Any:
        """Run a command, and give its answer."""
        return self._ask(until, *command)

    def _ask(self, until: float, *command: Any) -> Any:
        connection = self._ready(until)
        try:
            return ask(connection, *command)
        except Exception as error:
            if connection._sock is None or code_of(error) in _ELSEWHERE:
                self.close()
            raise
        except BaseException:
            self.close()
            raise

    def _ready(self, until: float) -> Any:
        """The connection; another one if the server has closed it, or has sent what nobody asked for."""
        connection = self._connection
        if connection is not None:
            set_deadline(connection, until)
            with suppress(Exception):
                if not connection.can_read(0):
                    return connection
            self.close()
        self._connection = self._servers.connected(until)
        self.made += 1
        return self._connection

    def close(self) -> None:
        """Close the connection, if there is one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            drop(connection)

    def after_fork(self) -> None:
        """Forget the connection of the parent."""
        connection, self._connection = self._connection, None
        if connection is not None:
            abandon(connection)
