"""Servers: which server to connect to, from a URL or from a client of the user.

Of a client we take what it connects with, and nothing of its pool: its time-outs are for requests,
and it may retry for many seconds.
"""

from __future__ import annotations

import importlib
import inspect
import os
import re
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import unquote, urlsplit

from recloser_adapters.redis._bounded import LIMIT, ask, bounded_class, connect, drop

_EXAMPLES = "redis://cache:6379/0, rediss://, unix:///run/redis.sock or valkey://"
_SCHEMES = ("redis", "rediss", "unix", "valkey", "valkeys")
# What of the settings of a connection is for another purpose: those that retry, count, decode or
# subscribe for the user's client, or belong to its pool.
_NOT_OURS = {
    "client_name",
    "command_packer",
    "connection_pool",
    "decode_responses",
    "encoding",
    "encoding_errors",
    "event_dispatcher",
    "health_check_interval",
    "himport_registry",
    "legacy_responses",
    "oss_cluster_maint_notifications_handler",
    "parser_class",
    "protocol",
    "redis_connect_func",
    "retry",
    "retry_on_error",
    "retry_on_timeout",
    "valkey_connect_func",
}

# The settings that name a file or a folder, and the largest number of a database that servers know.
_FILES = ("ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_keyfile")
_MOST_DATABASES = 2**31

# A subscription is silent for hours. Routers forget such a connection, and then nobody tells us.
_KEPT_ALIVE: dict[str, Any] = {
    "socket_keepalive": True,
    "socket_keepalive_options": {
        getattr(socket, name): seconds
        for name, seconds in (("TCP_KEEPIDLE", 20), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3))
        if hasattr(socket, name)
    },
}


class Servers:
    """One server, which is always at the same place.

    Attributes:
        place: Where it is, without a password.
        secrets: What must not be shown.
    """

    def __init__(
        self, connection_class: type, settings: Mapping[str, Any], place: str = ""
    ) -> None:
        self._class = bounded_class(_plain(connection_class))
        self._settings: dict[str, Any] = {
            name: value
            for name, value in settings.items()
            if name not in _NOT_OURS and not name.startswith(("maint", "orig_", "cache"))
        }
        self._settings |= {"socket_timeout": LIMIT, "socket_connect_timeout": LIMIT, "protocol": 2}
        if "path" not in settings:
            self._settings = _KEPT_ALIVE | self._settings
        self.place = place or self._described()
        self.secrets = [
            each for each in [settings.get("password")] if isinstance(each, str) and each
        ]

    def make(self, **address: Any) -> Any:
        """A connection that is not connected yet."""
        return self._class(**self._settings | address)

    def connected(self, until: float) -> Any:
        """A connection that is connected, by then; or raise what the last attempt raised."""
        failed: Exception = ConnectionError("no server is known")
        for address in self._addresses(until):
            connection = self.make(**address)
            try:
                connect(connection, until)
            except BaseException as error:
                drop(connection)
                if not isinstance(error, Exception):
                    raise
                failed = error
            else:
                return connection
            if time.monotonic() >= until:
                break
        raise failed

    def moved(self, host: str, port: int) -> None:
        """What a node of a cluster answers if another one has the keys."""

    def _addresses(self, until: float) -> Iterator[dict[str, Any]]:
        yield {}

    def _described(self) -> str:
        settings = self._settings
        number = settings.get("db") or 0
        if "path" in settings:
            return f"unix://{settings['path']}?db={number}"
        scheme = "rediss" if _has_tls(self._class) else "redis"
        return f"{scheme}://{_host_and_port(settings)}/{number}"


