"""The store of a fleet in a Redis or Valkey server."""

from __future__ import annotations

import math
import os
import re
import secrets
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from recloser.fleet import MAX_EPOCH, Fact, News, StoreError
from recloser_adapters.redis._bell import Bell
from recloser_adapters.redis._bounded import LIMIT, forget_threads, is_answer
from recloser_adapters.redis._link import Link, code_of
from recloser_adapters.redis._scripts import (
    BEAT,
    GET,
    LEAVE,
    MEND,
    NEWS,
    RECEIVE,
    SEND,
    SWAP,
    WORKERS,
    Script,
)
from recloser_adapters.redis._servers import servers_of, split_namespace
from recloser_adapters.redis._unpack import as_text, of_hash, unpacked

# The hash of the loud facts outlives them, for its version: with it a quiet night is no loss.
_HOLD = 24 * 3600.0
_MAIL_LIVES = 10.0  # seconds
_NAMESPACE = "recloser"  # of who gives none
_MAX_MAIL = 1000  # texts in one box
_MAX_BYTES = 1_000_000  # of one text
_LONGEST_TTL = 10 * 365 * 24 * 3600.0

_IN_WORDS = {
    "NOAUTH": "it wants a password",
    "WRONGPASS": "it refuses the user or the password",
    "READONLY": "it is a replica, which cannot be written",
    "OOM": "its memory is full",
    "LOADING": "it is still loading its data",
    "NOPERM": "the user lacks a permission",
}


