"""The SQLite destination: exactly once into one table of a file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dataflare.component import destination
from dataflare.connectors.sqlite.session import SqliteSession
from dataflare.connectors.sqlite.settings import SqliteConfig, SqliteDestinationConfig
from dataflare.connectors.sqlite.values import to_values
from dataflare.formats.jsonl.encode import JsonTexts
from dataflare.plan_words import Mechanism
from dataflare.sql.ddl import create_table
from dataflare.sql.destination import SqlDestination
from dataflare.sql.dialect import Table
from dataflare.sql.files import refuse_unwritable, to_write
from dataflare.sql.sqlite_types import SQLITE
from dataflare.sql.writing import insert

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import pyarrow as pa

    from dataflare.schema import Schema

_ROWS = Table("_dataflare_rows", "temp")
_PART_ROWS = 1 << 14
"""Rows that are Python values at a time."""


@destination(
    "sqlite",
    status="beta",
    mechanisms=(Mechanism.DIRECT, Mechanism.STAGED),
    write_modes=("append", "overwrite", "merge", "insert_only", "update", "delete_insert", "scd2"),
    examples=[{"path": "shop.db", "table": "orders"}],
)
class SqliteDestination(SqlDestination[SqliteDestinationConfig]):
    """Writes rows into a table of a SQLite file, each exactly once.

    The rows of an epoch wait in a temporary table and come into the target in one transaction with the epoch's row in
    `_dataflare_epochs`. The file is locked for writing only while that transaction runs, so several destinations,
    workflows and programs can write to one file; each waits for the others up to `wait`.

    A table that is not there is made, with the key as its primary key; one that is there follows the columns that
    come: it gets those that it lacks, and wider types (`docs/tables-that-follow.md`). `merge` and `insert_only` need a
    primary key or a unique index on the key. `overwrite` loads beside the table and replaces its rows at the end of
    the run. `merge`, `scd2` and `append` take changes of rows. `docs/write-modes.md` tells what each mode does.
    Times are ISO text, decimals of more than 15 digits are text, NaN is refused. A new file gets a write-ahead log.
    It must be on a local disk.
    """

    dialect = SQLITE

    @classmethod
    def read_back(cls, config: Mapping[str, Any], schema: Schema) -> tuple[str, Mapping[str, Any]]:
        """Read the table, as the types that were written."""
        shared = {k: v for k, v in config.items() if k in (*SqliteConfig.model_fields, "table")}
        return "sqlite", {**shared, "types": {c.name: c.type for c in schema}}

    def connect(self) -> SqliteSession:
        """Open the file."""
        path = self._path()
        self._texts = JsonTexts()
        return SqliteSession(path, self.config.wait, create=self.config.create)

    def looking(self) -> SqliteSession | None:
        """Open the file to read it, if it is there."""
        path = self._path()
        refuse_unwritable(path)
        if not path.exists() or not path.stat().st_size:
            return None
        return SqliteSession(path, self.config.wait, write=False)

    def target(self) -> Table:
        """Return the table; SQLite has no schemas."""
        return Table(self.config.table)

    def prepare_session(self) -> None:
        """Make the temporary table; it is not in the file, so filling it locks nobody out."""
        self.session.run(create_table(SQLITE, _ROWS, self.schema, numbered=self.way.numbers_rows))
        self._rows = 0

    def load(self, rows: pa.Table) -> None:
        """Put rows into the temporary table."""
        statement = insert(SQLITE, _ROWS, self.schema.names)
        session = self._sqlite()
        for start in range(0, rows.num_rows, _PART_ROWS):
            part = rows.slice(start, _PART_ROWS)
            columns = [to_values(part.column(c), c, self._texts) for c in part.column_names]
            session.fill(statement, zip(*columns, strict=True))
        self._rows += rows.num_rows

    def bring(self) -> None:
        """Move the rows of the temporary table into the target."""
        if self._rows:
            self.move_from([_ROWS])

    def stage(self, table: Table) -> int:
        """Move the rows of the temporary table into a staging table of the file."""
        rows = self._rows
        if rows:
            session = self.session
            session.begin()
            names = SQLITE.listed(self.schema.names)
            session.run(create_table(SQLITE, table, self.schema, numbered=self.way.numbers_rows))
            into = f"insert into {SQLITE.reference(table)} ({names})"
            session.run(f"{into} select {names} from {SQLITE.reference(_ROWS)} order by rowid")  # noqa: S608
            session.commit()
            self.forget()
        return rows

    def forget(self) -> None:
        """Empty the temporary table."""
        if getattr(self, "_rows", 0):
            self._rows = 0
            self.session.run(f"delete from {SQLITE.reference(_ROWS)}")  # noqa: S608 - a name of our own

    def copy_definition(self, table: Table, fresh: Table) -> None:
        """Make it for the rows; the target's own constraints hold when its rows are replaced."""
        del table
        self.session.run(create_table(SQLITE, fresh, self.schema))

    def swap(self, fresh: Table, table: Table) -> None:
        """Replace the rows: the table with its indexes, triggers and views stays what it is."""
        session = self.session
        names = SQLITE.listed(self.schema.names)
        into = f"insert into {SQLITE.reference(table)} ({names})"
        session.run(f"delete from {SQLITE.reference(table)}")  # noqa: S608
        session.run(f"{into} select {names} from {SQLITE.reference(fresh)}")  # noqa: S608
        session.run(f"drop table {SQLITE.reference(fresh)}")

    def close(self) -> None:
        """Close the file."""
        super().close()
        if hasattr(self, "_texts"):
            self._texts.close()

    def _path(self) -> Path:
        return to_write(self.context.path(self.config.path), create=self.config.create)

    def _sqlite(self) -> SqliteSession:
        session = self.session
        assert isinstance(session, SqliteSession)
        return session


__all__ = ["SqliteDestination"]
