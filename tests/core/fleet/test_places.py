"""Which store a place means."""

from __future__ import annotations

import re
from contextlib import closing
from pathlib import Path

import pytest

from recloser import Registry
from recloser._fleet.places import store_at
from recloser.fleet import MemoryData, MemoryStore


def test_a_store_is_itself() -> None:
    store = MemoryStore(MemoryData(lambda: 0.0))

    assert store_at(store) is store


@pytest.mark.parametrize("kind", [str, Path])
def test_a_path_is_a_file_for_sqlite(tmp_path: Path, kind: type) -> None:
    store = store_at(kind(tmp_path / "recloser.db"))

    assert type(store).__name__ == "SqliteStore"
    assert str(tmp_path / "recloser.db") in store.place
    store.close()


@pytest.mark.parametrize(
    "url", ["redis://localhost:6379/0", "REDISS://localhost", "unix:///run/redis", "valkey://host"]
)
def test_a_url_is_a_server_of_redis(url: str) -> None:
    pytest.importorskip("redis")

    assert type(store_at(url)).__name__ == "RedisStore"


def test_a_url_of_something_else_says_what_to_write_instead() -> None:
    with pytest.raises(ValueError, match=r"^store must be .*redis://.*not mysql://"):
        store_at("mysql://user:secret@host/db")


def test_an_error_shows_no_password() -> None:
    with pytest.raises(ValueError, match="store must") as caught:
        store_at("mysql://user:secret@host/db")

    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("place", "instead"),
    [
        ("", "'recloser.db'.*'redis://localhost:6379/0'.*None"),
        (" ", "'recloser.db'.*'redis://localhost:6379/0'.*None"),
        ("localhost:6379", "'redis://localhost:6379/0'.*'./localhost:6379'"),
        ("redis.example.com:6379/0", "'redis://redis.example.com:6379/0'"),
        ("//h:6379", "'redis://h:6379/0'"),
        ("[::1]:6379", re.escape("'redis://[::1]:6379/0'")),
        ("redis:", "'redis://localhost:6379/0'"),
        ("redis:/x", "'redis://localhost:6379/0'.*'./'"),
        ("redis:\\\\h", "'redis://localhost:6379/0'"),
        ("REDISS:h", "'rediss://localhost:6379/0'"),
        ("valkey:h", "'valkey://localhost:6379/0'"),
        ("unix:x.sock", "'unix:///run/redis.sock'"),
        ("sqlite:x.db", "write 'x.db'"),
        ("sqlite:///x.db", "write 'x.db'"),
        ("sqlite:////var/x.db", "write '/var/x.db'"),
        ("sqlite://", "write 'recloser.db'"),
        ("file:x.db?mode=memory", "write 'x.db'"),
        ("file:///tmp/x.db", "write '/tmp/x.db'"),
    ],
)
def test_what_looks_like_a_url_with_a_mistake_becomes_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, instead: str
) -> None:
    monkeypatch.chdir(tmp_path)

    with pytest.raises(ValueError, match=rf"^store .*{instead}"):
        Registry(store=place)

    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize("place", ["./localhost:6379", "./redis:x", Path("localhost:6379")])
def test_who_means_a_file_of_such_a_name_gets_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str | Path
) -> None:
    monkeypatch.chdir(tmp_path)

    store_at(place).close()

    assert (tmp_path / place).is_file()


@pytest.mark.parametrize("place", ["redis:user:secret@host", "rediss:secret"])
def test_the_error_of_half_a_url_shows_no_password(place: str) -> None:
    with pytest.raises(ValueError, match="store begins with") as caught:
        store_at(place)

    assert "secret" not in str(caught.value)


def test_a_namespace_is_given_to_the_store(tmp_path: Path) -> None:
    path = tmp_path / "recloser.db"
    with closing(store_at(path, "shop")) as shop, closing(store_at(path)) as usual:
        shop.beat("worker", "", 60.0)

        assert [*shop.workers()] == ["worker"]
        assert usual.workers() == {}
        with pytest.raises(ValueError, match="a store has one already"):
            store_at(usual, "shop")


@pytest.mark.parametrize("place", [7, None, b"recloser.db", object()])
def test_what_is_no_place_says_what_to_write_instead(place: object) -> None:
    with pytest.raises(TypeError, match=r"^store must be the path of a file"):
        store_at(place)


def test_a_registry_names_its_argument_in_the_error() -> None:
    with pytest.raises(TypeError, match=r"^store must be"):
        Registry(store=7)  # type: ignore[arg-type]


def test_a_registry_without_a_store_is_in_no_fleet() -> None:
    assert Registry().fleet is None
