"""The MariaDB source: tables, views or a query, whole or only what is new, or the changes of tables."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from dataflare.batch import RESERVED
from dataflare.component import Stream, source
from dataflare.component.deviations import Contract
from dataflare.connectors.mariadb.changes.administering import Administered
from dataflare.connectors.mariadb.privileges import entered, unread
from dataflare.connectors.mariadb.relations import MariaRelation, relations
from dataflare.connectors.mariadb.session import MariaSession
from dataflare.connectors.mariadb.settings import FOLLOWING, MariaSourceConfig
from dataflare.connectors.mariadb.values import incoming, is_bytes
from dataflare.errors import UnavailableError
from dataflare.schema import arrow_type
from dataflare.sql.dialect import Table
from dataflare.sql.hashing import MARIADB_HASHING
from dataflare.sql.patterns import find_tables
from dataflare.sql.proving import refuse_nulls, refuse_twins
from dataflare.sql.reading import after, select, up_to
from dataflare.sql.source import ALL, SPLITS_MAX, SqlSource
from dataflare.sql.windows import BOUNDARY_KEYS_MAX

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from dataflare.batch import Batch, Position
    from dataflare.component import Lag, Split
    from dataflare.component.contract import MaybeAsync
    from dataflare.connectors.mariadb.changes.following import MariaFollowing
    from dataflare.errors import DataFlareError
    from dataflare.schema import Schema
    from dataflare.sql.incremental import Conditions
    from dataflare.sql.source import Range

    Between = tuple[Position | None, Position | None]

_BATCH_ROWS, _FIRST_ROWS = 16_384, 1_000
_ASKED_MAX = 2 * BOUNDARY_KEYS_MAX
_STATEMENT_BYTES = 16 << 20
"""A statement asks for about so much, as the rows before tell."""


_TRAITS: dict[str, Any] = {
    "replay": "exact",
    "pushdown": ("columns", "predicate", "limit"),
    "examples": [{"url": "mysql://app@localhost/shop", "password": "${secret:shop/PASSWORD}", "tables": ["orders"]}],
}


@source("mariadb", status="beta", modes=("full", "incremental", *FOLLOWING), **_TRAITS)
class MariaSource(Administered, SqlSource[MariaSourceConfig, MariaSession, MariaRelation]):
    """Reads tables, views or a query of MariaDB or MySQL.

    A table with a primary key (or a `key`) is read in its order, in ranges that tasks share; a position is the key of
    the last row, so a resume goes on exactly there, and no row is read twice even while others write to the table. A
    table, a view or a query without `key` is read in the order in which the server yields it: give it an `order by`
    that is unique, or a `key`. A statement reads about 16 MB and at most `fetch_rows` rows, so that a slow destination
    never holds a snapshot for long.

    `mode: incremental` reads rows whose `cursor_field` is newer than what earlier runs have read. The column must be
    one that grows; rows in which it is null are left out and told, unless `missing` says otherwise; rows that come with
    an older value are found as far as `lag` reaches.

    `mode: cdc` follows tables by the server's log, as a replica does: each insert, update and delete that is committed
    comes as a row, once, in order. `mode: hybrid` reads the tables first, side by side and while others write to them,
    and then follows them, without a gap and without a change twice. Both need `binlog_format = ROW`,
    `binlog_row_metadata = FULL` and the privilege `replication slave`. `docs/mariadb.md` says more.

    `tinyint(1)` and `bit(1)` are read as bool, `timestamp` as an instant, types that Arrow lacks as text; `types` says
    otherwise. A value that does not fit fails: nothing is rounded. `docs/mariadb.md` has the table of types.
    """

    hashing = MARIADB_HASHING
    _following: MariaFollowing | None = None

    def connected(self) -> MariaSession:
        """Connect."""
        return self._connected(outside=False)

    def _connected(self, outside: bool) -> MariaSession:  # noqa: FBT001 - of this file
        return MariaSession(self.config, f"dataflare {self.context.workflow}/{self.context.node}", outside=outside)

    def groups(self, rows: pa.Table, keys: Sequence[str]) -> pa.ChunkedArray:
        """Divide keys by their hash."""
        from dataflare.expression.keys import key_groups

        return key_groups(rows, keys)

    def relations(self, session: MariaSession) -> dict[str, MariaRelation]:
        """Ask the server."""
        if self.context.mode not in FOLLOWING:
            return relations(session, self.config)
        following, tables = _followed(session, self.config)
        self._following = following(self, tables)
        return {name: table.relation for name, table in tables.items()}

    def tables(self, session: MariaSession, schema: str) -> Sequence[str]:
        """Ask the server."""
        return session.tables(Table("", schema or session.resolved("x").schema))

    def check(self) -> list[DataFlareError]:
        """Look at each table, and whether changes can be followed where that is the mode."""
        session = entered(self._connected)
        try:
            if self.context.mode in FOLLOWING:
                find_tables(self, session)
                return _wrong(session, self.config)
            denied = unread(session, self.config) if session.outside else []
        finally:
            session.close()
        return denied or super().check()

    def _wrong_with(self, session: MariaSession) -> list[DataFlareError]:
        return unread(session, self.config) or super()._wrong_with(session)

    def streams(self) -> Mapping[str, Stream]:
        """Ask the database."""
        found = super().streams()
        if self._following is None:
            return found
        return {name: table.stream(found[name].schema) for name, table in self._following.tables.items()}

    def open(self) -> None:
        """Connect; changes are waited for."""
        super().open()
        if self._following is not None:
            words = {k: w for k, w in self.context.contract.items() if k == "data_type"}  # columns are followed
            self.waits, self._contract = True, Contract(replace(self.context, contract=words), "table")

    def splits(self, since: Position | None) -> Iterator[Split]:
        """Yield parts of the tables, or what is followed."""
        return super().splits(since) if self._following is None else self._following.splits(since)

    def read(self, split: Split, since: Position | None, until: Position | None) -> Any:
        """Yield the rows of a part, in the order of its key; or changes, in the order of the log."""
        return (super().read if self._following is None else self._following.read)(split, since, until)

    def ends(self) -> MaybeAsync[Mapping[str, Position]]:
        """Return where the log ends now, for changes."""
        return super().ends() if self._following is None else self._following.ends()

    def acknowledge(self, positions: Mapping[str, Position]) -> None:
        """Count what is committed, for the lag of changes; the server keeps nothing for us."""
        if self._following is not None:
            self._following.acknowledge(positions)

    def lag(self) -> Lag | None:
        """Return how far reading is behind the log, for changes."""
        return None if self._following is None else self._following.lag()

    def close(self) -> None:
        """Disconnect."""
        if self._following is not None:
            self._following.close()
        super().close()

    def numbers(self, relation: MariaRelation) -> tuple[str, Range] | None:
        """Cut a table by its key, where that is a whole number."""
        refuse_nulls(self.session.run, relation)
        if relation.whole_key() is None:
            return None
        (name,) = relation.order.values()
        ((low, high),) = self.session.run(f"select min({name}), max({name}) from {relation.source}")  # noqa: S608
        if low is None:
            return "keys", (1, 0, 1)
        parts = min(SPLITS_MAX, max(1, round(relation.rows / self.config.split_rows)))
        return "keys", (low, high, -(-(high - low + 1) // parts))

    def asked(
        self, relation: MariaRelation, names: Iterable[str], conditions: Conditions, ending: str
    ) -> list[tuple[Any, ...]]:
        """Ask the server."""
        names = list(names)
        listed = ", ".join(relation.order[name] for name in names)
        where = " and ".join(f"({c})" for c in conditions(self._values(relation))) or "true"
        sql = f"select {listed} from {relation.source} where {where} {ending}"  # noqa: S608 - quoted, literals
        found = list(islice(self.session.texts(sql, _ASKED_MAX), 1))
        texts = zip(*(c.to_pylist() for c in found[0]), strict=True) if found else ()
        return [tuple(relation.of_position(n, v) for n, v in zip(names, row, strict=True)) for row in texts]

    def rows(self, split: Split, since: Position | None, until: Position | None) -> Iterator[Batch]:
        """Yield the rows of a part, in the order of its key."""
        relation, schema = self.planned(split)
        by = self._ordered if relation.order else self._counted
        return by(split, relation, schema, (since, until))

    # ---- rows ---------------------------------------------------------------------------------------------------

    def _ordered(self, split: Split, relation: MariaRelation, schema: Schema, between: Between) -> Iterator[Batch]:
        """Yield rows by key, some statements one after another, each read whole before its rows are given."""
        position, end = (p["key"] if p else None for p in between)
        order, values, width = relation.order, self._values(relation), len(schema.names)
        if self.context.mode == "incremental":
            refuse_nulls(self.session.run, relation)
        refuse_twins(self.session.run, relation, self._conditions(split, relation))
        most = self.rows_wanted(self.config.fetch_rows)
        limit = min(most, _FIRST_ROWS)
        while True:
            conditions = self._conditions(split, relation)
            if position is not None:
                conditions += [_from(relation, position, values), after(relation, position, values)]
            if end is not None:
                conditions.append(up_to(relation, end, values))
            sql = select(relation.picked(schema.names), conditions, extra=list(order.values()), limit=limit)
            columns = next(self.session.texts(sql, limit), None)
            if columns is None:
                return
            count, size = len(columns[0]), sum(c.nbytes for c in columns)
            position = [relation.of_position(n, c[-1].as_py()) for n, c in zip(order, columns[width:], strict=True)]
            yield from self._batch(columns[:width], schema, split.data["stream"], {"key": position})
            if count < limit and self._following is None:  # else the end is read under the snapshot that holds there
                return
            limit = max(1, min(most, limit * 4, _STATEMENT_BYTES * count // max(1, size)))

    def _counted(self, split: Split, relation: MariaRelation, schema: Schema, between: Between) -> Iterator[Batch]:
        """Yield rows in the order in which they come; a position is how many came before."""
        done, end = (p["rows"] if p else None for p in between)
        done = done or 0
        most = self.most_wanted(ALL if end is None else end - done)
        sql = f"{select(relation.picked(schema.names), [])} limit {most} offset {done}"
        for columns in self.session.texts(sql, min(_BATCH_ROWS, self.config.fetch_rows)):
            done += len(columns[0])
            yield from self._batch(columns, schema, split.data["stream"], {"rows": done})

    def _batch(self, columns: Sequence[pa.Array], schema: Schema, stream: str, at: Position) -> Iterator[Batch]:
        self.bytes_read += sum(c.nbytes for c in columns)
        told = [c if is_bytes(arrow_type(w.type)) else _readable(c) for c, w in zip(columns, schema, strict=True)]
        return self.judged(told, schema, incoming, stream, at)

    def _conditions(self, split: Split, relation: MariaRelation) -> list[str]:
        if "window" in split.data or "missing" in split.data:
            return self.within(split, relation, self._values(relation))
        if "keys" not in split.data:
            return []
        (name,) = relation.order.values()
        low, high = split.data["keys"]
        return [f"{name} between {low:d} and {high:d}"]

    # ---- small things -------------------------------------------------------------------------------------------

    def _planned_schema(self, name: str) -> Schema:
        schema = super()._planned_schema(name)
        return schema if self._following is None else schema.select(n for n in schema.names if n not in RESERVED)

    def _values(self, relation: MariaRelation) -> Any:
        literal = self.session.literal
        return lambda column, value: relation.as_literal(column, value, literal)


@source("mysql", status="experimental", modes=("full", "incremental"), **_TRAITS)
class MysqlSource(MariaSource):
    """Reads tables, views or a query of MySQL, as the source `mariadb` does; it is not tested with MySQL itself yet."""


def _followed(session: MariaSession, config: MariaSourceConfig) -> tuple[type[MariaFollowing], Any]:
    try:
        from dataflare.connectors.mariadb.changes.following import MariaFollowing
        from dataflare.connectors.mariadb.changes.tables import followed
    except ImportError as error:
        raise UnavailableError("change capture needs numpy", hint="pip install 'dataflare[mariadb,cdc]'") from error
    return MariaFollowing, followed(session, config)


def _wrong(session: MariaSession, config: MariaSourceConfig) -> list[DataFlareError]:
    from dataflare.connectors.mariadb.changes.surroundings import wrong

    return wrong(session, config)


def _from(relation: MariaRelation, position: Sequence[Any], values: Any) -> str:
    """Return the condition by which the server finds where to begin: it cannot use an index to compare rows."""
    name, first = next(iter(relation.order.items()))
    sign = "<=" if relation.descending else ">="
    return f"{first} {sign} {values(name, position[0])}" if len(relation.order) > 1 else ""


def _readable(column: pa.Array) -> pa.Array:
    """Return texts as such where they are, so that a row that is put aside shows them."""
    try:
        return column.cast(pa.string())
    except pa.ArrowInvalid:
        return column


__all__ = ["MariaSource", "MysqlSource"]
