"""Durable storage: one SQLite file in WAL mode, each call of the API one transaction, synced before it is answered."""

import json
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from core.embedded.payments.wire import ApiError

SCHEMA = """
CREATE TABLE IF NOT EXISTS objects (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    parent TEXT,
    account TEXT NOT NULL DEFAULT '',
    created INTEGER NOT NULL,
    body TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS objects_by_kind ON objects (kind, seq);
CREATE INDEX IF NOT EXISTS objects_by_parent ON objects (parent, kind, seq);
CREATE TABLE IF NOT EXISTS idempotency_keys (
    key TEXT PRIMARY KEY,
    fingerprint TEXT NOT NULL,
    path TEXT NOT NULL,
    boot TEXT NOT NULL,
    created REAL NOT NULL,
    status INTEGER,
    body TEXT
);
CREATE TABLE IF NOT EXISTS deliveries (
    event TEXT PRIMARY KEY,
    attempts INTEGER NOT NULL DEFAULT 0,
    due REAL NOT NULL,
    delivered REAL,
    answer TEXT
);
CREATE INDEX IF NOT EXISTS deliveries_due ON deliveries (due) WHERE delivered IS NULL;
CREATE TABLE IF NOT EXISTS movements (
    id TEXT PRIMARY KEY,
    account TEXT NOT NULL,
    currency TEXT NOT NULL,
    net INTEGER NOT NULL,
    available_on INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS movements_of_account ON movements (account, currency);
CREATE TABLE IF NOT EXISTS jobs (id INTEGER PRIMARY KEY AUTOINCREMENT, due REAL NOT NULL, act TEXT NOT NULL, object TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS jobs_due ON jobs (due);
CREATE TABLE IF NOT EXISTS settings (name TEXT PRIMARY KEY, body TEXT NOT NULL);
"""


