"""Statements: all SQL of the store. Each is one transaction of its own.

A transaction that spans Python code would hold the lock for as long as other threads have the
interpreter, up to 0.3 s in a busy worker. So a compare-and-set is one statement, too.

They need SQLite 3.24, of 2018.
"""

from __future__ import annotations

from recloser.fleet import MAX_EPOCH

APPLICATION = 0x7265636C  # "recl": tells our files from those of others
SCHEMA = 1

TABLES = ("meta", "facts", "mail", "workers")

# `version` is the news: AUTOINCREMENT never gives a number twice. A quiet change keeps it.
CREATE = f"""
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
DELETE FROM meta WHERE NOT EXISTS (SELECT 1 FROM sqlite_master WHERE name = 'facts');
CREATE TABLE IF NOT EXISTS facts (
    version INTEGER PRIMARY KEY AUTOINCREMENT,
    namespace TEXT NOT NULL,
    name TEXT NOT NULL,
    epoch INTEGER NOT NULL CHECK (typeof(epoch) = 'integer' AND epoch > 0),
    text TEXT NOT NULL CHECK (typeof(text) = 'text'),
    loud INTEGER NOT NULL,
    ttl REAL NOT NULL,
    written REAL NOT NULL,
    wall REAL NOT NULL,
    boot TEXT NOT NULL,
    UNIQUE (namespace, name)
);
CREATE TABLE IF NOT EXISTS mail (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    namespace TEXT NOT NULL,
    box TEXT NOT NULL,
    text TEXT NOT NULL CHECK (typeof(text) = 'text'),
    taken TEXT NOT NULL,
    ttl REAL NOT NULL,
    written REAL NOT NULL,
    wall REAL NOT NULL,
    boot TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS mail_of_box ON mail (namespace, box);
CREATE TABLE IF NOT EXISTS workers (
    namespace TEXT NOT NULL,
    worker TEXT NOT NULL,
    text TEXT NOT NULL CHECK (typeof(text) = 'text'),
    ttl REAL NOT NULL,
    written REAL NOT NULL,
    wall REAL NOT NULL,
    boot TEXT NOT NULL,
    PRIMARY KEY (namespace, worker)
) WITHOUT ROWID;
INSERT OR IGNORE INTO meta VALUES ('life', lower(hex(randomblob(16))));
PRAGMA application_id = {APPLICATION};
PRAGMA user_version = {SCHEMA};
COMMIT;
"""

LIFE = "SELECT value FROM meta WHERE name = 'life'"
OBJECTS = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
DATA_VERSION = "PRAGMA data_version"

_AGE = "CASE boot WHEN :boot THEN :now - written ELSE :wall - wall END"
# The clocks of two processes agree to less than a minute, so what is further ahead is garbage. The
# sum makes a number of a `ttl` that is none.
_LIVE = f"({_AGE} < ttl + 0.0 AND {_AGE} > -60.0)"
# A larger epoch is garbage, see `recloser.fleet.MAX_EPOCH`.
_VALID = f"(epoch <= {MAX_EPOCH} AND {_LIVE})"
_FACT = f"facts.name, epoch, text, max(0.0, {_AGE})"

NEWS = f"""
SELECT meta.value, (SELECT seq FROM sqlite_sequence WHERE name = 'facts'), {_FACT}
FROM meta LEFT JOIN facts ON namespace = :namespace AND loud AND version > :since AND {_LIVE}
WHERE meta.name = 'life' ORDER BY version
"""

GET = f"SELECT {_FACT} FROM facts WHERE namespace = :namespace AND name = :name AND {_VALID}"

_COLUMNS = "namespace, name, epoch, text, loud, ttl, written, wall, boot"
_VALUES = ":namespace, :name, :epoch, :text, :loud, :ttl, :now, :wall, :boot"

SWAP_LOUD = f"""
INSERT OR REPLACE INTO facts ({_COLUMNS}) SELECT {_VALUES} WHERE NOT EXISTS (
    SELECT 1 FROM facts
    WHERE namespace = :namespace AND name = :name AND epoch <> :before AND {_VALID}
)
"""

SWAP_QUIET = f"""
INSERT INTO facts ({_COLUMNS}) VALUES ({_VALUES}) ON CONFLICT (namespace, name) DO UPDATE SET
    epoch = excluded.epoch, text = excluded.text, ttl = excluded.ttl,
    written = excluded.written, wall = excluded.wall, boot = excluded.boot
WHERE epoch = :before OR NOT {_VALID}
"""

SEND = """
INSERT INTO mail (namespace, box, text, taken, ttl, written, wall, boot)
VALUES (:namespace, :box, :text, '', :ttl, :now, :wall, :boot)
"""

BOUND = """
DELETE FROM mail WHERE id IN (
    SELECT id FROM mail WHERE namespace = :namespace AND box = :box
    ORDER BY id DESC LIMIT -1 OFFSET :most
)
"""

# To take is to mark, to read and to delete: DELETE ... RETURNING needs SQLite 3.35, and who runs
# Red Hat 9 has 3.34. The mark makes it atomic; a mark whose texts could not be read stays.
ANY = "SELECT 1 FROM mail WHERE namespace = :namespace AND box = :box LIMIT 1"
_MINE = "namespace = :namespace AND box = :box AND taken = :me"
MARK = f"""
UPDATE mail SET taken = :me
WHERE namespace = :namespace AND box = :box AND taken = '' AND {_LIVE}
"""
READ = f"SELECT text, max(0.0, {_AGE}) FROM mail WHERE {_MINE} ORDER BY id"
TAKE = f"DELETE FROM mail WHERE {_MINE}"

BEAT = """
INSERT OR REPLACE INTO workers (namespace, worker, text, ttl, written, wall, boot)
VALUES (:namespace, :worker, :text, :ttl, :now, :wall, :boot)
"""
ALIVE = f"SELECT count(*) FROM workers WHERE namespace = :namespace AND {_LIVE}"
LEAVE = "DELETE FROM workers WHERE namespace = :namespace AND worker = :worker"
WORKERS = (
    f"SELECT worker, text FROM workers WHERE namespace = :namespace AND {_LIVE} ORDER BY worker"
)

_TIMED = ("facts", "mail", "workers")
CLEAN = tuple(f"DELETE FROM {table} WHERE NOT {_LIVE}" for table in _TIMED)

# What another boot has left is moved to the clock of this one, once. Then a wall clock that is set
# later changes nothing any more.
STRANGE = " UNION ALL ".join(f"SELECT 1 FROM {table} WHERE boot <> :boot" for table in _TIMED)
ADOPT = tuple(
    f"UPDATE {table} SET written = :now - min(max(:wall - wall, 0.0), ttl), wall = :wall, boot = :boot"
    " WHERE boot <> :boot"
    for table in _TIMED
)
