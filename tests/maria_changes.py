"""Tables of MariaDB that are followed step by step, and a writer that changes them meanwhile."""

from __future__ import annotations

import asyncio
import json
import random
import threading
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pymysql

from dataflare.connectors.mariadb.settings import MariaSourceConfig
from dataflare.connectors.mariadb.source import MariaSource
from dataflare.sql.change_source import CHANGES
from dataflare.testing.stage import staged

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from dataflare.batch import Batch
    from dataflare.component import Split
    from tests.mariadb import Database

SETUP = """
create table items (id bigint primary key, v text, n int not null, big mediumtext) character set utf8mb4;
create table names (name varchar(60) character set utf8mb4 collate utf8mb4_bin primary key, v int, index (v));
create table pairs (a int, b date, v decimal(12,3), primary key (b, a));
insert into items select seq * 3, concat('v', seq), 0, repeat(seq, 70) from seq_1_to_{rows};
insert into names select concat('n', seq * 7919 % {rows}, if(seq % 3 = 0, 'É', 'z')), seq from seq_1_to_{rows};
insert into pairs select seq % 50, date '2026-01-01' + interval (seq div 50) day, seq / 8 from seq_1_to_{rows};
analyze table items, names, pairs
"""
KEYS = {"items": ("id",), "names": ("name",), "pairs": ("a", "b")}


def connected(url: str) -> Any:
    """Connect to the database of an address."""
    parts = urlsplit(url)
    return pymysql.connect(
        host=parts.hostname,
        port=parts.port,
        user=parts.username,
        password=parts.password or "",
        database=parts.path.strip("/") or None,
        autocommit=True,
        ssl_disabled=True,
        charset="utf8mb4",
    )


