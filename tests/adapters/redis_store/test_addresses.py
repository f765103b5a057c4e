"""What a store may be made of, and what is said of all else. No server is needed for it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("redis")

import redis
import redis.asyncio

from recloser.fleet import Store, StoreError
from recloser_adapters.redis import RedisStore

NOWHERE = "unix:///nowhere/redis.sock"


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("redis://cache", "redis://cache:6379/0"),
        ("redis://me:secret@cache:6380/2", "redis://cache:6380/2"),
        ("redis://[::1]:6380/2", "redis://[::1]:6380/2"),
        ("rediss://:secret@cache/1?ssl_cert_reqs=none", "rediss://cache:6379/1"),
        ("valkey://:secret@cache/1", "redis://cache:6379/1"),
        ("valkeys://cache", "rediss://cache:6379/0"),
        ("REDIS://cache", "redis://cache:6379/0"),
        ("unix://:secret@/run/redis.sock?db=3", "unix:///run/redis.sock?db=3"),
    ],
)
def test_a_place_is_told_without_the_password(url: str, place: str) -> None:
    store = RedisStore(url)

    assert isinstance(store, Store)
    assert store.place == place
    assert repr(store) == f"RedisStore({place!r})"


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("cache:6379", "scheme"),
        ("http://cache", "'http'"),
        ("", "redis://cache:6379/0"),
        ("redis://:pa/ss@cache:6379", "bad host or port"),
        ("redis://:secret@cache:port/0", "bad host or port"),
        ("redis://:secret@cache:99999/0", "bad host or port"),
        ("redis://:secret@[::1/0", "bad host or port"),
        ("redis://:secret@cache/main", "number of a database"),
        ("redis://:secret@cache/0/1", "number of a database"),
        ("unix://", "must name the socket"),
        ("redis://:secret@cache/0?colour=red", "'colour' is unknown"),
        ("redis://:secret@ca che/0", "no spaces"),
        ("redis://cache/0\n", "no spaces"),
        ("redis://:secret@cache/99999999999", "database 99999999999"),
        ("redis://:secret@cache/0?db=-1", "database -1"),
        ("unix://:secret@/run/redis.sock?db=4294967296", "database 4294967296"),
        ("rediss://:secret@cache?ssl_ca_certs=/nope/ca", "no file '/nope/ca' for ssl_ca_certs"),
        ("rediss://:secret@cache?ssl_certfile=/nope/me", "no file '/nope/me' for ssl_certfile"),
        ("rediss://:secret@cache?ssl_keyfile=/nope/me", "no file '/nope/me' for ssl_keyfile"),
        ("redis://:secret@cache?namespace=a&namespace=b", "two namespaces"),
        ("redis://:secret@cache/0?health_check_interval=often", "bad value"),
    ],
)
def test_a_url_that_cannot_be_used_is_told_without_the_password(url: str, says: str) -> None:
    with pytest.raises(ValueError, match="url") as caught:
        RedisStore(url)

    assert says in str(caught.value)
    assert "secret" not in str(caught.value)
    assert "ss@" not in str(caught.value)
    # Nor does a traceback show it.
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("client", "says"),
    [
        (redis.asyncio.Redis(), "give a sync one"),
        (None, "not of type NoneType"),
        (b"redis://cache", "not of type bytes"),
        (redis.ConnectionPool(), "not of type ConnectionPool"),
        ({"host": "cache"}, "not of type dict"),
    ],
)
def test_what_is_neither_url_nor_sync_client_is_a_type_error(client: Any, says: str) -> None:
    with pytest.raises(TypeError, match=says):
        RedisStore(client)


@pytest.mark.parametrize("namespace", ["", "a{b", "a}", "a b", "a\n", "x" * 201])
def test_a_namespace_without_use_is_told(namespace: str) -> None:
    with pytest.raises(ValueError, match="namespace must have 1 to 200 characters"):
        RedisStore(NOWHERE, namespace=namespace)


@pytest.mark.parametrize(
    ("url", "namespace", "place"),
    [
        ("redis://cache/0?namespace=shop", None, "redis://cache:6379/0?namespace=shop"),
        ("redis://cache/0?namespace=shop", "shop", "redis://cache:6379/0?namespace=shop"),
        ("redis://cache/0", "shop", "redis://cache:6379/0?namespace=shop"),
        ("redis://cache?db=2&namespace=a%26b", None, "redis://cache:6379/2?namespace=a&b"),
        ("unix:///run/redis.sock?namespace=a", None, "unix:///run/redis.sock?db=0&namespace=a"),
        ("redis://cache/0?namespace=recloser", None, "redis://cache:6379/0"),
    ],
)
def test_a_place_names_its_namespace(url: str, namespace: str | None, place: str) -> None:
    assert RedisStore(url, namespace=namespace).place == place


def test_a_namespace_that_is_given_twice_is_told() -> None:
    with pytest.raises(ValueError, match="given twice: 'shop' in the URL, and 'blog'"):
        RedisStore("redis://cache/0?namespace=shop", namespace="blog")
    with pytest.raises(ValueError, match="namespace must have 1 to 200 characters"):
        RedisStore("redis://cache/0?namespace=")


def test_a_certificate_that_is_there_is_accepted(tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    path.write_text("")

    assert RedisStore(f"rediss://cache?ssl_ca_certs={path}").place == "rediss://cache:6379/0"


def test_a_namespace_is_a_str() -> None:
    with pytest.raises(TypeError, match="namespace must be a str, not 3"):
        RedisStore(NOWHERE, namespace=3)  # type: ignore[arg-type] # on purpose


def test_a_client_of_replicas_is_refused() -> None:
    made: Any = redis.Sentinel
    sentinel = made([("cache", 26379)])

    with pytest.raises(ValueError, match=r"use master_for\(\)"):
        RedisStore(sentinel.slave_for("main"))


def test_a_store_is_made_without_a_server_and_says_later_that_there_is_none() -> None:
    store = RedisStore(NOWHERE)

    for _ in range(2):
        with pytest.raises(StoreError, match=r"unix:///nowhere/redis\.sock\?db=0: .*No such file"):
            store.news(0)


def test_without_a_library_a_url_says_which_extra_to_install() -> None:
    script = (
        "import sys; sys.modules['redis'] = sys.modules['valkey'] = None\n"
        "sys.modules['redis.connection'] = sys.modules['valkey.connection'] = None\n"
        "from recloser_adapters.redis import RedisStore\n"
        "try: RedisStore('redis://cache')\n"
        "except ImportError as error: print(error)"
    )

    said = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    )

    assert "pip install 'recloser[redis]' or 'recloser[valkey]'" in said.stdout


@pytest.mark.parametrize("missing", ["redis", "valkey"])
def test_either_library_serves_each_url(missing: str) -> None:
    pytest.importorskip("valkey")
    script = (
        f"import sys; sys.modules['{missing}'] = sys.modules['{missing}.connection'] = None\n"
        "from recloser_adapters.redis import RedisStore\n"
        "for url in 'redis://c', 'rediss://c', 'valkey://c', 'valkeys://c', 'unix:///c':\n"
        "    print(RedisStore(url).place)"
    )

    said = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    )

    plain, tls = "redis://c:6379/0", "rediss://c:6379/0"
    assert said.stdout.split() == [plain, tls, plain, tls, "unix:///c?db=0"]