class RedisStore:
    """What the workers of a fleet share, in a Redis (6.2 to 8) or Valkey (7 to 9) server.

    It connects when it is first used, so an app starts without the server. Each operation is one round
    trip of a quarter of a second at most, and a failed one is not repeated. The one thing that may
    have happened nevertheless is a change whose answer came too late.

    All keys begin with `recloser:{namespace}:`, lie in one slot of a cluster, and have a time to live.
    A user with an ACL needs `~recloser:*` and `&recloser:*`, and the commands `EVAL`, `EVALSHA`,
    `PUBLISH` and `SUBSCRIBE`, and in the scripts those on hashes, lists, sorted sets and strings.

    Args:
        client_or_url: A URL (`redis://`, `rediss://`, `unix://`, `valkey://`, `valkeys://`), or a sync
            client of redis-py or valkey-py, also of a cluster or of `Sentinel.master_for`. From a
            client it takes the address and the credentials, and makes connections of its own.
        namespace: Fleets with different ones share nothing: not empty, no braces or spaces. None for
            the one in the URL (`redis://cache:6379/0?namespace=shop`), or else `recloser`.

    Raises:
        ImportError: A URL is given, and neither redis-py nor valkey-py is installed.
        TypeError: `client_or_url` is something else, such as an asyncio client.
        ValueError: The URL or the namespace cannot be used, or both name different namespaces.
    """

    def __init__(self, client_or_url: Any, *, namespace: str | None = None) -> None:
        if not isinstance(namespace, str | None):
            raise TypeError(f"namespace must be a str, not {namespace!r}")
        if isinstance(client_or_url, str):
            client_or_url, named = split_namespace(client_or_url)
            if None not in (namespace, named) and namespace != named:
                raise ValueError(
                    f"namespace is given twice: {named!r} in the URL, and {namespace!r}: leave one out"
                )
            namespace = named if namespace is None else namespace
        namespace = _NAMESPACE if namespace is None else namespace
        if not re.fullmatch(r"[^\s{}]{1,200}", namespace):
            raise ValueError(
                "namespace must have 1 to 200 characters without braces and spaces, "
                f"such as 'shop', not {namespace[:300]!r}"
            )
        self._namespace = namespace
        self._prefix = f"recloser:{{{namespace}}}:"
        self._facts = f"{self._prefix}facts"
        self._beats = [f"{self._prefix}beats", f"{self._prefix}beats:texts"]
        self._channel = f"{self._prefix}bell"
        self._own = secrets.token_hex(8)
        self._servers = servers_of(client_or_url, self._facts)
        self._link = Link(self._servers)
        self._bell = Bell(self._servers, self._channel, self._own)
        self._well = True
        self._pid = os.getpid()

    def __repr__(self) -> str:
        return f"RedisStore({self.place!r})"

    @property
    def place(self) -> str:
        """Where it is, such as `redis://cache:6379/0`, without user and password.

        It names the namespace, unless that is the usual one.
        """
        place = self._servers.place
        if self._namespace == _NAMESPACE:
            return place
        return f"{place}{'&' if '?' in place else '?'}namespace={self._namespace}"

    def news(self, since: int) -> News:
        """The facts that were changed loudly after a version; 0 for all."""
        args = [max(0, since), secrets.token_hex(8), _milliseconds(_HOLD)]
        with self._operation([self._facts]) as until:
            version, life, now, *data = self._link.run(NEWS, [self._facts], args, until)
            if data == [0]:
                all_fields = self._link.command(until, "HGETALL", self._facts)
                version, life, data = of_hash(all_fields)
            facts, bad = unpacked(data, int(now), since)
            if bad:
                # If it cannot be done now, it is done by who reads them next.
                with suppress(Exception):
                    self._link.run(MEND, [self._facts], bad, until)
            return News(int(version), facts, as_text(life))

    def get(self, name: str) -> Fact | None:
        """One fact, loud or not; None if there is none, or its time is over."""
        keys = self._places(name)
        with self._operation(keys) as until:
            found = self._link.run(GET, keys, [_name(name)], until)
            if not found:
                return None
            return Fact(name, int(found[0]), as_text(found[1]), found[2] / 1000)

    def swap(
        self, name: str, before: int, epoch: int, text: str, ttl: float, *, loud: bool = True
    ) -> bool:
        """Set a fact if nobody has changed it meanwhile; return whether it was set."""
        keys = self._places(name)
        lives = _milliseconds(ttl)
        if epoch <= before:
            raise StoreError(f"the epoch after {before} must be greater, not {epoch}")
        if epoch > MAX_EPOCH:
            return False
        fact = [_name(name), before, epoch, lives, _kept(text), int(loud)]
        with self._operation(keys) as until:
            # Here, because a child that was forked has another sign.
            args = [*fact, secrets.token_hex(8), _milliseconds(_HOLD), self._channel, self._own]
            return bool(self._link.run(SWAP, keys, args, until))

    def send(self, box: str, text: str) -> None:
        """Put a text into a box, for 10 seconds. A box has room for 1000 texts: the oldest go first."""
        self._run(SEND, [self._box(box)], [_kept(text), _MAX_MAIL, _milliseconds(_MAIL_LIVES)])

    def receive(self, box: str) -> list[tuple[str, float]]:
        """Take all texts out of a box, the oldest first, each with its age in seconds."""
        key = self._box(box)
        with self._operation([key]) as until:
            found = self._link.run(RECEIVE, [key], [_milliseconds(_MAIL_LIVES)], until)
            pairs = zip(found[::2], found[1::2], strict=True)
            return [(as_text(text), age / 1000) for text, age in pairs]

    def beat(self, worker: str, text: str, ttl: float) -> int:
        """Say that a worker is alive for `ttl` seconds; return how many are, itself included."""
        args = [_name(worker), _kept(text), _milliseconds(ttl)]
        return int(self._run(BEAT, self._beats, args))

    def leave(self, worker: str) -> None:
        """Say that a worker is gone."""
        self._run(LEAVE, self._beats, [_name(worker)])

    def workers(self) -> dict[str, str]:
        """The workers that are alive, each with the text of its last beat."""
        found = self._run(WORKERS, self._beats, [])
        return dict(zip(map(as_text, found[::2]), map(as_text, found[1::2]), strict=True))

    def ring(self) -> None:
        """Ring the bell of all other workers."""
        with self._operation([]) as until:
            self._link.command(until, "PUBLISH", self._channel, self._own)

    def wait(self, seconds: float, wake: int) -> bool:
        """Wait until the bell rings, `wake` can be read, or the time is over. It does not raise."""
        self._check_process()
        end = time.monotonic() + max(0.0, seconds)
        # While the server is in trouble, the commands find out when it is well again.
        if self._well:
            self._bell.open(time.monotonic() + LIMIT)
        return self._bell.wait(end, wake)

    def close(self) -> None:
        """Give back the connections. It does not raise, and may be called twice."""
        self._check_process()
        self._link.close()
        self._bell.close()

    def after_fork(self) -> None:
        """Drop, in a forked child, what belongs to the parent, without telling the server of it."""
        self._pid = os.getpid()
        # Two workers must not have one sign: they would not hear each other.
        self._own = secrets.token_hex(8)
        self._link.after_fork()
        self._bell.after_fork(self._own)
        forget_threads()
        self._well = True

    def _places(self, name: str) -> list[str]:
        """Where a fact may be: among the loud ones, or alone."""
        return [self._facts, f"{self._prefix}quiet:{name}"]

    def _box(self, box: str) -> str:
        return f"{self._prefix}mail:{box}"

    def _run(self, script: Script, keys: Sequence[str], args: Sequence[Any]) -> Any:
        with self._operation(keys) as until:
            return self._link.run(script, keys, args, until)

    @contextmanager
    def _operation(self, keys: Sequence[str]) -> Generator[float, None, None]:
        """One operation, with its deadline. Whatever goes wrong in it is a `StoreError`."""
        self._check_process()
        until = time.monotonic() + LIMIT
        made = self._link.made
        try:
            yield until
        except Exception as error:
            self._well = False
            # A subscription does not notice that its server hangs or cannot be reached.
            if not is_answer(error):
                self._bell.close()
            raise StoreError(self._in_words(error, keys, until)) from error
        if not self._well:
            self._well = True
            self._bell.hope()
        # Where this connection had ended, the other one has, too, or it is to another server.
        if made and made != self._link.made:
            self._bell.close()
        self._bell.open(until)

    def _check_process(self) -> None:
        if self._pid != os.getpid():
            self.after_fork()

    def _in_words(self, error: Exception, keys: Sequence[str], until: float) -> str:
        text = str(error) or type(error).__name__
        code = code_of(error)
        if code == "WRONGTYPE":
            text = f"{self._of_another_type(keys, until)}: delete it, or give another namespace"
        elif isinstance(error, TimeoutError) or type(error).__name__ == "TimeoutError":
            text = f"no answer within {LIMIT} s ({text})"
        elif code in _IN_WORDS:
            text = f"{_IN_WORDS[code]} ({text})"
        for secret in self._servers.secrets:
            text = text.replace(secret, "***")
        return f"{self.place}: {text}"

    def _of_another_type(self, keys: Sequence[str], until: float) -> str:
        """Name the keys that hold what others have written."""
        wrong: list[str] = []
        for key in keys:
            with suppress(Exception):
                found = as_text(self._link.command(until, "TYPE", key))
                if found not in ("none", self._type_of(key)):
                    wrong.append(f"{key} ({found})")
        return f"a key of ours holds what others have written, {' and '.join(wrong or keys)}"

    def _type_of(self, key: str) -> str:
        kind = key.removeprefix(self._prefix).split(":")
        if kind[0] == "beats":
            return "zset" if len(kind) == 1 else "hash"
        return {"facts": "hash", "mail": "list"}.get(kind[0], "string")


def _milliseconds(seconds: float) -> int:
    if not 0 < seconds < math.inf:
        raise StoreError(f"a time to live must be > 0 and finite, not {seconds!r}")
    return max(1, math.ceil(min(seconds, _LONGEST_TTL) * 1000))


def _name(name: str) -> bytes:
    # A key may have been made of the path of a strange request.
    return name.encode("utf-8", "surrogatepass")


def _kept(text: str) -> bytes:
    """A text as it is kept, or `StoreError` if it cannot be: JSON can."""
    try:
        kept = text.encode()
    except UnicodeEncodeError as error:
        raise StoreError(f"a text must be encodable as UTF-8: {error.reason}") from None
    if len(kept) > _MAX_BYTES:
        raise StoreError(f"a text must have at most {_MAX_BYTES} bytes, not {len(kept)}")
    return kept
