"""The PostgreSQL destination: exactly once into one table."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from dataflare.changes import OP
from dataflare.component import destination
from dataflare.connectors.postgres.conversions import conversion
from dataflare.connectors.postgres.copying import CODEC, CopySession
from dataflare.connectors.postgres.privileges import refused
from dataflare.connectors.postgres.session import PostgresSession
from dataflare.connectors.postgres.settings import PostgresConfig, PostgresDestinationConfig
from dataflare.connectors.postgres.statements import Described, Statements
from dataflare.connectors.postgres.values import ingest_type, outgoing
from dataflare.errors import WorkflowError
from dataflare.plan_words import Mechanism
from dataflare.schema import Column, Schema, arrow_type
from dataflare.sql.ddl import create_table
from dataflare.sql.destination import SqlDestination
from dataflare.sql.dialect import Dialect, Table
from dataflare.sql.naming import stage_table
from dataflare.sql.postgres_types import POSTGRES, POSTGRES_STAGING
from dataflare.sql.quoting import split_name
from dataflare.sql.staged_rows import Told, told_of
from dataflare.sql.ways import NEED_KEYS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from dataflare.batch import Encoded
    from dataflare.errors import DataFlareError

_ROWS = Table("_dataflare_rows", "pg_temp")


@destination(
    "postgres",
    status="beta",
    mechanisms=(Mechanism.DIRECT, Mechanism.STAGED),
    write_modes=("append", "overwrite", "merge", "insert_only", "update", "delete_insert", "scd2"),
    parallel=True,
    codecs=(CODEC,),
    examples=[
        {"url": "postgresql://app@localhost/lake", "password": "${secret:pg/PASSWORD}", "table": "public.orders"}
    ],
)
class PostgresDestination(SqlDestination[PostgresDestinationConfig]):
    """Writes rows into a table of PostgreSQL by binary COPY, each exactly once.

    As the only database destination of a workflow it writes into the table itself, in one open transaction an epoch;
    otherwise rows wait in logged staging tables beside the target. Either way the epoch's row in `_dataflare_epochs`
    (in the target's schema) is committed with the rows, under the fence of the attempt.

    A table that is not there is made, with the key as its primary key; one that is there follows the columns that
    come: it gets those that it lacks, and wider types (`docs/tables-that-follow.md`). `merge` and `insert_only` need a
    unique index on the key. `overwrite` loads beside the table and takes its place at the end of the run; where
    views, keys, grants or indexes hang on the table, its rows are replaced instead. `merge`, `scd2` and `append`
    take changes of rows. `docs/write-modes.md` tells what each mode does. What comes straight from a source of
    PostgreSQL is taken in as it is, without being parsed.

    Values are fitted to the columns' types; one that does not fit fails: nothing is cut or rounded, but by
    columns of fewer decimals for floats. TLS that `sslmode` asks for is verified.
    """

    dialect = POSTGRES

    @classmethod
    def read_back(cls, config: Mapping[str, Any], schema: Schema) -> tuple[str, Mapping[str, Any]]:
        """Read the table, as the types that were written."""
        shared = {k: v for k, v in config.items() if k in (*PostgresConfig.model_fields, "table")}
        return "postgres", {**shared, "types": {c.name: c.type for c in schema}}

    def codecs(self) -> Sequence[str]:
        """Take bytes wherever their driver understands the address."""
        return super().codecs() if self.config.copies() else ()

    def connect(self) -> Statements:
        """Connect."""
        self._stage: Table | None = None
        self._staged_rows = 0
        self._gathered = self._brought = False
        self._told = Told()
        application = f"dataflare {self.context.workflow}/{self.context.node}"[:63]
        if self.context.hints.codec == CODEC:
            return CopySession(self.config, application)
        from dataflare.formats.jsonl.encode import JsonTexts

        self._texts = JsonTexts()
        return PostgresSession(self.config, application)

    def target(self) -> Table:
        """Return the table with its schema."""
        return self._statements().resolved(*split_name(self.config.table))

    def privileges(self, table: Table) -> Iterator[DataFlareError]:
        """Ask the server what this user may do."""
        mode, schemas = self.context.write_mode, self.context.schemas.values()
        deletes = mode == "merge" and self.config.deletes == "hard" and any(OP in s for s in schemas)
        return refused(self._statements(), table, "deletes" if deletes else mode, create=self.config.create)

    def prepare_session(self) -> None:
        """Learn the types of the target, and how rows get there: straight, or over a temporary table."""
        session = self.session
        session.run(_PLANNING)
        self._there = session.columns(self.table) or {}
        if isinstance(session, CopySession):
            needed = self.way.key if self.context.write_mode in NEED_KEYS else ()  # nobody looks at the rows before
            self._staging = Schema(tuple(replace(c, nullable=c.name not in needed) for c in self.schema))
            self._make_detour(needed=any(self._expression(c, c.name) for c in self._staging))
            return
        session = self._postgres()
        names = POSTGRES.listed(self.shape.target.names)
        told = session.described(f"(select {names} from {POSTGRES.reference(self.table)}) t")  # noqa: S608
        types = {d.name: d for d in told}
        self._staging = Schema(tuple(_staging(c, types.get(c.name)) for c in self.schema))
        kinds = [(POSTGRES_STAGING.column_type(c.type), POSTGRES.quote(c.name)) for c in self._staging]
        own = session.described(f"(select {', '.join(f'null::{kind} as {name}' for kind, name in kinds)}) t")
        self._own = [ingest_type(c.type, d) for c, d in zip(self._staging, own, strict=True)]
        self._direct = [ingest_type(c.type, types[c.name]) if c.name in types else None for c in self.schema]
        self._make_detour(needed=None in self._direct)

    def expression(self, column: Column, into: str) -> str:
        """Convert where the type of the column is not that of staging tables."""
        return self._expression(self._staging[column.name], into) or POSTGRES.quote(column.name)

    def staged_columns(self) -> tuple[Dialect, Schema]:
        """Return them as `_make_staging` makes them."""
        return POSTGRES_STAGING, self._staging

    def comparable(self, column: str) -> str:
        """Compare by their texts what the server cannot compare."""
        return "::text" if self._there[column].partition("[")[0] in _INCOMPARABLE else ""

    def _expression(self, column: Column, into: str) -> str:
        return conversion(column, self._there[into])

    def load(self, rows: pa.Table) -> None:
        """Send rows by COPY, into the target or to where they wait."""
        session = self._postgres()
        with self._place(rows.num_rows) as place:
            straight = place is not _ROWS and self.context.mechanism is Mechanism.DIRECT
            kinds = self._direct if straight else self._own
            session.ingest(place, self._outgoing(rows, kinds), temporary=place is _ROWS)
            if place is _ROWS:
                self._told = told_of(rows, self.way.key)

    def load_encoded(self, rows: Encoded) -> None:
        """Send bytes by COPY, as `load` does."""
        session = self.session
        assert isinstance(session, CopySession)
        with self._place(rows.count) as place:
            session.copy_in(place, self.schema.names, rows.data, rows.count)

    def bring(self) -> None:
        """Rows that were to be gathered are not in the target yet."""
        if self._gathered:
            self._bring(Told())

    def stage(self, table: Table) -> int:
        """Give the staging table its final name and commit it."""
        rows, stage = self._staged_rows, self._stage
        self._staged_rows, self._stage = 0, None
        if stage is not None:
            session = self.session
            session.run(f"alter table {POSTGRES.reference(stage)} rename to {POSTGRES.quote(table.name)}")
            session.commit()
        return rows

    def forget(self) -> None:
        """Nothing is gathered any more."""
        self._gathered = False

    def copy_definition(self, table: Table, fresh: Table) -> None:
        """Make a table like the other one, with defaults, constraints and indexes."""
        copy, of = POSTGRES.reference(fresh), POSTGRES.reference(table)
        self.session.run(f"create table if not exists {copy} (like {of} including all)")

    def swap(self, fresh: Table, table: Table) -> None:
        """Take the table's place where nothing hangs on it; else replace its rows."""
        session, of, copy = self.session, POSTGRES.reference(table), POSTGRES.reference(fresh)
        session.run(f"lock table {of} in access exclusive mode")
        if self._is_plain(table):
            session.run(f"drop table {of}")
            session.run(f"alter table {copy} rename to {POSTGRES.quote(table.name)}")
            return
        names = POSTGRES.listed([n for n in session.columns(fresh) or {} if n not in self._generated(fresh)])
        ((referred,),) = session.run(
            "select count(*) from pg_constraint where confrelid = to_regclass($1::text) and contype = 'f'", (of,)
        )
        session.run(f"delete from {of}" if referred else f"truncate {of}")  # noqa: S608 - truncate minds foreign keys
        into = f"insert into {of} ({names}) overriding system value"
        session.run(f"{into} select {names} from {copy}")  # noqa: S608
        session.run(f"drop table {copy}")

    def close(self) -> None:
        """Disconnect."""
        super().close()
        if hasattr(self, "_texts"):
            self._texts.close()

    # ---- small things -------------------------------------------------------------------------------------------

    @contextmanager
    def _place(self, rows: int) -> Iterator[Table]:
        """Give the table that rows are sent to, inside a transaction; see to it that they get on from there."""
        session = self.session
        if not session.in_transaction:
            session.begin()
            self._brought = False
        if self.context.mechanism is not Mechanism.DIRECT:
            yield self._staging_table()
            self._staged_rows += rows
        elif not self._detour:
            yield self.destination_table()
        else:
            if self._brought:
                session.run(f"truncate {POSTGRES.reference(_ROWS)}")
            self._told, self._brought = Told(), False
            yield _ROWS
            if self.way.gathers:
                self._gathered = True
            else:
                self._bring(self._told)

    def _bring(self, told: Told) -> None:
        """Move the rows that wait; they are gone from where they waited by the end of the transaction."""
        self.move_from([_ROWS], told)
        self._brought = True

    def _make_detour(self, *, needed: bool) -> None:
        """Make a temporary table where rows cannot go straight: they are merged, or the server converts them."""
        self._detour = needed or not self.way.is_straight
        if self._detour and self.context.mechanism is Mechanism.DIRECT:
            self._make_staging(Table(_ROWS.name), "temporary table", " on commit delete rows")

    def _staging_table(self) -> Table:
        if self._stage is None:
            part = f"{self.context.index}_open"
            self._stage = Table(stage_table(self._owner, self.context.attempt, 0, part), self.table.schema)
            self._make_staging(self._stage, "table")
        return self._stage

    def _make_staging(self, table: Table, kind: str, manner: str = "") -> None:
        numbered = self.way.numbers_rows
        self.session.run(create_table(POSTGRES_STAGING, table, self._staging, kind=kind, numbered=numbered) + manner)

    def _outgoing(self, rows: pa.Table, kinds: list[pa.DataType | None]) -> pa.Table:
        columns = []
        for name, kind in zip(rows.column_names, kinds, strict=True):
            if kind is None:
                raise WorkflowError(f"{name} cannot be written to {self.table}", hint="cast it in a mapping before")
            columns.append(outgoing(rows.column(name), kind, name, self._texts))
        return pa.table(columns, names=rows.column_names)

    def _is_plain(self, table: Table) -> bool:
        """Tell whether nothing is lost when another table takes this one's place."""
        of = POSTGRES.reference(table)
        ((plain,),) = self.session.run(_PLAIN, (of,))
        return bool(plain)

    def _generated(self, table: Table) -> set[str]:
        sql = "select attname::text from pg_attribute where attrelid = to_regclass($1::text) and attgenerated != ''"
        return {name for (name,) in self.session.run(sql, (POSTGRES.reference(table),))}

    def _statements(self) -> Statements:
        session = self.session
        assert isinstance(session, Statements)
        return session

    def _postgres(self) -> PostgresSession:
        session = self.session
        assert isinstance(session, PostgresSession)
        return session


_PLANNING = "select set_config('jit', 'off', false)"
"""The server takes staging tables, which nobody has analysed, for larger than they are, and would compile for seconds
what it then does in milliseconds."""

_INCOMPARABLE = ("json", "xml", "point", "polygon", "path", "box", "line", "circle", "lseg")
"""Types without an equality that is that of their values."""

_PLAIN = """
select c.relkind = 'r' and c.relacl is null and not c.relhasindex and not c.relhastriggers and not c.relhasrules
  and not c.relrowsecurity and not c.relispartition and not c.relhassubclass and c.reloptions is null
  and c.relreplident = 'd' and pg_get_userbyid(c.relowner) = current_user
  and not exists (select 1 from pg_inherits i where i.inhrelid = c.oid)
  and not exists (select 1 from pg_description d where d.objoid = c.oid and d.classoid = 'pg_class'::regclass)
  and not exists (select 1 from pg_publication_rel p where p.prrelid = c.oid)
  and not exists (select 1 from pg_attribute a where a.attrelid = c.oid and a.attnum > 0
    and (a.attacl is not null or a.attidentity != ''))
  and not exists (select 1 from pg_depend d where d.refclassid = 'pg_class'::regclass and d.refobjid = c.oid
    and d.deptype in ('n', 'a') and d.classid != 'pg_attrdef'::regclass
    and d.classid != 'pg_constraint'::regclass)
from pg_class c where c.oid = to_regclass($1::text)
"""


def _staging(column: Column, target: Described | None) -> Column:
    """Return the staging column of a column: an array that becomes JSON waits as JSON."""
    nested = pa.types.is_nested(arrow_type(column.type))
    becomes_json = nested and target is not None and target.type in ("json", "jsonb")
    return replace(column, nullable=True, type="json" if becomes_json else column.type)


__all__ = ["PostgresDestination"]
