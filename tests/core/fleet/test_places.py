"""Which store a place means."""

from __future__ import annotations

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


@pytest.mark.parametrize("place", [7, None, b"recloser.db", object()])
def test_what_is_no_place_says_what_to_write_instead(place: object) -> None:
    with pytest.raises(TypeError, match=r"^store must be the path of a file"):
        store_at(place)


def test_a_registry_names_its_argument_in_the_error() -> None:
    with pytest.raises(TypeError, match="^store must be"):
        Registry(store=7)  # type: ignore[arg-type]


def test_a_registry_without_a_store_is_in_no_fleet() -> None:
    assert Registry().fleet is None