class _SentinelMaster(Servers):
    """The master that sentinels name; another one after a failover."""

    def __init__(self, pool: Any) -> None:
        name = pool.service_name
        super().__init__(pool.connection_class, pool.connection_kwargs, f"redis+sentinel://{name}")
        self._name = name
        pools = [each.connection_pool for each in pool.sentinel_manager.sentinels]
        self._sentinels = [Servers(each.connection_class, each.connection_kwargs) for each in pools]

    def _addresses(self, until: float) -> Iterator[dict[str, Any]]:
        failed: Exception = ConnectionError("no sentinel is known")
        for number, sentinel in enumerate(list(self._sentinels)):
            left = len(self._sentinels) - number
            # One that hangs must leave time for the others.
            share = time.monotonic() + (until - time.monotonic()) / (left + 1)
            try:
                answer = _master_of(sentinel, self._name, share)
            except Exception as error:
                failed = error
                continue
            if answer is None:
                failed = ConnectionError(f"the sentinels know no master {self._name!r}")
                continue
            # The one that has answered is asked first the next time.
            self._sentinels.remove(sentinel)
            self._sentinels.insert(0, sentinel)
            yield answer
            return
        raise failed


def _master_of(sentinel: Servers, name: str, until: float) -> dict[str, Any] | None:
    connection = sentinel.connected(until)
    try:
        answer = ask(connection, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", name)
    finally:
        drop(connection)
    if not answer:
        return None
    return {"host": answer[0].decode(), "port": int(answer[1])}


class _ClusterNodes(Servers):
    """The node of a cluster that has our keys: the one that it was moved to, or the client knows of."""

    def __init__(self, client: Any, key: str) -> None:
        self._client = client
        self._key = key
        self._moved: dict[str, Any] | None = None
        nodes = self._nodes()
        if not nodes:
            raise ValueError("client is of a cluster without nodes: give one that is connected")
        # The method is named after the library.
        names = ("get_redis_connection", "get_valkey_connection")
        connection_of = next(getattr(client, name) for name in names if hasattr(client, name))
        pool = connection_of(nodes[0]).connection_pool
        super().__init__(pool.connection_class, pool.connection_kwargs)

    def moved(self, host: str, port: int) -> None:
        self._moved = {"host": host, "port": port}

    def _nodes(self) -> list[Any]:
        nodes = list(self._client.get_nodes())
        with suppress(Exception):
            nodes.insert(0, self._client.get_node_from_key(self._key))
        return [node for node in nodes if node is not None]

    def _addresses(self, until: float) -> Iterator[dict[str, Any]]:
        moved, self._moved = self._moved, None
        known = [] if moved is None else [moved]
        known += [{"host": node.host, "port": node.port} for node in self._nodes()]
        for number, address in enumerate(known):
            if address not in known[:number]:
                yield address


def servers_of(client_or_url: Any, key: str) -> Servers:
    """The servers of a URL or a client.

    Args:
        client_or_url: A URL, or a sync client of redis-py or valkey-py.
        key: One of our keys. All lie in one slot of a cluster.

    Raises:
        ImportError: It is a URL, and neither library is installed.
        TypeError: It is neither a URL nor such a client.
        ValueError: The URL cannot be used.
    """
    if isinstance(client_or_url, str):
        return _of_url(client_or_url)
    modules = [each.__module__ for each in type(client_or_url).__mro__]
    if any(".asyncio" in module for module in modules) or inspect.iscoroutinefunction(
        getattr(client_or_url, "execute_command", None)
    ):
        raise TypeError(
            "client is an asyncio client: give a sync one, such as redis.Redis(...), or a URL. "
            "A thread of its own uses it"
        )
    if hasattr(client_or_url, "get_node_from_key"):
        return _ClusterNodes(client_or_url, key)
    pool: Any = getattr(client_or_url, "connection_pool", None)
    if not hasattr(client_or_url, "execute_command") or not hasattr(pool, "connection_kwargs"):
        raise TypeError(
            "client_or_url must be a URL or a client of redis-py or valkey-py, such as "
            f"{_EXAMPLES} or redis.Redis(...), not of type {type(client_or_url).__name__}"
        )
    if hasattr(pool, "sentinel_manager"):
        if not getattr(pool, "is_master", True):
            raise ValueError("client is for replicas, which cannot be written: use master_for()")
        return _SentinelMaster(pool)
    return Servers(pool.connection_class, pool.connection_kwargs)


def _of_url(url: str) -> Servers:
    scheme, sep, rest = url.partition("://")
    if not sep or scheme.lower() not in _SCHEMES:
        shown = f"the scheme {scheme!r}" if sep else "one without a scheme"
        raise ValueError(f"url must begin with {_EXAMPLES}, not have {shown}")
    scheme = scheme.lower()
    _check_parts(scheme, url)
    library = _library("valkey" if scheme.startswith("valkey") else "redis")
    if scheme != "unix":
        scheme = library.__name__.split(".")[0] + ("s" if scheme in ("rediss", "valkeys") else "")
    try:
        pool: Any = library.ConnectionPool.from_url(f"{scheme}://{rest}")
        servers = Servers(pool.connection_class, pool.connection_kwargs)
        servers.make()
    # Its text may have parts of the password.
    except Exception as error:
        unknown = re.search(r"unexpected keyword argument '(\w+)'", str(error))
        what = f"the option {unknown[1]!r} is unknown" if unknown else "an option has a bad value"
        raise ValueError(f"url cannot be used: {what}; write it like {_EXAMPLES}") from None
    _check_settings(pool.connection_kwargs)
    return servers


def _check_settings(settings: Mapping[str, Any]) -> None:
    """Check what the libraries look at only when they connect."""
    number = settings.get("db")
    if isinstance(number, int) and not 0 <= number < _MOST_DATABASES:
        raise ValueError(
            f"url names the database {number}, and no server has it: write it like {_EXAMPLES}"
        )
    for name in _FILES:
        path = settings.get(name)
        if isinstance(path, str) and path and not os.path.exists(path):
            raise ValueError(f"url: there is no file {path!r} for {name}")


def split_namespace(url: str) -> tuple[str, str | None]:
    """A URL without the namespace that it names, and that namespace; None if it names none.

    Raises:
        ValueError: It names two.
    """
    place, _, query = url.partition("?")
    options = query.split("&")
    names = {each.partition("=")[2] for each in options if each.startswith("namespace=")}
    if not names:
        return url, None
    if len(names) > 1:
        raise ValueError("url names two namespaces: leave one out")
    rest = "&".join([each for each in options if not each.startswith("namespace=")])
    return f"{place}?{rest}" if rest else place, unquote(names.pop())


def _check_parts(scheme: str, url: str) -> None:
    """Check what the libraries overlook, or would tell with the password in the text."""
    if re.search(r"\s", url):
        raise ValueError(f"url must have no spaces and line breaks: write it like {_EXAMPLES}")
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise ValueError(
            "url has a bad host or port: write it like redis://:password@cache:6379/0, "
            "and write / ? # @ : in a password as %2F %3F %23 %40 %3A"
        ) from None
    if scheme == "unix":
        if parts.path in ("", "/"):
            raise ValueError("url must name the socket, as in unix:///run/redis.sock?db=0")
    elif not re.fullmatch(r"/?|/\d+", parts.path):
        raise ValueError("url must end in the number of a database, as in redis://cache:6379/0")


def _library(preferred: str) -> Any:
    """The module of the connections of the library that is installed."""
    for name in (preferred, "valkey" if preferred == "redis" else "redis"):
        with suppress(ModuleNotFoundError):
            return importlib.import_module(f"{name}.connection")
    raise ImportError(
        "RedisStore needs redis-py or valkey-py: pip install 'recloser[redis]' or 'recloser[valkey]'"
    )


def _plain(connection_class: type) -> type:
    """The class without what asks the sentinels: we ask them, in less time."""
    return next(
        each for each in connection_class.__mro__ if not each.__name__.startswith("SentinelManaged")
    )


def _has_tls(connection_class: type) -> bool:
    return any(each.__name__ == "SSLConnection" for each in connection_class.__mro__)


def _host_and_port(settings: Mapping[str, Any]) -> str:
    host = settings.get("host") or "localhost"
    return (
        f"[{host}]:{settings.get('port', 6379)}"
        if ":" in host
        else f"{host}:{settings.get('port', 6379)}"
    )
