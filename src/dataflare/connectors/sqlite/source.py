"""The SQLite source: tables, views or a query of a file, whole or only what is new."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dataflare.component import Split, source
from dataflare.connectors.sqlite.relations import SqliteRelation, relations
from dataflare.connectors.sqlite.session import SqliteSession
from dataflare.connectors.sqlite.settings import SqliteSourceConfig
from dataflare.connectors.sqlite.values import from_values
from dataflare.sql.dialect import Table
from dataflare.sql.proving import no_key
from dataflare.sql.reading import after, select, up_to
from dataflare.sql.source import SPLITS_MAX, SqlSource

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import pyarrow as pa

    from dataflare.batch import Batch, Position
    from dataflare.schema import Schema
    from dataflare.sql.incremental import Conditions
    from dataflare.sql.source import Range


class _Parameters:
    """Values of one statement as parameters."""

    def __init__(self) -> None:
        self.values: list[Any] = []

    def __call__(self, column: str, value: Any) -> str:
        del column
        self.values.append(bytes.fromhex(value["hex"]) if isinstance(value, dict) else value)
        return f"?{len(self.values)}"


@source(
    "sqlite",
    status="beta",
    replay="exact",
    modes=("full", "incremental"),
    pushdown=("columns", "predicate", "limit"),
    examples=[{"path": "shop.db", "table": "orders"}],
)
class SqliteSource(SqlSource[SqliteSourceConfig, SqliteSession, SqliteRelation]):
    """Reads tables, views or a query of a SQLite file.

    Tables are read in the order of their row ids (or of their primary key where they have none), in parts that tasks
    share; a position is the key of the last row. What was read comes again exactly as long as the rows themselves stay
    as they are: rows that others insert, change or delete meanwhile are seen or not, but none is read twice. A view or
    a query without `key` is read in the order in which SQLite yields it: give it an `order by` that is unique, or a
    `key`.

    `mode: incremental` reads rows whose `cursor_field` is newer than what earlier runs have read. The column must be
    one that grows; rows in which it is null are left out and told, unless `missing` says otherwise; rows that come with
    an older value are found as far as `lag` reaches.

    Types are those that columns are declared with; `types` says otherwise. Times are ISO text; without a zone they
    are UTC.
    """

    def connected(self) -> SqliteSession:
        """Open the file for reading."""
        return SqliteSession(self.context.path(self.config.path), self.config.wait, write=False)

    def groups(self, rows: pa.Table, keys: Sequence[str]) -> pa.ChunkedArray:
        """Divide keys by their hash."""
        from dataflare.expression.keys import key_groups

        return key_groups(rows, keys)

    def tables(self, session: SqliteSession, schema: str) -> Sequence[str]:
        """Ask the file."""
        del schema
        return [name for name in session.tables(Table("")) if not name.startswith("sqlite_")]

    def relations(self, session: SqliteSession) -> dict[str, SqliteRelation]:
        """Look into the file."""
        return relations(session, self.config)

    def numbers(self, relation: SqliteRelation) -> tuple[str, Range] | None:
        """Cut a table by its row ids."""
        if not relation.rowid:
            return None
        sql = f"select min({relation.rowid}), max({relation.rowid}) from {relation.source}"  # noqa: S608 - quoted
        ((low, high),) = self.session.run(sql)
        low, high = (1, 0) if low is None else (low, high)
        return "rows", (low, high, max(self.config.split_rows, -(-(high - low + 1) // SPLITS_MAX)))

    def asked(
        self, relation: SqliteRelation, names: Iterable[str], conditions: Conditions, ending: str
    ) -> list[tuple[Any, ...]]:
        """Ask the file."""
        values = _Parameters()
        listed = ", ".join(relation.order[name] for name in names)
        where = " and ".join(f"({c})" for c in conditions(values))
        sql = f"select {listed} from {relation.source} where {where} {ending}"  # noqa: S608 - quoted
        return [tuple(_jsonable(v) for v in row) for row in self.session.run(sql, values.values)]

    def rows(self, split: Split, since: Position | None, until: Position | None) -> Iterator[Batch]:
        """Yield the rows of a part, in the order of its key."""
        relation, schema = self.planned(split)
        if not relation.order:
            return self._counted(split, relation, schema, (since, until))
        return self._ordered(split, relation, schema, (since, until))

    # ---- rows ---------------------------------------------------------------------------------------------------

    def _ordered(
        self, split: Split, relation: SqliteRelation, schema: Schema, between: tuple[Position | None, Position | None]
    ) -> Iterator[Batch]:
        """Yield rows by key; each batch is a statement of its own, so that no snapshot is held between them."""
        position, end = (p["key"] if p else None for p in between)
        session = self.session
        limit, extra = self.rows_wanted(self.config.batch_rows), list(relation.order.values())
        while True:
            values = _Parameters()
            conditions = self._conditions(split, relation, values)
            if position is not None:
                conditions.append(after(relation, position, values))
            if end is not None:
                conditions.append(up_to(relation, end, values))
            sql = select(relation.picked(schema.names), conditions, extra=extra, limit=limit + 1)
            rows = session.run(sql, values.values)
            more = len(rows) > limit
            if more and rows[-1][-len(extra) :] == rows[-2][-len(extra) :]:
                raise no_key(relation, "two rows have the same")
            if (
                rows
                and not relation.rowid
                and any(None in column for column in list(zip(*rows, strict=True))[-len(extra) :])
            ):
                raise no_key(relation, "a row has none")
            if rows:
                rows = rows[:limit]
                position = [_jsonable(v) for v in rows[-1][-len(extra) :]]
                yield from self._batch(rows, schema, split.data["stream"], {"key": position})
            if not more:
                return

    def _conditions(self, split: Split, relation: SqliteRelation, values: _Parameters) -> list[str]:
        if "window" in split.data or "missing" in split.data:
            return self.within(split, relation, values)
        if "rows" not in split.data:
            return []
        low, high = split.data["rows"]
        return [f"{relation.rowid} >= {values('', low)}", f"{relation.rowid} <= {values('', high)}"]

    def _counted(
        self, split: Split, relation: SqliteRelation, schema: Schema, between: tuple[Position | None, Position | None]
    ) -> Iterator[Batch]:
        """Yield rows in the order in which they come; a position is how many came before."""
        done, end = (p["rows"] if p else None for p in between)
        done = done or 0
        sql = f"{select(relation.picked(schema.names), [])} limit ?1 offset ?2"
        session = self.session
        with session.translated():
            cursor = session.connection.execute(sql, (-1 if end is None else end - done, done))
        while True:
            with session.translated():
                rows = cursor.fetchmany(self.rows_wanted(self.config.batch_rows))
            if not rows:
                return
            done += len(rows)
            yield from self._batch(rows, schema, split.data["stream"], {"rows": done})

    def _batch(self, rows: list[tuple[Any, ...]], schema: Schema, stream: str, position: Position) -> Iterator[Batch]:
        columns = list(zip(*rows, strict=True))
        return self.judged(columns[: len(schema.names)], schema, from_values, stream, position)


def _jsonable(value: Any) -> Any:
    return {"hex": value.hex()} if isinstance(value, bytes) else value


__all__ = ["SqliteSource"]
