"""The DuckDB source: tables, views or a query of a file, whole or only what is new."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dataflare.component import Split, source
from dataflare.connectors.duckdb.relations import ROW_ID, DuckdbRelation, relations
from dataflare.connectors.duckdb.session import DuckdbSession
from dataflare.connectors.duckdb.settings import DuckdbSourceConfig
from dataflare.connectors.duckdb.values import incoming
from dataflare.errors import UnavailableError
from dataflare.sql.dialect import Table
from dataflare.sql.hashing import DUCKDB_HASHING
from dataflare.sql.proving import refuse_nulls, refuse_twins
from dataflare.sql.reading import after, select, up_to
from dataflare.sql.source import ALL, SPLITS_MAX, SqlSource

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    import pyarrow as pa

    from dataflare.batch import Batch, Position
    from dataflare.schema import Schema
    from dataflare.sql.incremental import Conditions
    from dataflare.sql.source import Range

Between = tuple["Position | None", "Position | None"]
_ROW_GROUP = 122_880
"""Rows that DuckDB keeps together: a part of whole groups is read without touching others."""


@source(
    "duckdb",
    status="beta",
    replay="exact",
    modes=("full", "incremental"),
    pushdown=("columns", "predicate", "limit"),
    examples=[{"path": "lake.duckdb", "table": "orders"}],
)
class DuckdbSource(SqlSource[DuckdbSourceConfig, DuckdbSession, DuckdbRelation]):
    """Reads tables, views or a query of a DuckDB file, as Arrow: no row becomes a Python value.

    Tables are read in the order of their row ids, in parts that tasks share, or in the order of `key` if that is given.
    A position is the row id or the key of the last row: what was read comes again exactly as long as nobody deletes
    rows meanwhile (with `key`: as long as the rows stay as they are). A view or a query without `key` is read in the
    order in which DuckDB yields it: give it an `order by` that is unique, or a `key`.

    The file is opened for reading only, so that other programs can read it, too; it cannot be read while another
    program has it open for writing. Where this process writes to it as well, both share it.

    `mode: incremental` reads rows whose `cursor_field` is newer than what earlier runs have read, from a table with a
    primary key or by a `key`. The column must be one that grows; rows in which it is null are left out and told, unless
    `missing` says otherwise; rows that come with an older value are found as far as `lag` reaches.

    Lists, structs and maps stay what they are. HUGEINT is read as decimal(38,0), times finer than microseconds are
    rounded, unions are JSON; UUID, ENUM, BIT and what else Arrow lacks are text. `types` says otherwise.
    """

    hashing = DUCKDB_HASHING

    def connected(self) -> DuckdbSession:
        """Open the file for reading."""
        return DuckdbSession(_there(self.context.path(self.config.path)), self.context.budget, write=False)

    def groups(self, rows: pa.Table, keys: Sequence[str]) -> pa.ChunkedArray:
        """Divide keys by their hash."""
        from dataflare.expression.keys import key_groups

        return key_groups(rows, keys)

    def tables(self, session: DuckdbSession, schema: str) -> Sequence[str]:
        """Ask the file."""
        return session.tables(Table("", schema))

    def relations(self, session: DuckdbSession) -> dict[str, DuckdbRelation]:
        """Look into the file."""
        return relations(session, self.config)

    def numbers(self, relation: DuckdbRelation) -> tuple[str, Range] | None:
        """Cut a table by its row ids."""
        if not relation.by_row_id:
            refuse_nulls(self.session.run, relation)
            return None
        ((low, high),) = self.session.run(f"select min({ROW_ID}), max({ROW_ID}) from {relation.source}")  # noqa: S608
        low, high = (1, 0) if low is None else (0, high)
        width = max(self.config.split_rows, -(-(high + 1) // SPLITS_MAX))
        return "rows", (low, high, -(-width // _ROW_GROUP) * _ROW_GROUP if width >= _ROW_GROUP else width)

    def asked(
        self, relation: DuckdbRelation, names: Iterable[str], conditions: Conditions, ending: str
    ) -> list[tuple[Any, ...]]:
        """Ask the file."""
        listed = ", ".join(relation.as_json(name) for name in names)
        where = " and ".join(f"({c})" for c in conditions(relation.value)) or "true"
        return self.session.run(f"select {listed} from {relation.source} where {where} {ending}")  # noqa: S608 - quoted

    def rows(self, split: Split, since: Position | None, until: Position | None) -> Iterator[Batch]:
        """Yield the rows of a part, in the order of its key."""
        relation, schema = self.planned(split)
        if "rows" in split.data:
            return self._by_row_ids(split, relation, schema, (since, until))
        if not relation.order:
            return self._counted(split, relation, schema, (since, until))
        return self._ordered(split, relation, schema, (since, until))

    # ---- rows ---------------------------------------------------------------------------------------------------

    def _by_row_ids(self, split: Split, relation: DuckdbRelation, schema: Schema, between: Between) -> Iterator[Batch]:
        """Yield rows by row ids, in whose order DuckDB yields a table; a position is the last one."""
        since, until = between
        low, high = split.data["rows"]
        low, high = since["row"] + 1 if since else low, until["row"] if until else high
        listed = ", ".join([*(relation.columns[n] for n in schema.names), ROW_ID])
        where = " and ".join([f"{ROW_ID} between {int(low)} and {int(high)}", *(f"({c})" for c in relation.where)])
        most = self.most_wanted(ALL)
        sql = f"select {listed} from {relation.source} where {where}{_limit(most)}"  # noqa: S608 - quoted
        for rows in self.session.stream(sql, self.config.batch_rows):
            if rows.num_rows:
                yield from self._batch(rows, schema, split, {"row": rows.column(rows.num_columns - 1)[-1].as_py()})

    def _ordered(self, split: Split, relation: DuckdbRelation, schema: Schema, between: Between) -> Iterator[Batch]:
        """Yield rows by key."""
        since, until = between
        is_new = self.context.mode == "incremental"
        conditions = self.within(split, relation, relation.value) if is_new else []
        if is_new:
            refuse_nulls(self.session.run, relation)
        refuse_twins(self.session.run, relation, conditions)
        conditions += [after(relation, since["key"], relation.value)] if since else []
        conditions += [up_to(relation, until["key"], relation.value)] if until else []
        extra = [f"{relation.as_json(name)} as k{n}" for n, name in enumerate(relation.order)]
        sql = f"{select(relation.picked(schema.names), conditions, extra=extra)}{_limit(self.most_wanted(ALL))}"
        at_key = range(len(schema.names), len(schema.names) + len(extra))
        for rows in self.session.stream(sql, self.config.batch_rows):
            if rows.num_rows:
                yield from self._batch(rows, schema, split, {"key": [rows.column(n)[-1].as_py() for n in at_key]})

    def _counted(self, split: Split, relation: DuckdbRelation, schema: Schema, between: Between) -> Iterator[Batch]:
        """Yield rows in the order in which they come; a position is how many came before."""
        done, end = (p["rows"] if p else None for p in between)
        done = done or 0
        limit = _limit(self.most_wanted(ALL if end is None else end - done))
        sql = f"{select(relation.picked(schema.names), [])}{limit} offset {done}"
        for rows in self.session.stream(sql, self.config.batch_rows):
            if rows.num_rows:
                done += rows.num_rows
                yield from self._batch(rows, schema, split, {"rows": done})

    def _batch(self, rows: pa.RecordBatch, schema: Schema, split: Split, position: Position) -> Iterator[Batch]:
        columns = [rows.column(number) for number in range(len(schema.names))]
        self.bytes_read += sum(column.nbytes for column in columns)
        return self.judged(columns, schema, incoming, split.data["stream"], position)


def _limit(most: int) -> str:
    return f" limit {most}" if most < ALL else ""


def _there(path: Path) -> Path:
    if not path.exists():
        raise UnavailableError(f"there is no file {path}", hint="check the path; relative ones start at the workflow")
    return path


__all__ = ["DuckdbSource"]
