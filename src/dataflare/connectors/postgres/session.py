"""A connection to PostgreSQL over ADBC: statements, Arrow in by COPY, Arrow out by COPY, all in one transaction."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from dataflare.connectors.postgres.failures import translated
from dataflare.errors import DataError, ExternalError, UnavailableError
from dataflare.sql.dialect import Table
from dataflare.sql.postgres_types import POSTGRES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dataflare.connectors.postgres.settings import PostgresConfig

_FETCH_BYTES = 4 << 20
_SETTINGS = (
    "select set_config('timezone', 'UTC', false), set_config('datestyle', 'ISO', false), "
    "set_config('intervalstyle', 'postgres', false), set_config('standard_conforming_strings', 'on', false), "
    "set_config('idle_in_transaction_session_timeout', '0', false), set_config('lock_timeout', $1, false), "
    # A committed epoch must outlive a crash of the server: sources are acknowledged for it (invariant 1).
    "set_config('synchronous_commit', case current_setting('synchronous_commit') when 'off' then 'on' "
    "else current_setting('synchronous_commit') end, false)"
)
_COLUMNS = (
    "select a.attname::text, format_type(a.atttypid, a.atttypmod) from pg_attribute a "
    "join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace "
    "where n.nspname = $1::text and c.relname = $2::text and a.attnum > 0 and not a.attisdropped order by a.attnum"
)
_UNIQUE = (
    "select i.indisprimary, (select array_agg(a.attname::text order by k.n) from unnest(i.indkey::int2[]) "
    "with ordinality k(number, n) join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.number "
    "where k.n <= i.indnkeyatts) from pg_index i join pg_class c on c.oid = i.indrelid "
    "join pg_namespace n on n.oid = c.relnamespace where n.nspname = $1::text and c.relname = $2::text "
    "and i.indisunique and i.indisvalid and i.indpred is null and i.indexprs is null order by i.indisprimary desc"
)
_TABLES = (
    "select c.relname::text from pg_class c join pg_namespace n on n.oid = c.relnamespace "
    "where n.nspname = $1::text and starts_with(c.relname::text, $2::text) and c.relkind = 'r' order by 1"
)
_SCHEMA = (
    "select coalesce((select n.nspname::text from pg_class c join pg_namespace n on n.oid = c.relnamespace "
    "where c.oid = to_regclass($1::text)), current_schema()::text, 'public')"
)


@dataclass(frozen=True, slots=True)
class Described:
    """A column of an answer: its name, its type in pg_type, and the type's modifier (-1: none)."""

    name: str
    type: str
    modifier: int = -1


class PostgresSession:
    """One connection, for one thread at a time. Outside `begin` and `commit` every statement is durable at once."""

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
        self._config, self._where, self._open_transaction = config, config.shown(), False
        with self._translated():
            self._connection: Any = driver.connect(config.address(application), autocommit=True)
        try:
            self.run(_SETTINGS, (str(round(config.lock_timeout * 1000)),))
        except (ExternalError, UnavailableError):
            self.close()
            raise

    @property
    def in_transaction(self) -> bool:
        """Tell whether `begin` was called and neither `commit` nor `rollback` since."""
        return self._open_transaction

    def run(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Execute one statement; return its rows."""
        with self._translated(), self._connection.cursor() as cursor:
            cursor.execute(sql, tuple(parameters) or None)
            rows: list[tuple[Any, ...]] = cursor.fetchall()
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

    def begin(self) -> None:
        """Open a transaction."""
        self.run("begin")
        self._open_transaction = True

    def commit(self) -> None:
        """Commit. Where the connection breaks meanwhile, nobody knows; the epoch row tells after a reconnect."""
        self._open_transaction = False
        self.run("commit")

    def rollback(self) -> None:
        """Undo; a connection that is gone has undone it already."""
        if self._open_transaction:
            self._open_transaction = False
            with suppress(ExternalError):  # the server undoes what a broken connection left open
                self.run("rollback")

    def lock_definitions(self) -> None:
        """Let nobody else of us make or change tables until the transaction ends."""
        self.run("select 1 from pg_advisory_xact_lock(hashtextextended($1, 0))", ("dataflare/definitions",))

    def columns(self, table: Table) -> dict[str, str] | None:
        """Return types as SQL writes them by column."""
        return dict(self.run(_COLUMNS, (table.schema, table.name))) or None

    def tables(self, prefix: Table) -> list[str]:
        """Return tables by the beginning of their name."""
        return [name for (name,) in self.run(_TABLES, (prefix.schema, prefix.name))]

    def primary_key(self, table: Table) -> tuple[str, ...]:
        """Return the columns of the primary key in its order; other unique indexes may hold nulls."""
        found = self.run(_UNIQUE, (table.schema, table.name))
        return next((tuple(names) for primary, names in found if primary), ())

    def unique(self, table: Table, columns: Sequence[str]) -> bool:
        """Tell whether a unique index covers exactly these columns."""
        found = self.run(_UNIQUE, (table.schema, table.name))
        return any(set(names) == set(columns) for _, names in found)

    def resolved(self, schema: str, name: str) -> Table:
        """Return a table with its schema: where none is told, the one in which it is found or would be made."""
        if not schema:
            ((schema,),) = self.run(_SCHEMA, (POSTGRES.quote(name),))
        return Table(name, schema)

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


__all__ = ["Described", "PostgresSession"]