class Store:
    """The server's whole memory. `transaction()` is the only door; writers take turns."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._turn = threading.RLock()
        self._db = sqlite3.connect(directory / "payments.sqlite3", check_same_thread=False, isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.execute("PRAGMA cache_size=-2000")
        self._db.executescript(SCHEMA)
        if "account" not in [row[1] for row in self._db.execute("PRAGMA table_info(objects)")]:  # a file from before there were accounts
            self._db.execute("ALTER TABLE objects ADD COLUMN account TEXT NOT NULL DEFAULT ''")

    @contextmanager
    def transaction(self) -> Iterator["Transaction"]:
        """One durable transaction; an exception rolls it back unless the error asks to be kept (`ApiError.saved`)."""
        with self._turn:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield Transaction(self._db)
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    def close(self) -> None:
        """Close the file; waits for the running transaction."""
        with self._turn:
            self._db.close()


class Transaction:
    """Reads and writes within one transaction."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self.db = db

    def add(self, body: dict[str, Any], *, parent: str | None = None, account: str = "") -> dict[str, Any]:
        """Keep a new object; its `object` member is its kind, `account` the connected account that owns it."""
        self.db.execute(
            "INSERT INTO objects (id, kind, parent, account, created, body) VALUES (?, ?, ?, ?, ?, ?)",
            (body["id"], body["object"], parent, account, body["created"], json.dumps(body)),
        )
        return body

    def save(self, body: dict[str, Any]) -> dict[str, Any]:
        """Replace an object's body."""
        self.db.execute("UPDATE objects SET body = ? WHERE id = ?", (json.dumps(body), body["id"]))
        return body

    def find(self, kind: str, object_id: str, *, account: str = "") -> dict[str, Any] | None:
        """The object of the platform or of a connected account, or None."""
        query = "SELECT body FROM objects WHERE id = ? AND kind = ? AND account = ?"
        row = self.db.execute(query, (object_id, kind, account)).fetchone()
        return json.loads(row[0]) if row else None

    def get(self, kind: str, object_id: str, *, account: str = "", param: str = "id") -> dict[str, Any]:
        """The object; raises the 404 of https://docs.stripe.com/error-codes#resource-missing."""
        found = self.find(kind, object_id, account=account)
        if found is None:
            raise ApiError(404, f"No such {kind}: '{object_id[:60]}'", code="resource_missing", param=param)
        return found

    def owner(self, object_id: str) -> str:
        """The connected account that an object belongs to; empty for the platform's own."""
        row = self.db.execute("SELECT account FROM objects WHERE id = ?", (object_id,)).fetchone()
        return row[0] if row else ""

    def children(self, kind: str, parent: str) -> list[dict[str, Any]]:
        """Everything of a kind that belongs to one object, oldest first."""
        rows = self.db.execute("SELECT body FROM objects WHERE parent = ? AND kind = ? ORDER BY seq", (parent, kind))
        return [json.loads(body) for (body,) in rows]

    def page(
        self, kind: str, params: dict[str, Any], *, parent: str | None = None, account: str = "", having: dict[str, str] | None = None
    ) -> tuple[list[dict[str, Any]], bool]:
        """Newest first, by cursor: `limit`, `starting_after`, `ending_before`, `created` (https://docs.stripe.com/api/pagination).

        `having` asks for values of members of the object.
        """
        limit = _limit(params)
        where: list[str] = ["kind = ?", "account = ?"]
        values: list[str | int] = [kind, account]
        for name, value in (having or {}).items():
            where.append(f"json_extract(body, '$.{name}') = ?")
            values.append(value)
        if parent is not None:
            where.append("parent = ?")
            values.append(parent)
        created = params.get("created")
        bounds = created if isinstance(created, dict) else ({"gte": created, "lte": created} if created else {})
        for operator, sign in (("gt", ">"), ("gte", ">="), ("lt", "<"), ("lte", "<=")):
            if operator in bounds:
                if not str(bounds[operator]).isdigit():
                    raise ApiError(400, "Invalid timestamp", code="parameter_invalid_integer", param=f"created[{operator}]")
                where.append(f"created {sign} ?")
                values.append(int(bounds[operator]))
        backwards = "ending_before" in params
        for name, sign in (("starting_after", "<"), ("ending_before", ">")):
            if name in params:
                anchor = self.db.execute("SELECT seq FROM objects WHERE id = ? AND kind = ?", (params[name], kind)).fetchone()
                if anchor is None:
                    raise ApiError(400, f"No such {kind}: '{params[name][:60]}'", code="resource_missing", param=name)
                where.append(f"seq {sign} ?")
                values.append(anchor[0])
        rows = self.db.execute(
            f"SELECT body FROM objects WHERE {' AND '.join(where)} ORDER BY seq {'ASC' if backwards else 'DESC'} LIMIT ?",
            (*values, limit + 1),
        ).fetchall()
        found = [json.loads(body) for (body,) in rows[:limit]]
        return (found[::-1] if backwards else found), len(rows) > limit

    def later(self, act: str, object_id: str, *, seconds: float) -> None:
        """Have `act` done to an object after a while, whatever is killed meanwhile."""
        self.db.execute("INSERT INTO jobs (due, act, object) VALUES (?, ?, ?)", (time.time() + seconds, act, object_id))

    def take_job(self) -> tuple[str, str] | None:
        """The next job that is due, which is done in this transaction: what to do, and to which object."""
        row = self.db.execute("SELECT id, act, object FROM jobs WHERE due <= ? ORDER BY due, id LIMIT 1", (time.time(),)).fetchone()
        if row is None:
            return None
        self.db.execute("DELETE FROM jobs WHERE id = ?", (row[0],))
        return row[1], row[2]

    def setting(self, name: str, default: Any) -> Any:
        """A switch that survives a restart."""
        row = self.db.execute("SELECT body FROM settings WHERE name = ?", (name,)).fetchone()
        return json.loads(row[0]) if row else default

    def set_setting(self, name: str, value: Any) -> None:
        """Turn a switch."""
        self.db.execute("INSERT OR REPLACE INTO settings (name, body) VALUES (?, ?)", (name, json.dumps(value)))


def _limit(params: dict[str, Any]) -> int:
    value = params.get("limit", "10")
    if not str(value).isdigit() or not 1 <= int(value) <= 100:
        raise ApiError(400, "Limit must be between 1 and 100.", code="parameter_invalid_integer", param="limit")
    return int(value)


def timestamp() -> int:
    """Seconds since 1970, as every `created` of the API."""
    return int(time.time())
