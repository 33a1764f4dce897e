"""The DuckDB destination: exactly once into one table of a file."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from dataflare.component import destination
from dataflare.component.slot import Slot
from dataflare.connectors.duckdb.conversions import converted
from dataflare.connectors.duckdb.instance import make_file
from dataflare.connectors.duckdb.rebuilding import rebuilding
from dataflare.connectors.duckdb.session import MAIN, DuckdbSession
from dataflare.connectors.duckdb.settings import DuckdbConfig, DuckdbDestinationConfig
from dataflare.errors import WorkflowError
from dataflare.plan_words import Mechanism
from dataflare.sql.ddl import create_table
from dataflare.sql.destination import SqlDestination
from dataflare.sql.dialect import Table
from dataflare.sql.duckdb_types import DUCKDB
from dataflare.sql.files import refuse_unwritable, to_write
from dataflare.sql.naming import stage_table
from dataflare.sql.quoting import split_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import pyarrow as pa

    from dataflare.component.alteration import Alteration
    from dataflare.schema import Column, Schema

_ROWS = Table("_dataflare_rows", "temp")
_INCOMING = "_dataflare_incoming"
_NAME = r'(?:[^\s."(]+|"(?:[^"]|"")*")'
_HEAD = re.compile(rf"CREATE TABLE {_NAME}(?:\.{_NAME})*\s*(\(.*)", re.DOTALL)
"""What stands in a table's definition before its columns."""


