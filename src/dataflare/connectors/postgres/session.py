"""A connection to PostgreSQL over ADBC: statements, Arrow in by COPY, Arrow out by COPY, all in one transaction."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from dataflare.connectors.postgres.failures import translated
from dataflare.connectors.postgres.statements import SETTINGS, Described, Statements
from dataflare.errors import DataError, ExternalError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dataflare.connectors.postgres.settings import PostgresConfig
    from dataflare.sql.dialect import Table

_FETCH_BYTES = 4 << 20


class PostgresSession(Statements):
    """A connection that speaks Arrow."""

    def __init__(self, config: PostgresConfig, application: str) -> None:
        """Connect; raise UnavailableError where the driver is missing or the server says no."""
        try:
            import adbc_driver_manager
            import adbc_driver_postgresql.dbapi as driver
        except ImportError as error:
            raise UnavailableError(
                "the connector needs the PostgreSQL driver", hint="pip install 'dataflare[postgres]'"
            ) from error
        self._error: type[Exception] = adbc_driver_manager.Error
        self._config, self._where = config, config.shown()
        with self._translated():
            self._connection: Any = driver.connect(config.address(application), autocommit=True)
        try:
            self.run(SETTINGS, (str(round(config.lock_timeout * 1000)),))
        except (ExternalError, UnavailableError):
            self.close()
            raise

    def run(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Execute one statement; return its rows."""
        with self._translated(), self._connection.cursor() as cursor:
            cursor.execute(sql, tuple(parameters) or None)
            rows: list[tuple[Any, ...]] = cursor.fetchall()
            return rows

    def answer(self, sql: str, parameters: Sequence[pa.Array]) -> pa.Table:
        """Return the answer of a query as Arrow; each parameter is an array of one value, which may be a list."""
        with self._translated(), self._connection.cursor() as cursor:
            cursor.execute(sql, pa.RecordBatch.from_arrays(list(parameters), [f"p{n}" for n in range(len(parameters))]))
            rows: pa.Table = cursor.fetch_arrow_table()
            return rows

    def described(self, query: str) -> list[Described]:
        """Return the columns of a query's answer, without its rows."""
        with self._translated(), self._connection.cursor() as cursor:
            cursor.execute(f"select * from {query} limit 0")  # noqa: S608 - quoted, or the user's own query
            schema: pa.Schema = cursor.fetch_arrow_table().schema
        found = []
        for field in schema:
            facts = field.metadata or {}
            name = facts.get(b"POSTGRESQL:type", b"").decode()
            found.append(Described(field.name, name, int(facts.get(b"POSTGRESQL:typmod", b"-1"))))
        return found

    def stream(self, sql: str) -> Iterator[pa.RecordBatch]:
        """Yield the answer of a query in batches, while the server still sends; stopping early cancels it."""
        options = {"adbc.postgresql.batch_size_hint_bytes": str(_FETCH_BYTES)}
        with self._translated():
            cursor = self._connection.cursor(adbc_stmt_kwargs=options)
        complete = False
        try:
            with self._translated():
                cursor.execute(sql)
                reader = cursor.fetch_record_batch()
            while True:
                with self._translated():
                    batch = next(reader, None)
                if batch is None:
                    complete = True
                    return
                yield batch
        finally:
            self._end(cursor, complete=complete)

    def ingest(self, table: Table, rows: pa.Table, *, temporary: bool = False) -> None:
        """Append rows to a table by one COPY; columns go by name, types must be the table's."""
        place = {} if temporary else {"db_schema_name": table.schema or None}
        with self._translated(), self._connection.cursor() as cursor:
            cursor.adbc_ingest(table.name, rows, mode="append", temporary=temporary, **place)

    def close(self) -> None:
        """Disconnect."""
        self._connection.close()

    def _end(self, cursor: Any, *, complete: bool) -> None:
        """Close a cursor; tell the server first to stop sending what nobody wants."""
        with suppress(self._error):  # nobody wants the answer, and the next statement tells if the connection is broken
            if not complete:
                self._connection.adbc_cancel()
            cursor.close()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Let the driver's errors leave as ours."""
        try:
            yield
        except self._error as error:
            raise translated(error, self._where, self._config.scrubbed) from None
        except pa.ArrowInvalid as error:
            raise DataError(f"{self._where}: {str(error).splitlines()[0]}", hint="see types") from None
        except OSError as error:  # what a stream raises when the connection breaks
            raise translated(error, self._where, self._config.scrubbed) from None


__all__ = ["PostgresSession"]
