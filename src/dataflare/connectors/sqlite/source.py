"""The SQLite source: tables, views or a query of a file, whole or only what is new."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa

from dataflare.batch import Batch, Position
from dataflare.component import SourceConnector, Split, Stream, source
from dataflare.connectors.sqlite.relations import SqliteRelation, relations
from dataflare.connectors.sqlite.session import SqliteSession
from dataflare.connectors.sqlite.settings import SqliteSourceConfig
from dataflare.connectors.sqlite.values import from_values
from dataflare.errors import DataError, WorkflowError
from dataflare.sql.reading import after, select, up_to
from dataflare.sql.windows import BOUNDARY_KEYS_MAX, Mark, Window

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from dataflare.schema import Schema

SPLITS_MAX = 256


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
    pushdown=("columns",),
    examples=[{"path": "shop.db", "table": "orders"}],
)
class SqliteSource(SourceConnector[SqliteSourceConfig]):
    """Reads tables, views or a query of a SQLite file.

    Tables are read in the order of their row ids (or of their primary key where they have none), in parts that tasks
    share; a position is the key of the last row. What was read comes again exactly as long as the rows themselves stay
    as they are: rows that others insert, change or delete meanwhile are seen or not, but none is read twice. A view or
    a query without `key` is read in the order in which SQLite yields it: give it an `order by` that is unique, or a
    `key`.

    `mode: incremental` reads rows whose `cursor_field` is newer than what earlier runs have read. The column must be
    one that grows; rows in which it is null are left out, and so are rows that come with an older value.

    Types are those that columns are declared with; `types` says otherwise. Times are ISO text; without a zone they
    are UTC.
    """

    _session: SqliteSession | None = None

    def streams(self) -> Mapping[str, Stream]:
        """Look into the file."""
        session = self._connected()
        try:
            found = relations(session, self.config)
            self._check_mode(found)
        finally:
            session.close()
        return {name: Stream(r.schema, key=r.unique) for name, r in found.items()}

    def open(self) -> None:
        """Open the file for reading."""
        self._session = self._connected()
        self._relations = relations(self._session, self.config)
        self._check_mode(self._relations)

    def splits(self, since: Position | None) -> Iterator[Split]:
        """Yield parts of each table; in mode incremental, a window of each table that has something new."""
        if self.context.mode == "incremental":
            yield from self._windows(since)
            return
        names = list(self._relations)
        begin = since["table"] if since else 0
        for number in range(begin, len(names)):
            going_on = since if since and number == begin and "low" in since else None
            yield from self._ranges(names[number], number, going_on)

    def read(self, split: Split, since: Position | None, until: Position | None) -> Iterator[Batch]:
        """Yield the rows of a part, in the order of its key."""
        name = split.data["stream"]
        relation = self._relations[name]
        schema = self.context.schemas.get(name, relation.schema)
        if self.context.hints.columns is not None:
            schema = schema.select(c for c in schema.names if c in self.context.hints.columns)
        if self.context.mode == "incremental":
            relation = relation.by_cursor(self._cursor())
        if not relation.order:
            return self._counted(split, relation, schema, (since, until))
        return self._ordered(split, relation, schema, (since, until))

    def close(self) -> None:
        """Close the file."""
        if self._session is not None:
            self._session.close()
            self._session = None

    # ---- parts --------------------------------------------------------------------------------------------------

    def _ranges(self, name: str, number: int, since: Position | None) -> Iterator[Split]:
        """Yield ranges of row ids; the last split of a table leads to the next table."""
        relation, resume = self._relations[name], {"table": number + 1}
        if not relation.rowid:
            yield Split(name, {"stream": name}, resume)
            return
        if since is not None:
            low, high, width = since["low"], since["high"], since["width"]
        else:
            sql = f"select min({relation.rowid}), max({relation.rowid}) from {relation.source}"  # noqa: S608 - quoted
            ((low, high),) = self._open_session().run(sql)
            low, high = (1, 0) if low is None else (low, high)
            width = max(self.config.split_rows, -(-(high - low + 1) // SPLITS_MAX))
        while low <= high:
            last = min(low + width - 1, high)
            more = {"table": number, "low": last + 1, "high": high, "width": width}
            data = {"stream": name, "low": low, "high": last}
            yield Split(f"{name}:{low}", data, more if last < high else resume)
            low = last + 1

    def _windows(self, since: Position | None) -> Iterator[Split]:
        marks = dict(since["marks"]) if since else {}
        cursor = self._cursor()
        for name, relation in self._relations.items():
            low = Mark.from_json(marks[name]) if name in marks else None
            high = self._newest(relation, cursor, low)
            if high is None:
                continue
            assert self.config.incremental is not None
            window = Window(low, high, self.config.incremental.cursor_value)
            marks[name] = high.to_json()
            data = {"stream": name, "window": window.to_json()}
            yield Split(f"{name}#{high.number}", data, {"marks": dict(marks)})

    def _newest(self, relation: SqliteRelation, cursor: str, low: Mark | None) -> Mark | None:
        """Return the mark after everything that is there now; None where nothing is new."""
        session, column, values = self._open_session(), relation.quoted(cursor), _Parameters()
        start = self.config.incremental.cursor_value if self.config.incremental else None
        since = low.value if low is not None else start
        condition = f" where {column} >= {values(cursor, since)}" if since is not None else ""
        sql = f"select max({column}) from {relation.source}{condition}"  # noqa: S608 - quoted
        ((value,),) = session.run(sql, values.values)
        if value is None:
            return None
        order, most = ", ".join(relation.order.values()), BOUNDARY_KEYS_MAX // len(relation.order)
        sql = f"select {order} from {relation.source} where {column} = ?1 order by {order} limit {most + 1}"  # noqa: S608
        found = [[_jsonable(v) for v in row] for row in session.run(sql, (value,))]
        mark = Mark(_jsonable(value), found if len(found) <= most else None, low.number + 1 if low else 1)
        nothing = low is not None and low.value == mark.value and (low.keys is None or low.keys == mark.keys)
        return None if nothing else mark

    # ---- rows ---------------------------------------------------------------------------------------------------

    def _ordered(
        self, split: Split, relation: SqliteRelation, schema: Schema, between: tuple[Position | None, Position | None]
    ) -> Iterator[Batch]:
        """Yield rows by key; each batch is a statement of its own, so that no snapshot is held between them."""
        position, end = (p["key"] if p else None for p in between)
        session = self._open_session()
        limit, extra = self.config.batch_rows, list(relation.order.values())
        while True:
            values = _Parameters()
            conditions = self._conditions(split, relation, values)
            if position is not None:
                conditions.append(after(relation.order, position, values))
            if end is not None:
                conditions.append(up_to(relation.order, end, values))
            sql = select(relation.picked(schema.names), conditions, extra=extra, limit=limit + 1)
            rows = session.run(sql, values.values)
            more = len(rows) > limit
            if more and rows[-1][-len(extra) :] == rows[-2][-len(extra) :]:
                raise _no_key(relation, "two rows have the same")
            if rows and None in rows[0][-len(extra) :]:
                raise _no_key(relation, "a row has none")
            if rows:
                rows = rows[:limit]
                position = [_jsonable(v) for v in rows[-1][-len(extra) :]]
                yield self._batch(rows, schema, split.data["stream"], {"key": position})
            if not more:
                return

    def _conditions(self, split: Split, relation: SqliteRelation, values: _Parameters) -> list[str]:
        if "window" in split.data:
            window = Window.from_json(split.data["window"])
            cursor, key = self._cursor(), relation.key()
            return list(window.conditions((cursor, relation.quoted(cursor)), key, values))
        if "low" not in split.data:
            return []
        low, high = split.data["low"], split.data["high"]
        return [f"{relation.rowid} >= {values('', low)}", up_to({"": relation.rowid}, [high], values)]

    def _counted(
        self, split: Split, relation: SqliteRelation, schema: Schema, between: tuple[Position | None, Position | None]
    ) -> Iterator[Batch]:
        """Yield rows in the order in which they come; a position is how many came before."""
        done, end = (p["rows"] if p else None for p in between)
        done = done or 0
        sql = f"{select(relation.picked(schema.names), [])} limit ?1 offset ?2"
        session = self._open_session()
        with session.translated():
            cursor = session.connection.execute(sql, (-1 if end is None else end - done, done))
        while True:
            with session.translated():
                rows = cursor.fetchmany(self.config.batch_rows)
            if not rows:
                return
            done += len(rows)
            yield self._batch(rows, schema, split.data["stream"], {"rows": done})

    def _batch(self, rows: list[tuple[Any, ...]], schema: Schema, stream: str, position: Position) -> Batch:
        columns = list(zip(*rows, strict=True))
        arrays = [from_values(columns[n], c.type, c.name) for n, c in enumerate(schema)]
        return Batch(pa.table(arrays, names=schema.names), stream, position)

    # ---- small things -------------------------------------------------------------------------------------------

    def _cursor(self) -> str:
        assert self.config.incremental is not None
        return self.config.incremental.cursor_field

    def _check_mode(self, found: Mapping[str, SqliteRelation]) -> None:
        if self.context.mode != "incremental":
            return
        if self.config.incremental is None:
            raise WorkflowError(
                "mode: incremental needs a column that grows", hint="add incremental: {cursor_field: updated_at}"
            )
        for name, relation in found.items():
            if self._cursor() not in relation.schema:
                raise WorkflowError(
                    f"{name} has no column {self._cursor()}", hint=f"it has {', '.join(relation.schema.names)}"
                )
            if not relation.order:
                raise WorkflowError(f"mode: incremental needs to tell the rows of {name} apart", hint="add key: [id]")

    def _connected(self) -> SqliteSession:
        return SqliteSession(self.context.path(self.config.path), self.config.wait, write=False)

    def _open_session(self) -> SqliteSession:
        assert self._session is not None, "the source is not open"
        return self._session


def _no_key(relation: SqliteRelation, what: str) -> DataError:
    names = ", ".join(name.removeprefix("/") for name in relation.order)
    return DataError(f"the key {names} does not tell rows apart: {what}", hint="name columns in key that do")


def _jsonable(value: Any) -> Any:
    return {"hex": value.hex()} if isinstance(value, bytes) else value


__all__ = ["SqliteSource"]
