"""A connection to a DuckDB file; its errors leave as ours."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from dataflare.connectors.duckdb.failures import translation
from dataflare.connectors.duckdb.instance import INSTANCES
from dataflare.disk import sync_folder
from dataflare.errors import UnavailableError
from dataflare.expression.session import as_engine_error
from dataflare.sql.dialect import Defined
from dataflare.sql.duckdb_types import DUCKDB, type_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import duckdb
    import pyarrow as pa

    from dataflare.component import Budget
    from dataflare.sql.dialect import Table

MAIN = "main"
_KNOWN = re.compile(
    r"(BOOLEAN|U?(TINY|SMALL|BIG|HUGE)INT|U?INTEGER|FLOAT|DOUBLE|DECIMAL.*|VARCHAR|BLOB|DATE|TIME"
    r"|TIMESTAMP( WITH TIME ZONE)?|INTERVAL|JSON|STRUCT.*|MAP.*)(\[\])*",
    re.DOTALL,
)
"""Types whose text says all that they hold."""


class DuckdbSession:
    """One connection, for one thread at a time, whichever thread that is.

    All connections of a process to a file share one instance, with the memory and the threads of the first budget.
    """

    def __init__(self, path: Path, budget: Budget, *, write: bool) -> None:
        """Open the file, which must be there."""
        self._path = path
        self._cursor: duckdb.DuckDBPyConnection | None = None
        self._is_open = self._locks = False
        self._log = 0
        self._instance = INSTANCES.admit(path, self, budget, write=write)

    @property
    def connection(self) -> duckdb.DuckDBPyConnection:
        """The connection."""
        if self._cursor is None:
            self._cursor = self._instance.cursor()
        return self._cursor

    @property
    def in_transaction(self) -> bool:
        """Tell whether a transaction is open."""
        return self._is_open

    def run(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Execute one statement; return its rows."""
        with self._translated(), self._instance.statement():
            found: list[tuple[Any, ...]] = self.connection.execute(sql, list(parameters) or None).fetchall()
            return found

    def written(self, sql: str) -> int:
        """Return what DuckDB answers to an insert: how many rows there were."""
        return int(self.run(sql)[0][0])

    def described(self, query: str) -> dict[str, Any]:
        """Return the types of a query's columns, as DuckDB tells them, by name; names are unique."""
        with self._translated(), self._instance.statement():
            columns = self.connection.execute(f"select * from {query} limit 0").description or []  # noqa: S608 - quoted
            return {column[0]: column[1] for column in columns}

    def is_query(self, text: str) -> bool:
        """Tell whether a text is one SELECT; raise WorkflowError where it is no SQL."""
        import duckdb

        with self._translated():
            return [s.type for s in self.connection.extract_statements(text)] == [duckdb.StatementType.SELECT]

    def register(self, name: str, rows: Any) -> None:
        """Let statements read what exports an Arrow stream."""
        with self._translated():
            self.connection.register(name, rows)

    def table(self, sql: str) -> pa.Table:
        """Run a query; return its rows as they are in Arrow, without another copy."""
        with self._translated(), self._instance.statement():
            return self.connection._submit(sql, None, "arrow", 1 << 20).arrow_table()  # noqa: SLF001 - as expression.session

    def stream(self, sql: str, rows_max: int) -> Iterator[pa.RecordBatch]:
        """Run a query; yield its rows in batches of at most so many. The file stays as it is open meanwhile."""
        with self._reading(), self._translated():
            yield from self.connection._submit(sql, None, "stream", rows_max).arrow_reader()  # noqa: SLF001

    def begin(self) -> None:
        """Open a transaction."""
        self.run("begin transaction")
        self._is_open = True

    def commit(self) -> None:
        """Commit: DuckDB writes its log through to the disk, and here a log that is new."""
        self.run("commit")
        self._ended()
        self._sync_log()

    def rollback(self) -> None:
        """Undo."""
        import duckdb

        if self._is_open:
            try:
                self.connection.execute("rollback")
            except duckdb.Error:
                self.let_go()  # closing undoes as well
            self._ended()

    def lock_definitions(self) -> None:
        """Keep others of this process from making tables; there is no other process."""
        if not self._locks:
            self._instance.definitions.acquire()
            self._locks = True

    def columns(self, table: Table) -> dict[str, str] | None:
        """Return DuckDB's types by column."""
        rows = self.run(
            "select column_name, data_type from duckdb_columns() where database_name = current_database() "
            "and schema_name = $1 and table_name = $2 order by column_index",
            (table.schema or MAIN, table.name),
        )
        return dict(rows) if rows else None

    def definitions(self, table: Table) -> dict[str, Defined]:
        """Return columns with their types."""
        rows = self.run(
            "select column_name, data_type, is_nullable from duckdb_columns() where database_name = current_database() "
            "and schema_name = $1 and table_name = $2 order by column_index",
            (table.schema or MAIN, table.name),
        )
        if not rows:
            return {}
        kinds, keys = self.described(DUCKDB.reference(table)), self.primary_key(table)
        return {
            name: Defined(
                name,
                kind,
                type_text(kinds[name]),
                required=not nullable,
                primary=name in keys,
                fixed=not _KNOWN.fullmatch(kind),
            )
            for name, kind, nullable in rows
        }

    def tables(self, prefix: Table) -> list[str]:
        """Return tables by the beginning of their name."""
        rows = self.run(
            "select table_name from duckdb_tables() where database_name = current_database() and schema_name = $1 "
            "and starts_with(table_name, $2) order by table_name",
            (prefix.schema or MAIN, prefix.name),
        )
        return [name for (name,) in rows]

    def unique(self, table: Table, columns: Sequence[str]) -> bool:
        """Look at the keys and at unique indexes."""
        wanted = {c.lower() for c in columns}
        place = "where database_name = current_database() and schema_name = $1 and table_name = $2"
        told = (table.schema or MAIN, table.name)
        keys = self.run(
            f"select constraint_column_names from duckdb_constraints() {place} "  # noqa: S608
            "and constraint_type in ('PRIMARY KEY', 'UNIQUE')",
            told,
        )
        listed = f"select cast(expressions as varchar[]) from duckdb_indexes() {place} and is_unique"  # noqa: S608
        indexes = [(list(map(_plain, names)),) for (names,) in self.run(listed, told)]
        return any({c.lower() for c in key} == wanted for (key,) in [*keys, *indexes])

    def primary_key(self, table: Table) -> tuple[str, ...]:
        """Return the columns of the primary key, in its order."""
        rows = self.run(
            "select constraint_column_names from duckdb_constraints() where database_name = current_database() "
            "and schema_name = $1 and table_name = $2 and constraint_type = 'PRIMARY KEY'",
            (table.schema or MAIN, table.name),
        )
        return tuple(rows[0][0]) if rows else ()

    def is_table(self, table: Table) -> bool:
        """Tell whether a name is a table's, and not a view's."""
        sql = (
            "select count(*) from duckdb_tables() where database_name = current_database() and schema_name = $1 "
            "and table_name = $2"
        )
        return bool(self.run(sql, (table.schema or MAIN, table.name))[0][0])

    def let_go(self) -> None:
        """Close the cursor; the next statement takes a new one."""
        cursor, self._cursor = self._cursor, None
        if cursor is not None:
            cursor.close()

    def close(self) -> None:
        """Undo what is open; close the file behind the last one."""
        self.rollback()
        self.let_go()
        INSTANCES.dismiss(self._instance, self)

    # ---- small things -------------------------------------------------------------------------------------------

    def _ended(self) -> None:
        self._is_open = False
        if self._locks:
            self._locks = False
            self._instance.definitions.release()

    def _sync_log(self) -> None:
        """A log that DuckDB has made anew is lost with the power unless its folder is written, too."""
        log = self._path.with_name(f"{self._path.name}.wal")
        try:
            found = log.stat().st_ino
            if found != self._log:
                sync_folder(log.parent)
            self._log = found
        except FileNotFoundError:  # all of it is in the file
            self._log = 0
        except OSError as error:
            raise UnavailableError(
                f"{log}: {error.strerror}", hint="see what the system says about that disk"
            ) from error

    @contextmanager
    def _reading(self) -> Iterator[None]:
        with self._instance.lock:
            self._instance.readers += 1
        try:
            yield
        finally:
            with self._instance.lock:
                self._instance.readers -= 1

    @contextmanager
    def _translated(self) -> Iterator[None]:
        import duckdb

        try:
            yield
        except duckdb.Error as error:
            raise translation(error, self._path) from error
        except OSError as error:  # what a stream of Arrow batches makes of DuckDB's errors
            raise translation(as_engine_error(str(error)), self._path) from error


def _plain(name: str) -> str:
    """Return a name without the quotes that it may have."""
    return name[1:-1].replace('""', '"') if name[:1] == '"' else name


__all__ = ["MAIN", "DuckdbSession"]
