"""Compares two sets of rows by key: a key and a hash for each row go into a small engine, which spills to disk.

Rows come in any order and from several threads. Values are compared as the types of the schema say; JSON by what it
means, not by how it is written.
"""

# ruff: noqa: S608 - names are our own or quoted; a condition is that of whoever types it, in a closed engine

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from dataflare.errors import DataError, WorkflowError
from dataflare.operate.verifying.report import Difference, Side
from dataflare.sql.hashing import DUCKDB_HASHING, bucket_of, duckdb_text
from dataflare.sql.quoting import quoted

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import duckdb

    from dataflare.schema import Schema
    from dataflare.sql.hashing import Hashed

SOURCE, WRITTEN = "source", "written"
SIDES = (SOURCE, WRITTEN)
CANDIDATES_MAX = 100_000
"""Keys that are looked at again; where more differ, those are counted as they were first seen."""
BUCKET_DIGITS, _BUCKETS_MAX = 5, 2000
_PARTS = 1_000_000
_INSTANT = "TIMESTAMP WITH TIME ZONE"
_KIND_BY_KEY = (
    "case when w = 0 then 'missing' when s = 0 then 'surplus' when s = w then 'different' else 'repeated' end"
)
_KIND_OF_ROWS = "case when s > w then 'missing' else 'surplus' end"


