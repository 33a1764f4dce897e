"""Tables that are written to while they are read and followed, and change logs that are played back strictly."""

from __future__ import annotations

import asyncio
import json
import random
import threading
import time
from contextlib import contextmanager
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import psycopg

from dataflare.connectors.postgres.changes.following import CHANGES
from dataflare.connectors.postgres.settings import PostgresSourceConfig
from dataflare.connectors.postgres.source import PostgresSource
from dataflare.testing.stage import staged

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from dataflare.batch import Batch
    from dataflare.component import Split
    from tests.postgres import Place

T = TypeVar("T")

SETUP = """
create table {schema}.items (id bigint primary key, v text, n int not null, long text);
alter table {schema}.items alter long set storage external;
create table {schema}.names (name text primary key, v int);
create table {schema}.pairs (a int, b date, v numeric(12,3), primary key (b, a));
insert into {schema}.items select n * 3, 'v' || n, 0, repeat(n::text, 700) from generate_series(1, {rows}) n;
insert into {schema}.names select 'n' || (n * 7919 % {rows}) || case when n % 3 = 0 then 'É' else 'z' end, n
from generate_series(1, {rows}) n;
insert into {schema}.pairs select n % 50, date '2026-01-01' + n / 50, n / 8.0 from generate_series(1, {rows}) n;
create index on {schema}.names (v);
analyze {schema}.items, {schema}.names, {schema}.pairs;
"""
KEYS = {"items": ("id",), "names": ("name",), "pairs": ("a", "b")}