class Writer(threading.Thread):
    """Changes the tables in small and larger transactions, some of them undone, until it is told to stop."""

    def __init__(self, url: str, rows: int, seed: int) -> None:
        super().__init__()
        self._url, self._rows, self._rng = url, rows, random.Random(seed)
        self._done, self.transactions, self.failure = threading.Event(), 0, ""
        self._next = rows * 3 + 100 + seed * 1_000_000

    def run(self) -> None:
        try:
            connection = connected(self._url)
            with connection, connection.cursor() as cursor:
                while not self._done.wait(0.002):
                    self._transaction(cursor)
                    self.transactions += 1
        except pymysql.err.MySQLError as error:
            self.failure = str(error)

    def write(self, transactions: int) -> None:
        """Execute so many transactions now, instead of being started."""
        connection = connected(self._url)
        with connection, connection.cursor() as cursor:
            for _ in range(transactions):
                self._transaction(cursor)

    def stop(self) -> None:
        """End, and wait for it."""
        self._done.set()
        self.join()
        assert not self.failure, self.failure
        assert self.transactions > 0

    def _transaction(self, cursor: Any) -> None:
        rng = self._rng
        cursor.execute("begin")
        for _ in range(rng.choice([1, 1, 2, 5, 40])):
            cursor.execute(*self._change())
        cursor.execute("rollback" if rng.random() < 0.1 else "commit")

    def _change(self) -> tuple[str, tuple[Any, ...]]:
        rng, self._next = self._rng, self._next + 1
        some = rng.randrange(1, self._rows) * 3
        return rng.choice(
            [
                ("insert into items (id, v, n, big) values (%s, 'new', 0, %s)", (self._next, "y" * 3000)),
                ("insert ignore into items (id, v, n) values (%s, 'before', 0)", (some - 1,)),
                ("update items set n = n + 1, v = %s where id = %s", (f"u{self._next}", some)),
                ("update items set n = n + 1 where id between %s and %s", (some, some + 60)),
                ("update items set big = %s where id = %s", (f"{self._next}" * 500, some)),
                ("update items set id = %s where id = %s", (self._next + 10**9, some // 9 * 3)),
                ("delete from items where id = %s", (some,)),
                ("insert ignore into names values (%s, 1)", (f"N{some}",)),
                ("update names set v = v + 1 where v between %s and %s", (some // 3, some // 3 + 5)),
                ("delete from names where v = %s", (some // 3,)),
                ("update names set name = concat(left(name, 40), %s) where v = %s", (f"!{self._next}", some // 3)),
                ("insert ignore into pairs values (%s, '2020-02-02', 1.5)", (some,)),
                ("update pairs set v = v + 0.125 where a = %s", (some % 50,)),
                ("delete from pairs where b = date '2026-01-01' + interval %s day and a < 5", (some // 150,)),
            ]
        )


def there(url: str, name: str) -> dict[tuple[Any, ...], dict[str, Any]]:
    """Return the rows of a table, or of its copy, as JSON has them, by key."""
    key = KEYS[name.removesuffix("_copy")]
    connection = connected(url)
    with connection, connection.cursor(pymysql.cursors.DictCursor) as cursor:
        cursor.execute(f"select * from `{name}`")
        rows = json.loads(json.dumps(cursor.fetchall(), default=str))
    return {tuple(row[k] for k in key): {k: _plain(v) for k, v in row.items()} for row in rows}


def _plain(value: Any) -> Any:
    """A decimal is a number in files of JSON."""
    try:
        return float(value) if isinstance(value, str) and "." in value else value
    except ValueError:
        return value


def difference(log: Iterable[Mapping[str, Any]], url: str, name: str) -> list[Any]:
    """Return the keys of rows that differ between a log played back and a table, a few of them."""
    from tests.changes import played_back

    mine, theirs = played_back(log, KEYS[name]), there(url, name)
    return [k for k in [*mine, *theirs] if mine.get(k) != theirs.get(k)][:5]


class Followed:
    """A source that follows tables of a database, step by step; `position` is where it stands."""

    def __init__(self, spot: Database, mode: str, tables: list[str], on_error: str = "fail", **settings: Any) -> None:
        self.spot, self.mode, self.on_error, self.events = spot, mode, on_error, list[Any]()
        self._settings = {"url": spot.url, "tables": tables, **settings}
        self._settings["cdc"] = {"heartbeat": "100ms", **settings.get("cdc", {})}
        self.position: Any = None
        self.source = self.made()
        self.source.open()

    def made(self, **planned: Any) -> MariaSource:
        """Return another source with the same settings, not open; `planned` are fields of its context."""
        config = MariaSourceConfig.model_validate(self._settings)
        return staged(MariaSource(config), mode=self.mode, events=self.events, on_error=self.on_error, **planned)

    def again(self, **planned: Any) -> None:
        """Close the source, and open another one, planned anew."""
        self.source.close()
        self.source = self.made(**planned)
        self.source.open()

    @cached_property
    def stream(self) -> Split:
        """The split of the changes."""
        return list(self.source.splits(None))[-1]

    def batches(self, most: int = 1 << 30, found: list[Batch] | None = None) -> list[Batch]:
        """Return what has come up to now, after what was returned before; at most some batches with rows.

        What came before an error is in `found`, and counts.
        """
        found = [] if found is None else found
        ends: Any = self.source.ends()
        reading = self.source.read(self.stream, self.position, ends[CHANGES])

        async def gather() -> None:
            async for batch in reading:
                found.append(batch)
                self.position = json.loads(json.dumps(batch.position))
                if sum(b.num_rows > 0 for b in found) == most:
                    break
            await reading.aclose()

        asyncio.run(gather())
        return [b for b in found if b.num_rows]

    def rows(self, *, without: tuple[str, ...] = ("_tx", "_commit_ts")) -> list[dict[str, Any]]:
        """Return the changes up to now, without what differs from run to run."""
        rows = [row for batch in self.batches() for row in batch.rows.to_pylist()]
        return [{k: v for k, v in row.items() if k not in without} for row in rows]


@contextmanager
def followers(spot: Database, mode: str) -> Iterator[Callable[..., Followed]]:
    """Give what makes followers of tables, all of which are closed afterwards."""
    made: list[Followed] = []

    def build(*tables: str, **settings: Any) -> Followed:
        made.append(Followed(spot, mode, list(tables), **settings))
        return made[-1]

    yield build
    for one in made:
        one.source.close()


__all__ = ["KEYS", "SETUP", "Followed", "Writer", "connected", "difference", "followers", "there"]