class Comparison:
    """Rows of both sides, in a database of its own, which spills into a folder. Close it."""

    def __init__(self, schema: Schema, key: Sequence[str], folder: Path, memory_bytes_max: int) -> None:
        """Open the database; raise WorkflowError for a key that the rows lack."""
        for name in key:
            if name not in schema:
                raise WorkflowError(f"the rows have no column {name}", hint=f"they have {', '.join(schema.names)}")
        self._schema, self.key = schema, tuple(key)
        self._arrow = schema.to_arrow()
        self._where, self._again = "", False
        self._lock = threading.Lock()
        self._database = closed_engine(memory_bytes_max, folder)
        self._by = [f"k{n}" for n in range(len(self.key))] or ["h"]
        kinds = self._kinds(self.key)
        for side in SIDES:
            columns = ", ".join(f"k{n} {kind}" for n, kind in enumerate(kinds))
            self._run(f"create table {side} ({columns}{', ' if columns else ''}h ubigint)")

    @property
    def columns(self) -> list[str]:
        """The names of the columns that are compared."""
        return self._schema.names

    def narrow(self, where: str, hashed: Hashed | None, share: float) -> None:
        """Leave out rows that do not fulfil a condition, or whose key has another hash.

        A `share` of the keys is compared where `hashed` cannot be asked of them. Raises WorkflowError for a condition
        that is none.
        """
        import duckdb

        texts = {c.name: t for c in self._schema if (t := duckdb_text(quoted(c.name), c.type)) is not None}
        meant = hashed.condition(DUCKDB_HASHING, texts) if hashed is not None else ""
        parts = [f"({where})" if where else "", meant]
        if share < 1 and not (hashed is not None and hashed.below):
            listed = ", ".join(quoted(n) for n in self.key or self._schema.names)
            parts.append(f"hash({listed}) % {_PARTS} < {round(share * _PARTS)}")
        parts = [p for p in parts if p]
        self._where = f" where {' and '.join(parts)}" if parts else ""
        try:
            self._insertable(SOURCE, self._arrow.empty_table())
        except duckdb.Error as error:
            what = str(error).splitlines()[0]
            hint = f"write it in SQL, of the columns {', '.join(self._schema.names)}"
            raise WorkflowError(f"the condition {where!r} cannot be used: {what}", hint=hint) from None

    def take(self, side: str, rows: pa.Table) -> None:
        """Take rows of one side, as many as there are; whole rows of what differs, once `look_again` was called."""
        if rows.num_rows:
            rows = canonical_rows(rows, self._schema)
            with self._lock:
                self._insertable(f"{side}_rows" if self._again else side, rows)

    def side(self, side: str) -> Side:
        """Return the sum of one side."""
        rows, checksum = self._run(f"select count(*), sum(h::hugeint) from {side}").fetchall()[0]
        return Side(rows, f"{(checksum or 0) % (1 << 128):032x}")

    def counts(self) -> dict[str, int]:
        """Return how many keys differ, by kind."""
        self._run(f"create or replace table differing as {self._differing()}")
        return self.differences()

    def look_again(self) -> tuple[str, ...]:
        """From now on take whole rows of keys that differ, `CANDIDATES_MAX` of them; forget those of a look before.

        What was asked of rows does not count any more: a row that has left a range is on both sides all the same.
        Returns the buckets of these keys, of 16^`BUCKET_DIGITS` (`sql.hashing`); nothing where they cannot be told or
        are too many.
        """
        order = ", ".join(self._by)
        first = f"select * from differing order by {order} limit {CANDIDATES_MAX}"
        self._run(f"create or replace table candidates as {first}")
        columns = ", ".join(f"c{n} {kind}" for n, kind in enumerate(self._kinds(self._schema.names)))
        keys = ", ".join(f"k{n} {kind}" for n, kind in enumerate(self._kinds(self.key)))
        for side in SIDES:
            self._run(f"create or replace table {side}_rows ({keys}{', ' if keys else ''}h ubigint, {columns})")
        self._again, self._where = True, ""
        texts = [duckdb_text(f"k{n}", self._schema[name].type) for n, name in enumerate(self.key)]
        told = [t for t in texts if t is not None]
        if not told or len(told) < len(texts):
            return ()
        bucket = bucket_of(DUCKDB_HASHING, told, BUCKET_DIGITS)
        rows = self._run(f"select distinct {bucket} from candidates limit {_BUCKETS_MAX + 1}").fetchall()
        return tuple(sorted(b for (b,) in rows)) if len(rows) <= _BUCKETS_MAX else ()

    def settle(self) -> int:
        """Take out of what differs the keys that do not any more; return how many these are."""
        self._run(f"create or replace table still as {self._differing('_rows')}")
        gone = f"candidates d where not exists (select 1 from still s where {self._same('d', 's')})"
        ((settled,),) = self._run(f"select count(*) from {gone}").fetchall()
        others = f"differing d where not exists (select 1 from candidates c where {self._same('d', 'c')})"
        by = ", ".join(self._by)
        listed = f"select {by}, kind, n from still union all select {by}, kind, n from (select d.* from {others})"
        self._run(f"create or replace table differing as {listed}")
        return int(settled)

    def repairs(self) -> tuple[pa.Table, pa.Table]:
        """Return the rows of the source that are missing or different, and the keys of those that are gone there.

        Of keys that were looked at again; whole rows of the schema, of gone ones the key alone.
        """
        names, by = self._schema.names, [f"k{n}" for n, _ in enumerate(self.key)]
        columns = ", ".join(f"a.c{n} as {quoted(name)}" for n, name in enumerate(names))
        put = f"select {columns} from source_rows a join differing d on {self._same('a', 'd')}"
        keys = ", ".join(f"d.{column} as {quoted(name)}" for column, name in zip(by, self.key, strict=True))
        there = f"select 1 from written_rows w where {self._same('d', 'w')}"
        gone = f"select {keys} from differing d where d.kind = 'surplus' and exists ({there})"
        rows = self._database.sql(f"{put} where d.kind in ('missing', 'different')").to_arrow_table()
        lost = self._database.sql(gone).to_arrow_table()
        return rows.cast(self._arrow), lost.cast(pa.schema([self._arrow.field(name) for name in self.key]))

    def differences(self) -> dict[str, int]:
        """Return how many keys differ after what was settled, by kind; rows where there is no key."""
        sql = "select kind, sum(n)::bigint from differing group by kind order by kind"
        return dict(self._run(sql).fetchall())

    def examples(self, most: int) -> list[Difference]:
        """Return the first keys that differ, with the columns in which they do."""
        order = ", ".join(f"d.{c}" for c in self._by)
        first = f"select kind, {self._shown('d')} from differing d order by {order} limit {most}"
        columns = self._columns_that_differ()
        made = []
        for kind, *key in self._run(first).fetchall():
            told = dict(zip(self.key, key, strict=True)) if self.key else {}
            made.append(Difference(kind, told, tuple(columns.get(repr(key), ()))))
        return made

    def close(self) -> None:
        """Free everything."""
        self._database.close()

    # ---- small things -------------------------------------------------------------------------------------------

    def _run(self, sql: str) -> Any:
        return self._database.execute(sql)

    def _same(self, one: str, other: str) -> str:
        """Return the condition that rows of two tables have the same key, nulls too."""
        return " and ".join(f"{one}.{c} is not distinct from {other}.{c}" for c in self._by)

    def _shown(self, table: str) -> str:
        """Return what tells rows of a table apart, as it is shown: instants as texts, for Python knows no zones."""
        kinds = self._kinds(self.key) or [""] * len(self._by)
        return ", ".join(
            f"{table}.{c}{'::varchar' if kind == _INSTANT else ''} as {c}"
            for c, kind in zip(self._by, kinds, strict=True)
        )

    def _kinds(self, names: Sequence[str]) -> list[str]:
        """Return the engine's types of some columns."""
        if not names:
            return []
        empty = self._arrow.empty_table().select(list(names))
        self._database.register("given", empty)
        try:
            return [str(kind) for _, kind, *_ in self._run("describe select * from given").fetchall()]
        finally:
            self._database.unregister("given")

    def _insertable(self, table: str, rows: pa.Table) -> None:
        """Put keys and hashes of rows into a table, and the rows themselves where it takes them."""
        keys = [f"{quoted(name)} as k{n}" for n, name in enumerate(self.key)]
        listed = ", ".join(quoted(n) for n in self._schema.names)
        picked = [*keys, f"hash({listed}) as h"]
        if self._again:
            picked += [f"{quoted(name)} as c{n}" for n, name in enumerate(self._schema.names)]
        sql = f"select {', '.join(picked)} from given{self._where}"
        if self._again:
            sql = f"select r.* from ({sql}) r where exists (select 1 from candidates d where {self._same('r', 'd')})"
        self._database.register("given", rows)
        try:
            self._run(f"insert into {table} {sql}")
        finally:
            self._database.unregister("given")

    def _differing(self, suffix: str = "") -> str:
        """Return the query for the keys that differ, each with its kind."""
        by = ", ".join(self._by)
        both = " union all ".join(
            f"select {by}{', h' if self.key else ''}, {int(side == SOURCE)} as s, {int(side == WRITTEN)} as w "
            f"from {side}{suffix}"
            for side in SIDES
        )
        sums = "sum(s) as s, sum(w) as w, sum(case when s = 1 then h::hugeint else -(h::hugeint) end) as d"
        kind = _KIND_BY_KEY if self.key else _KIND_OF_ROWS
        return (
            f"select {by}, {kind} as kind, {'1' if self.key else 'abs(s - w)'} as n "
            f"from (select {by}, {sums} from ({both}) group by {by}) where s <> w or d <> 0"
        )

    def _columns_that_differ(self) -> dict[str, list[str]]:
        """Return the columns in which both sides of a key differ, by key; of those that were looked at again."""
        if not self._again or not self.key:
            return {}
        names = self._schema.names
        tests = ", ".join(f"case when a.c{n} is distinct from b.c{n} then {n} end" for n in range(len(names)))
        listed = self._shown("a")
        different = f"list_filter([{tests}], lambda x: x is not null)"
        sql = f"select {listed}, {different} as c from source_rows a join written_rows b on {self._same('a', 'b')}"
        found: dict[str, list[str]] = {}
        for *key, numbers in self._run(sql).fetchall():
            found[repr(key)] = [names[n] for n in numbers]
        return found