class Writer(threading.Thread):
    """Changes the tables in small and larger transactions, some of them undone, until it is told to stop.

    Writers of different seeds may write one after another.
    """

    def __init__(self, url: str, schema: str, rows: int, seed: int) -> None:
        super().__init__()
        self._url, self._schema, self._rows = url, schema, rows
        self._rng = random.Random(seed)
        self._done, self.transactions, self.failure = threading.Event(), 0, ""
        self._next = rows * 3 + 100 + seed * 1_000_000

    def run(self) -> None:
        try:
            with self._connected() as connection:
                while not self._done.wait(0.002):
                    self._transaction(connection)
                    self.transactions += 1
        except psycopg.Error as error:
            self.failure = str(error)

    def write(self, transactions: int) -> None:
        """Execute so many transactions now, instead of being started."""
        with self._connected() as connection:
            for _ in range(transactions):
                self._transaction(connection)

    def stop(self) -> None:
        """End, and wait for it."""
        self._done.set()
        self.join()
        assert not self.failure, self.failure
        assert self.transactions > 0

    @contextmanager
    def _connected(self) -> Iterator[Any]:
        with psycopg.connect(self._url, autocommit=True) as connection:
            connection.execute(f"set search_path to {self._schema}")
            yield connection

    def _transaction(self, connection: Any) -> None:
        rng = self._rng
        connection.execute("begin")
        for _ in range(rng.choice([1, 1, 2, 5, 40])):
            connection.execute(*self._change())
        connection.execute("rollback" if rng.random() < 0.1 else "commit")

    def _change(self) -> tuple[str, tuple[Any, ...]]:
        rng, self._next = self._rng, self._next + 1
        some = rng.randrange(1, self._rows) * 3
        return rng.choice(
            [
                ("insert into items values (%s, %s, 0, %s)", (self._next, f"new {self._next}", "y" * 3000)),
                ("insert into items values (%s, 'before', 0, null) on conflict do nothing", (some - 1,)),
                ("update items set n = n + 1, v = %s where id = %s", (f"u{self._next}", some)),
                ("update items set n = n + 1 where id between %s and %s", (some, some + 60)),
                ("update items set long = %s where id = %s", (f"{self._next}" * 500, some)),
                ("update items set id = %s where id = %s and length(long) < 1500", (self._next + 10**9, some // 9 * 3)),
                ("delete from items where id = %s", (some,)),
                ("insert into names values (%s, 1) on conflict do nothing", (f"N{some}",)),
                ("update names set v = v + 1 where v between %s and %s", (some // 3, some // 3 + 5)),
                ("delete from names where v = %s", (some // 3,)),
                ("update names set name = name || %s where v = %s", (f"!{self._next}", some // 3)),
                ("insert into pairs values (%s, '2020-02-02', 1.5) on conflict do nothing", (some,)),
                ("update pairs set v = v + 0.125 where a = %s", (some % 50,)),
                ("delete from pairs where b = date '2026-01-01' + %s and a < 5", (some // 150,)),
            ]
        )


def part_order(path: Path) -> list[int]:
    """Return what sorts the published files of one task by when they were written."""
    return [int(part) for part in path.stem.split("-")[1:]]


def logged(folder: Path) -> list[dict[str, Any]]:
    """Return the changes in the files of a folder."""
    files = sorted(folder.glob("part-*.jsonl"), key=part_order)
    return [json.loads(line) for file in files for line in file.read_bytes().splitlines()]


def count_logged(folder: Path) -> int:
    """Return how many changes are in the files of a folder, quickly: published files stay as they are."""
    return sum(map(_count_lines, folder.glob("part-*.jsonl")))


@cache
def _count_lines(file: Path) -> int:
    return file.read_bytes().count(b"\n")


def played_back(log: Iterable[Mapping[str, Any]], key: tuple[str, ...]) -> dict[tuple[Any, ...], dict[str, Any]]:
    """Return the rows that a log leads to; fail for a change that cannot be the next one of its row.

    What was read comes first: it may come from several tasks. Behind it the log is in order.
    """
    rows: dict[tuple[Any, ...], dict[str, Any]] = {}
    newest = ""
    ordered = sorted(log, key=lambda c: c["_op"] != "read")
    for change in ordered:
        at = tuple(change[k] for k in key)
        values = {k: v for k, v in change.items() if not k.startswith("_")}
        assert change["_tx"] >= newest, f"{at} comes late"
        newest = change["_tx"]
        match change["_op"]:
            case "read" | "insert":
                assert at not in rows, f"{at} is there twice: {change['_op']}"
                rows[at] = values
            case "update":
                assert at in rows, f"{at} was lost before its update"
                kept = {name: rows[at][name] for name in change.get("_unchanged") or ()}
                rows[at] = {**values, **kept}
            case "delete":
                assert at in rows, f"{at} was lost before it was deleted"
                del rows[at]
            case "truncate":
                rows.clear()
    return rows


def there(url: str, schema: str, name: str) -> dict[tuple[Any, ...], dict[str, Any]]:
    """Return the rows of a table, or of its copy, as JSON has them, by key."""
    with psycopg.connect(url) as connection:
        found = connection.execute(f"select to_jsonb(t) from {schema}.{name} t").fetchall()
    return {tuple(row[k] for k in KEYS[name.removesuffix("_copy")]): row for (row,) in found}


def difference(log: Iterable[Mapping[str, Any]], url: str, schema: str, name: str) -> list[Any]:
    """Return the keys of rows that differ between a log played back and a table, a few of them."""
    mine, theirs = played_back(log, KEYS[name]), there(url, schema, name)
    return [k for k in [*mine, *theirs] if mine.get(k) != theirs.get(k)][:5]


def wait_for(reached: Callable[[], T]) -> T:
    """Return what is reached at last; fail when it is not in a minute."""
    deadline = time.monotonic() + 60
    while not (found := reached()):
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.01)
    return found


def plain(batches: list[Any]) -> tuple[list[tuple[Any, ...]], list[dict[str, Any]]]:
    """Return what was told of good rows, and what of the others."""
    good = [(r["_op"], r["id"], r["v"]) for b in batches if b.stream != "errors" for r in b.rows.to_pylist()]
    bad = [r for b in batches if b.stream == "errors" for r in b.rows.to_pylist()]
    return good, [{**json.loads(r["raw"]), "error": r["error"], "table": r["file"]} for r in bad]


class Followed:
    """A source that follows tables of a schema by a slot of its own, step by step; `position` is where it stands."""

    def __init__(self, spot: Place, mode: str, tables: list[str], on_error: str = "fail", **settings: Any) -> None:
        self.spot, self.mode, self.on_error, self.events = spot, mode, on_error, list[Any]()
        self._settings = {"url": spot.url, "tables": [spot.table(t) for t in tables], **settings}
        self._settings["cdc"] = {"slot_name": spot.schema, "heartbeat": "100ms", **settings.get("cdc", {})}
        self.position: Any = None
        self.source = self.made()
        self.source.open()

    def made(self) -> PostgresSource:
        """Return another source with the same settings, not open."""
        config = PostgresSourceConfig.model_validate(self._settings)
        return staged(PostgresSource(config), mode=self.mode, events=self.events, on_error=self.on_error)

    def again(self) -> None:
        """Close the source, and open another one, planned anew."""
        self.source.close()
        self.source = self.made()
        self.source.open()

    @cached_property
    def stream(self) -> Split:
        """The split of the changes; publication and slot are there afterwards."""
        return list(self.source.splits(None))[-1]

    def batches(self, most: int = 1 << 30) -> list[Batch]:
        """Return what has come up to now, after what was returned before; at most some batches with rows."""
        found: list[Batch] = []
        reading = self.source.read(self.stream, self.position, self.source.ends()[CHANGES])

        async def gather() -> None:
            async for batch in reading:
                found.append(batch)
                if sum(b.num_rows > 0 for b in found) == most:
                    break
            await reading.aclose()

        asyncio.run(gather())
        if found:
            self.position = json.loads(json.dumps(found[-1].position))
        return [b for b in found if b.num_rows]

    def rows(self, *, without: tuple[str, ...] = ("_tx", "_commit_ts")) -> list[dict[str, Any]]:
        """Return the changes up to now, without what differs from run to run."""
        rows = [row for batch in self.batches() for row in batch.rows.to_pylist()]
        return [{k: v for k, v in row.items() if k not in without} for row in rows]

    def confirmed(self) -> int:
        """Return up to where the slot may forget."""
        return self.slot("confirmed_flush_lsn - '0/0'::pg_lsn")

    def slot(self, column: str) -> Any:
        """Return a fact of the slot."""
        found = self.spot.run(
            f"select ({column})::int8 from pg_replication_slots where slot_name = '{self.spot.schema}'"
        )
        return found[0][0] if found else None

    def close(self) -> None:
        self.source.close()
        forget(self.spot, self.spot.schema)


def begun(one: Followed) -> Followed:
    """Read all parts, then the changes up to now."""
    *first, one.stream = list(one.source.splits(None))  # type: ignore[misc]
    ends = {}
    for split in first:
        for batch in one.source.read(split, None, None):
            ends[split.id] = json.loads(json.dumps(batch.position))
    one.position = {"splits": ends}
    one.batches()
    return one


def ops(one: Followed) -> list[tuple[Any, ...]]:
    """Return what comes up to now: the operation, and the values of each row."""
    found = []
    for row in one.rows():
        values = [v for k, v in row.items() if not k.startswith("_")]
        found.append((row["_op"], *values))
    return found


def read_ahead(one: Followed, change: Callable[[], Any]) -> list[dict[str, Any]]:
    """Read on, with a change between the receipt of the log and the reading of the table."""
    stream_of = one.source._following
    assert stream_of is not None
    found: list[Batch] = []
    end = one.source.ends()[CHANGES]

    async def gather() -> None:
        reading = one.source.read(one.stream, one.position, end)
        changed = False
        real = stream_of._rows.piece

        def piece(*arguments: Any) -> Any:
            nonlocal changed
            if not changed:
                changed = True
                change()
            return real(*arguments)

        stream_of._rows.piece = piece  # type: ignore[method-assign]
        found.extend([batch async for batch in reading])
        await reading.aclose()

    asyncio.run(gather())
    one.position = json.loads(json.dumps(found[-1].position))
    return [row for batch in [*found, *one.batches()] for row in batch.rows.to_pylist()]


@contextmanager
def followers(spot: Place, mode: str) -> Iterator[Callable[..., Followed]]:
    """Give what makes followers of tables, all of which are removed afterwards."""
    made: list[Followed] = []

    def build(*tables: str, **settings: Any) -> Followed:
        made.append(Followed(spot, mode, list(tables), **settings))
        return made[-1]

    yield build
    for one in made:
        one.close()


def forget(spot: Place, name: str) -> None:
    """Drop a slot and the publication of the same name, as soon as nobody reads it."""
    slot = f"from pg_replication_slots where slot_name = '{name}'"
    spot.run(f"select pg_terminate_backend(active_pid, 10000) {slot} and active")
    spot.run(f"select pg_drop_replication_slot(slot_name) {slot}")
    spot.run(f"drop publication if exists {name}")


@contextmanager
def followed_place(node: str = "shop") -> Iterator[Place]:
    """Give a schema whose tables a workflow of its name follows, by a source of this name; its slot goes afterwards."""
    from tests.postgres import place

    with place() as spot:
        try:
            yield spot
        finally:
            forget(spot, f"dataflare_{spot.schema}_{node}")


__all__ = [
    "KEYS",
    "SETUP",
    "Followed",
    "Writer",
    "begun",
    "count_logged",
    "difference",
    "followed_place",
    "followers",
    "forget",
    "logged",
    "ops",
    "part_order",
    "plain",
    "played_back",
    "read_ahead",
    "there",
    "wait_for",
]