@destination(
    "duckdb",
    status="beta",
    mechanisms=(Mechanism.DIRECT, Mechanism.STAGED),
    write_modes=("append", "overwrite", "merge", "insert_only", "update", "delete_insert", "scd2"),
    examples=[{"path": "lake.duckdb", "table": "orders"}],
)
class DuckdbDestination(SqlDestination[DuckdbDestinationConfig]):
    """Writes rows into a table of a DuckDB file, each exactly once, as Arrow: no row becomes a Python value.

    As the only database destination of a workflow it writes into the table itself, in one transaction an epoch;
    otherwise rows wait in staging tables of the file. Either way the epoch's row in `_dataflare_epochs` (in the
    table's schema) is committed with the rows. A commit is on the disk before its source is acknowledged.

    One process at a time can have a DuckDB file open for writing, and nobody else can read it meanwhile. Within a
    process all sources and destinations of a file share it, with the memory and the threads of the first one's budget.

    A table that is not there is made, with the key as its primary key; one that is there follows the columns that
    come: it gets those that it lacks, and wider types (`docs/tables-that-follow.md`). `merge` and `insert_only` need a
    primary key or a unique index on the key. `overwrite` loads beside the table and takes its place at the end of
    the run; where keys, indexes, defaults or comments hang on the table, its rows are replaced instead. `merge`,
    `scd2` and `append` take changes of rows. `docs/write-modes.md` tells what each mode does.

    Lists, structs and maps stay what they are. Values are fitted to the columns' types; one that does not fit fails:
    nothing is cut or rounded, but floats by columns of fewer digits.
    """

    dialect = DUCKDB

    @classmethod
    def read_back(cls, config: Mapping[str, Any], schema: Schema) -> tuple[str, Mapping[str, Any]]:
        """Read the table, as the types that were written."""
        shared = {k: v for k, v in config.items() if k in (*DuckdbConfig.model_fields, "table")}
        return "duckdb", {**shared, "types": {c.name: c.type for c in schema}}

    def connect(self) -> DuckdbSession:
        """Open the file; make it if it is not there."""
        path = self._path()
        self._stage: Table | None = None
        self._rows = self._staged_rows = 0
        make_file(path)
        return DuckdbSession(path, self.context.budget, write=True)

    def looking(self) -> DuckdbSession | None:
        """Open the file to read it, if it is there."""
        path = self._path()
        refuse_unwritable(path)
        return DuckdbSession(path, self.context.budget, write=False) if path.exists() else None

    def target(self) -> Table:
        """Return the table; its schema must be there."""
        schema, name = split_name(self.config.table)
        sql = "select schema_name from duckdb_schemas() where database_name = current_database()"
        known = [name for (name,) in self.session.run(sql)]
        if schema and schema not in known:
            what = f"there is no schema {schema} in {self.config.path}"
            raise WorkflowError(what, hint=f"make it: create schema {schema}")
        return Table(name, "" if schema == MAIN else schema)

    def prepare_session(self) -> None:
        """Learn the types of the target; make the temporary table where rows cannot go straight into it."""
        session = self._duckdb()
        self._there = session.columns(self.table) or {}
        self._slot = Slot(self.arrow_schema)
        session.register(_INCOMING, self._slot)
        if self.context.mechanism is Mechanism.DIRECT and not self.way.is_straight:
            session.run(
                create_table(DUCKDB, Table(_ROWS.name), self.schema, kind="temporary table", numbered=self._numbers)
            )

    def expression(self, column: Column, into: str) -> str:
        """Convert where the type of the column is not that of staging tables."""
        return converted(column.name, column.type, self._there[into])

    def altering(self, alteration: Alteration) -> Sequence[str]:
        """What DuckDB does not alter is made anew."""
        return rebuilding(self._duckdb(), self.table, alteration)

    def load(self, rows: pa.Table) -> None:
        """Insert rows into the target, or where they wait."""
        session = self.session
        if self.context.mechanism is not Mechanism.DIRECT:
            self._begin()
            self._insert(rows, self._staging_table(), self._staged_rows)
            self._staged_rows += rows.num_rows
        elif self.way.is_straight:
            self._begin()
            values = ", ".join(self.expression(c, c.name) for c in self.schema)
            names, into = DUCKDB.listed(self.schema.names), DUCKDB.reference(self.destination_table())
            with self._slot.holding(rows):
                session.run(f"insert into {into} ({names}) select {values} from {_INCOMING}")  # noqa: S608 - quoted
        else:
            self._insert(rows, _ROWS, self._rows)
            self._rows += rows.num_rows

    def bring(self) -> None:
        """Move the rows of the temporary table into the target."""
        if self._rows:
            self.move_from([_ROWS])

    def stage(self, table: Table) -> int:
        """Give the staging table its final name and commit it."""
        rows, stage = self._staged_rows, self._stage
        self._staged_rows, self._stage = 0, None
        if stage is not None:
            session = self.session
            session.run(f"alter table {DUCKDB.reference(stage)} rename to {DUCKDB.quote(table.name)}")
            session.commit()
        return rows

    def forget(self) -> None:
        """Empty the temporary table."""
        if self._rows:
            self._rows = 0
            self.session.run(f"delete from {DUCKDB.reference(_ROWS)}")  # noqa: S608 - a name of our own

    def copy_definition(self, table: Table, fresh: Table) -> None:
        """Make a table with the columns of the other one; its constraints hold when its rows are replaced."""
        found = self.session.run(
            "select column_name, data_type, is_nullable, column_default from duckdb_columns() where database_name = "
            "current_database() and schema_name = $1 and table_name = $2 order by column_index",
            (table.schema or MAIN, table.name),
        )
        own = self.shape.target.names
        lines = [
            f"{DUCKDB.quote(name)} {kind}{'' if nullable else ' not null'}"
            for name, kind, nullable, default in found
            if name in own or (nullable and default is None)
        ]
        self.session.run(f"create table if not exists {DUCKDB.reference(fresh)} ({', '.join(lines)})")

    def swap(self, fresh: Table, table: Table) -> None:
        """Take the table's place where nothing hangs on it; else replace its rows."""
        session, of, copy = self.session, DUCKDB.reference(table), DUCKDB.reference(fresh)
        if self._is_plain(fresh, table):
            session.run(f"drop table {of}")
            session.run(f"alter table {copy} rename to {DUCKDB.quote(table.name)}")
            return
        names = DUCKDB.listed(list(session.columns(fresh) or {}))
        session.run(f"delete from {of}")  # noqa: S608 - quoted
        session.run(f"insert into {of} ({names}) select {names} from {copy}")  # noqa: S608
        session.run(f"drop table {copy}")

    # ---- small things -------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        if not self.session.in_transaction:
            self.session.begin()

    @property
    def _numbers(self) -> bool:
        return self.way.numbers_rows

    def _insert(self, rows: pa.Table, table: Table, before: int) -> None:
        """Insert rows as they are into a table of our own, numbered behind those that are there."""
        names = DUCKDB.listed(self.schema.names)
        number = f", row_number() over () + {before}" if self._numbers else ""
        listed = f"{names}, {DUCKDB.ordinal}" if self._numbers else names
        with self._slot.holding(rows):
            into = f"insert into {DUCKDB.reference(table)} ({listed})"
            self.session.run(f"{into} select {names}{number} from {_INCOMING}")  # noqa: S608 - quoted

    def _staging_table(self) -> Table:
        if self._stage is None:
            part = f"{self.context.index}_open"
            self._stage = Table(stage_table(self._owner, self.context.attempt, 0, part), self.table.schema)
            self.session.run(create_table(DUCKDB, self._stage, self.schema, numbered=self._numbers))
        return self._stage

    def _is_plain(self, fresh: Table, table: Table) -> bool:
        """Tell whether nothing is lost when one table takes the other's place: both are defined alike."""
        schema = table.schema or MAIN
        sql = (
            "select table_name, sql, comment is null and index_count = 0 from duckdb_tables() "
            "where database_name = current_database() and schema_name = $1 and table_name in ($2, $3)"
        )
        found = {name: (text, bare) for name, text, bare in self.session.run(sql, (schema, fresh.name, table.name))}
        ((commented,),) = self.session.run(
            "select count(*) from duckdb_columns() where database_name = current_database() and schema_name = $1 "
            "and table_name = $2 and comment is not null",
            (schema, table.name),
        )
        bodies = {match[1] for text, _ in found.values() if (match := _HEAD.match(text))}
        return not commented and len(bodies) == 1 and all(bare for _, bare in found.values())

    def _path(self) -> Path:
        return to_write(self.context.path(self.config.path), create=self.config.create)

    def _duckdb(self) -> DuckdbSession:
        session = self.session
        assert isinstance(session, DuckdbSession)
        return session


__all__ = ["DuckdbDestination"]