def closed_engine(memory_bytes_max: int, folder: Path | None = None) -> duckdb.DuckDBPyConnection:
    """Return an engine of its own that reaches nothing outside, but a folder to spill into."""
    import duckdb

    options: dict[str, Any] = {
        "threads": 2,
        "memory_limit": f"{max(memory_bytes_max, 128 << 20) >> 10}KiB",
        "temp_directory": str(folder or ""),
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
        "python_enable_replacements": "false",
    }
    database = duckdb.connect(config=options)
    for statement in ("timezone = 'UTC'", "enable_external_access = false", "lock_configuration = true"):
        database.execute(f"set {statement}")
    return database


def canonical_rows(rows: pa.Table, schema: Schema) -> pa.Table:
    """Return rows in the columns and types of a schema, JSON in one form; raise DataError for those that are not."""
    arrow = schema.to_arrow()
    try:
        rows = rows.select(schema.names).cast(arrow)
    except (pa.ArrowInvalid, KeyError) as error:
        what = str(error).splitlines()[0]
        raise DataError(f"the rows are not those of the plan: {what}", hint="validate the workflow") from None
    for name in (c.name for c in schema if c.type == "json"):
        column = pa.chunked_array([_sorted(chunk) for chunk in rows.column(name).chunks], pa.string())
        rows = rows.set_column(rows.schema.get_field_index(name), arrow.field(name), column)
    return rows


def _sorted(texts: pa.Array) -> pa.Array:
    """Return JSON texts with sorted keys and no spaces; a text that is no JSON stays as it is."""
    import msgspec

    decode, encode = msgspec.json.Decoder().decode, msgspec.json.Encoder(order="sorted").encode

    def one(text: str | None) -> str | None:
        if text is None:
            return None
        try:
            return encode(decode(text)).decode()
        except msgspec.MsgspecError:
            return text

    unique = pc.dictionary_encode(texts.cast(pa.string()))
    made = pa.array([one(text) for text in unique.dictionary.to_pylist()], pa.string())
    return made.take(unique.indices)


__all__ = ["BUCKET_DIGITS", "SIDES", "SOURCE", "WRITTEN", "Comparison", "canonical_rows", "closed_engine"]
