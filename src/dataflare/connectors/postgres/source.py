"""The PostgreSQL source: tables, views or a query, whole or only what is new, or the changes of tables."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from dataflare.batch import Batch, Encoded, Position
from dataflare.component import Split, Stream, source
from dataflare.component.deviations import Contract
from dataflare.connectors.postgres.changes.administering import Administered
from dataflare.connectors.postgres.changes.looking import wrong
from dataflare.connectors.postgres.changes.settling import settled_place
from dataflare.connectors.postgres.changes.tables import planned_schema
from dataflare.connectors.postgres.copying import CODEC, CopySession
from dataflare.connectors.postgres.passing import CopyReader
from dataflare.connectors.postgres.relations import PostgresRelation, relations
from dataflare.connectors.postgres.session import PostgresSession
from dataflare.connectors.postgres.settings import PostgresSourceConfig
from dataflare.connectors.postgres.statements import Statements
from dataflare.connectors.postgres.texts import has_texts, parsed
from dataflare.connectors.postgres.values import INFINITY, incoming, is_infinite
from dataflare.errors import UnavailableError, WorkflowError
from dataflare.expression.keys import key_groups
from dataflare.plan_words import FOLLOWING
from dataflare.sql.hashing import POSTGRES_HASHING
from dataflare.sql.patterns import find_tables
from dataflare.sql.proving import refuse_nulls, refuse_twins
from dataflare.sql.reading import after, at_least, select, up_to
from dataflare.sql.source import SPLITS_MAX, SqlSource

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from dataflare.component import Lag, Reread
    from dataflare.component.contract import MaybeAsync
    from dataflare.connectors.postgres.changes.following import Following
    from dataflare.connectors.postgres.copying import Form
    from dataflare.errors import DataFlareError
    from dataflare.schema import Schema
    from dataflare.sql.incremental import Conditions
    from dataflare.sql.source import Range

Between = tuple[Position | None, Position | None]
SPLIT_BLOCKS, FETCH_BLOCKS = 4096, 512
"""A table without a key is read by blocks of 8 KiB: 32 MiB a split, 4 MiB a statement."""


@source(
    "postgres",
    status="beta",
    replay="exact",
    modes=("full", "incremental", *FOLLOWING),
    pushdown=("columns", "predicate", "limit"),
    codecs=(CODEC,),
    examples=[
        {"url": "postgresql://app@localhost/shop", "password": "${secret:pg/PASSWORD}", "tables": ["public.orders"]}
    ],
)
class PostgresSource(Administered, SqlSource[PostgresSourceConfig, Statements, PostgresRelation]):
    """Reads tables, views or a query of PostgreSQL, by COPY straight into Arrow.

    What goes straight into tables of PostgreSQL, with no node between, is not even parsed: the bytes of COPY pass
    through. That needs rows that can be cut into ranges (a primary key, a `key`, or a table and not a view) and no
    numeric without precision; `dataflare plan` says whether it is so.

    A table with a primary key (or a `key`) is read in its order, in ranges that tasks share; a position is the key of
    the last row, so a resume goes on exactly there, and no row is read twice even while others write to the table. A
    table without a key is read by blocks on disk: exact as long as nobody changes it meanwhile. A view or a query
    without `key` is read in the order in which the server yields it: give it an `order by` that is unique, or a `key`.
    No statement reads more than `fetch_rows` rows, so a slow destination never holds a snapshot for long.

    `mode: incremental` reads rows whose `cursor_field` is newer than what earlier runs have read. The column must be
    one that grows; rows in which it is null are left out and told, unless `missing` says otherwise; rows that come with
    an older value are found as far as `lag` reaches.

    `mode: cdc` follows tables: each insert, update and delete that is committed comes as a row, once, in order.
    `mode: hybrid` reads the tables first, side by side and while others write to them, and then follows them, without a
    gap and without a change twice. Both need `wal_level = logical`, a key or `replica identity full` for each table,
    and `pip install 'dataflare[cdc]'`; publication and slot are made where they are not there. The server keeps its log
    until the workflow has read it, so drop the slot when the workflow is not wanted any more.

    A numeric without precision is read as decimal(38,9); types that Arrow lacks are read as text; `types` says
    otherwise. A value that does not fit fails: nothing is rounded. TLS that `sslmode` asks for is verified.
    """

    hashing = POSTGRES_HASHING
    _reader: CopyReader | None = None
    _following: Following | None = None
    _speaks_text = True
    groups = staticmethod(key_groups)

    def connected(self) -> Statements:
        """Connect by the driver that is there at once; the other one reads all types of the server first."""
        if self.config.query or not self.config.copies():
            return PostgresSession(self.config, self._application())
        return CopySession(self.config, self._application())

    def relations(self, session: Statements) -> dict[str, PostgresRelation]:
        """Ask the server."""
        contract = Contract(self.context, "table")
        gently = contract.puts_aside() or contract.empties()
        if self.context.mode in FOLLOWING:
            tables = self.fit(session, gently=gently)
            self._following = _following()(self, tables)
            return {name: table.relation for name, table in tables.items()}
        return relations(session, self.config, gently=gently)

    def tables(self, session: Statements, schema: str) -> Sequence[str]:
        """Ask the server."""
        return session.whole_tables(schema)

    def check(self) -> list[DataFlareError]:
        """Look at each table, and whether changes can be followed where that is the mode."""
        if self.context.mode not in FOLLOWING:
            return super().check()
        session = self.connected()
        try:
            find_tables(self, session)
            return wrong(session, self.config, self.context)
        finally:
            session.close()

    def streams(self) -> Mapping[str, Stream]:
        """Ask the database."""
        found = super().streams()
        if self._following is None:
            return found
        return self._following.streams({name: stream.schema for name, stream in found.items()})

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

    def settled_place(self) -> str:
        """Wait for the transactions that are open now."""
        return settled_place(self.session, self.context.runtime.clock)

    def acknowledge(self, positions: Mapping[str, Position]) -> None:
        """Let the server forget changes that are committed."""
        if self._following is not None:
            self._following.acknowledge(positions)

    def shown(self, value: Any) -> Any:
        """Return a value, infinity by its name."""
        return INFINITY if is_infinite(value) else super().shown(value)

    def lag(self) -> Lag | None:
        """Return how far the slot and its reader are behind, for changes."""
        return None if self._following is None else self._following.lag()

    def ask(self, requests: Sequence[Reread]) -> None:
        """Read tables again beside their changes."""
        if self._following is not None:
            self._following.ask(requests)

    def answered(self) -> Sequence[str]:
        """Return the requests that are done."""
        return () if self._following is None else self._following.answered()

    def codecs(self, relation: PostgresRelation) -> tuple[str, ...]:
        """Offer bytes of what comes in ranges, and of exactly the types that the plan names."""
        in_ranges = relation.order or (relation.blocks and self.context.mode != "incremental")
        return (CODEC,) if in_ranges and relation.copied and self.config.copies() else ()

    def numbers(self, relation: PostgresRelation) -> tuple[str, Range] | None:
        """Cut a table by its key, where that is a whole number, or by its blocks."""
        refuse_nulls(self.session.run, relation)
        if not relation.order and relation.blocks:
            return "blocks", (0, relation.blocks - 1, SPLIT_BLOCKS)
        if relation.whole_key() is None:
            return None
        (name,) = relation.order.values()
        ((low, high),) = self.session.run(f"select min({name})::int8, max({name})::int8 from {relation.source}")  # noqa: S608
        if low is None:
            return "keys", (1, 0, 1)
        parts = min(SPLITS_MAX, max(1, round(relation.rows / self.config.split_rows)))
        return "keys", (low, high, -(-(high - low + 1) // parts))

    def asked(
        self, relation: PostgresRelation, names: Iterable[str], conditions: Conditions, ending: str
    ) -> list[tuple[Any, ...]]:
        """Ask the server."""
        listed = ", ".join(relation.as_json(name) for name in names)
        where = " and ".join(f"({c})" for c in conditions(relation.value)) or "true"
        return self.session.run(f"select {listed} from {relation.source} where {where} {ending}")  # noqa: S608 - quoted

    def rows(self, split: Split, since: Position | None, until: Position | None) -> Iterator[Batch]:
        """Yield the rows of a part, in the order of its key."""
        relation, schema = self.planned(split)
        if self.context.hints.codec == CODEC:
            return self._passed(split, relation, schema, (since, until))
        if not (relation.order or "blocks" in split.data):
            return self._counted(split, relation, schema, (since, until))
        few = self.context.hints.hashed is not None  # one statement, not several that each look for the next of few
        if self._speaks_text and self.config.copies() and has_texts(schema) and not few:
            return self._by_texts(split, relation, schema, (since, until))
        return self._by_arrow(split, relation, schema, (since, until))

    def close(self) -> None:
        """Disconnect."""
        if self._following is not None:
            self._following.close()
        super().close()
        self._reader = None

    # ---- rows ---------------------------------------------------------------------------------------------------

    def _by_texts(self, split: Split, relation: PostgresRelation, schema: Schema, between: Between) -> Iterator[Batch]:
        """Yield rows that come as texts; once a value is none that Arrow reads so, rows come as Arrow from there on."""
        since, until = between
        for data, position in self._parts(split, relation, schema.names, between, "csv"):
            rows = parsed(data, schema)
            if rows is None:
                self._speaks_text, self._reader = False, None
                yield from self._by_arrow(split, relation, schema, (since, until))
                return
            since = position
            yield Batch(rows, split.data["stream"], position)

    def _by_arrow(self, split: Split, relation: PostgresRelation, schema: Schema, between: Between) -> Iterator[Batch]:
        by = self._by_blocks if "blocks" in split.data else self._ordered
        return by(split, relation, schema, between)

    def _ordered(self, split: Split, relation: PostgresRelation, schema: Schema, between: Between) -> Iterator[Batch]:
        """Yield rows by key, some statements one after another."""
        position, end = (p["key"] if p else None for p in between)
        self._refuse_wrong_keys(relation, self._conditions(split, relation))
        there = {name: schema.names.index(name) for name in relation.order if relation.is_whole(name, schema)}
        asked = [name for name in relation.order if name not in there]
        extra = [f"{relation.as_json(name)} as k{n}" for n, name in enumerate(asked)]
        at = {**there, **{name: len(schema.columns) + n for n, name in enumerate(asked)}}
        while True:
            conditions = self._conditions(split, relation)
            if position is not None:
                conditions.append(after(relation, position, relation.value))
            if end is not None:
                conditions.append(up_to(relation, end, relation.value))
            limit, count = self.rows_wanted(self.config.fetch_rows), 0
            sql = select(relation.picked(schema.names), conditions, extra=extra, limit=limit)
            for rows in self._arrow().stream(sql):
                count += rows.num_rows
                if rows.num_rows:
                    position = [rows.column(at[name])[-1].as_py() for name in relation.order]
                    yield from self._batch(rows, schema, split.data["stream"], {"key": position})
            if count < limit:
                return

    def _passed(self, split: Split, relation: PostgresRelation, schema: Schema, between: Between) -> Iterator[Batch]:
        """Yield rows as bytes; positions are those of rows that are read by key or by blocks."""
        name = split.data["stream"]
        same = all(c.name in relation.schema and relation.schema[c.name].type == c.type for c in schema)
        if not (relation.copied and same and (relation.order or "blocks" in split.data)):
            raise WorkflowError(f"{name or 'the table'} changed since the workflow was planned", hint="run it again")
        for data, position in self._parts(split, relation, schema.names, between, "binary"):
            yield Batch(data, name, position)

    def _parts(
        self, split: Split, relation: PostgresRelation, names: Sequence[str], between: Between, form: Form
    ) -> Iterator[tuple[Encoded, Position]]:
        """Yield bytes of COPY, each part with the position after it."""
        since, until = between
        if self._reader is None:
            self._reader = CopyReader(self._copying(), self.rows_wanted(self.config.fetch_rows), form)
        reader = self._reader
        parts: Iterator[tuple[Encoded, Position]]
        if "blocks" in split.data:
            low, high = self._blocks(split, between)
            parts = ((data, {"block": low}) for data, low in reader.by_blocks(relation, names, low, high))
        else:
            conditions = self._conditions(split, relation)
            self._refuse_wrong_keys(relation, conditions)
            if "keys" in split.data and "where" not in split.data:
                low, high = split.data["keys"]
                low, high = since["key"][0] + 1 if since else low, until["key"][0] if until else high
                found = reader.numbered(relation, names, low, high)
            else:
                if until:
                    conditions.append(up_to(relation, until["key"], relation.value))
                found = reader.ordered(relation, names, conditions, since["key"] if since else None)
            parts = ((data, {"key": key}) for data, key in found)
        for data, position in parts:
            self.bytes_read = reader.bytes_read
            yield data, position

    def _conditions(self, split: Split, relation: PostgresRelation) -> list[str]:
        if "window" in split.data or "missing" in split.data:
            return self.within(split, relation, relation.value)
        found = [relation.condition(split.data["where"])] if "where" in split.data else []
        if "between" in split.data:
            low, high = split.data["between"]
            found += [at_least(relation, low, relation.value)] if low is not None else []
            return [*found, *([up_to(relation, high, relation.value)] if high is not None else [])]
        if "keys" not in split.data:
            return found
        (name,) = relation.order
        low, high = split.data["keys"]
        return [*found, f"{relation.order[name]} between {relation.value(name, low)} and {relation.value(name, high)}"]

    def _by_blocks(self, split: Split, relation: PostgresRelation, schema: Schema, between: Between) -> Iterator[Batch]:
        """Yield rows by blocks on disk; a position is the next block."""
        low, high = self._blocks(split, between)
        while low <= high:
            # Not one block more than planned, and the same steps however often the split is resumed.
            last = min(low + FETCH_BLOCKS - 1, high)
            condition = f"ctid >= '({low},0)'::tid and ctid < '({last + 1},0)'::tid"
            parts = list(self._arrow().stream(select(relation.picked(schema.names), [condition])))
            low = last + 1
            rows = pa.Table.from_batches(parts) if parts else None
            if rows is not None and rows.num_rows:
                yield from self._batch(rows, schema, split.data["stream"], {"block": low})

    @staticmethod
    def _blocks(split: Split, between: Between) -> tuple[int, int]:
        low, high = split.data["blocks"]
        return between[0]["block"] if between[0] else low, between[1]["block"] - 1 if between[1] else high

    def _counted(self, split: Split, relation: PostgresRelation, schema: Schema, between: Between) -> Iterator[Batch]:
        """Yield rows in the order in which they come; a position is how many came before."""
        done, end = (p["rows"] if p else None for p in between)
        done = done or 0
        limit = f" limit {end - done}" if end is not None else ""
        sql = f"{select(relation.picked(schema.names), [])}{limit} offset {done}"
        for rows in self._arrow().stream(sql):
            if rows.num_rows:
                done += rows.num_rows
                yield from self._batch(rows, schema, split.data["stream"], {"rows": done})

    def _batch(self, rows: Any, schema: Schema, stream: str, position: Position) -> Iterator[Batch]:
        table = pa.Table.from_batches([rows]) if isinstance(rows, pa.RecordBatch) else rows
        self.bytes_read += table.nbytes
        columns = [table.column(number).combine_chunks() for number in range(len(schema.names))]
        return self.judged(columns, schema, incoming, stream, position)

    def _refuse_wrong_keys(self, relation: PostgresRelation, conditions: list[str]) -> None:
        if self.context.mode == "incremental":
            refuse_nulls(self.session.run, relation)
        refuse_twins(self.session.run, relation, conditions)

    # ---- small things -------------------------------------------------------------------------------------------

    def _arrow(self) -> PostgresSession:
        """Return a connection that yields Arrow, instead of the one that there is."""
        session = self.session
        if not isinstance(session, PostgresSession):
            session.close()
            session = self._session = PostgresSession(self.config, self._application())
            self._took(session)
        return session

    def _copying(self) -> CopySession:
        """Return a connection that yields bytes, instead of the one that there is."""
        session = self.session
        if not isinstance(session, CopySession):
            session.close()
            session = self._session = CopySession(self.config, self._application())
            self._took(session)
        return session

    def _took(self, session: Statements) -> None:
        if self._following is not None:
            self._following.connected(session)

    def _planned_schema(self, name: str) -> Schema:
        schema = super()._planned_schema(name)
        return schema if self._following is None else planned_schema(schema)

    def _application(self) -> str:
        return f"dataflare {self.context.workflow}/{self.context.node}"[:63]


def _following() -> type[Following]:
    try:
        from dataflare.connectors.postgres.changes.following import Following
    except ImportError as error:
        raise UnavailableError("change capture needs numpy", hint="pip install 'dataflare[cdc]'") from error
    return Following


__all__ = ["PostgresSource"]
