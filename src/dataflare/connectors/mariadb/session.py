"""A connection to MariaDB: statements, rows in by LOAD DATA, rows out as texts; its errors leave as ours."""

from __future__ import annotations

import re
import ssl
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from dataflare.connectors.mariadb.catalogue import COLUMNS, DEFINITIONS, LOCK, TABLES, UNIQUE, UNLOCK
from dataflare.connectors.mariadb.failures import translated
from dataflare.errors import DataError, DataFlareError, ExternalError, StateError, UnavailableError
from dataflare.sql.dialect import Defined, Table
from dataflare.sql.maria_types import MARIADB, MYSQL, holding, is_limited, is_plain
from dataflare.sql.quoting import split_name

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator, Sequence

    from dataflare.connectors.mariadb.settings import MariaConfig

_PARAMETER = re.compile("\0(\\d+)\0")
_DEFINES = re.compile(r"(create|drop|alter|rename|truncate)\b(?! temporary)")
_DEFINITIONS = "dataflare/definitions"


class MariaSession:
    """One connection, for one thread at a time. Outside `begin` and `commit` every statement is durable at once."""

    def __init__(self, config: MariaConfig, application: str, *, strict: bool = False, outside: bool = False) -> None:
        """Connect; raise UnavailableError where the driver is missing or the server says no.

        `strict`: values that do not fit a column are refused, whatever the server is set to. `outside`: the database is
        not entered, which takes a privilege in it.
        """
        try:
            import pymysql

            from dataflare.connectors.mariadb.wire import Wire
        except ImportError as error:
            raise UnavailableError(
                "the connector needs the driver of MariaDB", hint="pip install 'dataflare[mariadb]'"
            ) from error
        self._error: type[Exception] = pymysql.err.MySQLError
        self._config, self._where = config, config.shown()
        self._open = self._changed = self._locked = False
        self.outside = outside
        with self._translated():
            self._wire = Wire(
                **{**config.address(), **({"database": None} if outside else {})},
                charset="utf8mb4",
                autocommit=True,
                local_infile=True,
                connect_timeout=max(1, round(config.connect_timeout)),
                program_name=application,
                ssl=_tls(config),
                ssl_disabled=not config.tls,
            )
        try:
            self._settle(strict=strict)
        except DataFlareError:
            self.close()
            raise

    @property
    def in_transaction(self) -> bool:
        """Tell whether `begin` was called and neither `commit` nor `rollback` since."""
        return self._open

    def run(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Execute one statement; return its rows.

        What makes or drops tables would commit what a transaction changed: then it raises StateError instead.
        """
        defines = self._open and _DEFINES.match(sql)
        if defines and self._changed:
            raise StateError(f"{defines[0]} would commit half an epoch")
        with self._translated():
            rows = self._wire.ask(self._filled(sql, parameters))
            if defines:
                self._wire.ask("begin")
        self._changed = self._open and (self._changed or (not defines and not sql.startswith(("select", "show"))))
        return rows

    def written(self, sql: str) -> int:
        """Ask how many rows the statement has changed."""
        self.run(sql)
        return int(self._wire.affected_rows())

    def literal(self, value: Any) -> str:
        """Return a value as it stands in a statement."""
        if isinstance(value, bytes):
            return f"x'{value.hex()}'"
        return str(self._wire.escape(value))

    def send(self, sql: str, rows: memoryview, count: int) -> None:
        """Execute a `load data local` with so many rows; raise DataError if one of them is not taken as it is."""
        self._changed = self._open
        with self._translated():
            taken, warnings = self._wire.send(sql, rows)
            if taken == count and not warnings:
                return
            told = self._wire.ask("show warnings limit 1")
        if told:
            raise translated(_WarningError(*told[0][1:]), self._where, self._config.scrubbed)
        raise DataError(f"{self._where}: only {taken} of {count} rows were taken", hint="see the table's constraints")

    def texts(self, sql: str, size: int) -> Iterator[list[pa.Array]]:
        """Yield columns of a query's answer as arrays of bytes, so many rows at a time."""
        with self._translated():
            for rows in self._wire.texts(sql, size):
                yield [pa.array(column, pa.binary()) for column in zip(*rows, strict=True)]

    def described(self, sql: str) -> list[Any]:
        """Return what the driver tells of the columns of a query."""
        with self._translated():
            return self._wire.fields(sql)

    def streamed(self, command: int, body: bytes) -> socket.socket:
        """Send a command whose answer does not end; return what it comes by. Nothing else can be asked any more."""
        with self._translated():
            found: socket.socket = self._wire.streamed(command, body)
            return found

    def begin(self) -> None:
        """Open a transaction."""
        self.run("begin")
        self._open, self._changed = True, False

    def commit(self) -> None:
        """Commit. Where the connection breaks meanwhile, nobody knows; the epoch row tells after a reconnect."""
        self._open = False
        self.run("commit")
        self._unlock()

    def rollback(self) -> None:
        """Undo; a connection that is gone has undone it already."""
        if self._open:
            self._open = False
            with suppress(ExternalError):
                self.run("rollback")
                self._unlock()

    def lock_definitions(self) -> None:
        """Let nobody else of us make or change tables until `commit` or `rollback`; definitions do not release it."""
        ((got,),) = self.run(LOCK, (_DEFINITIONS, round(self._config.lock_timeout)))
        if not got:
            raise ExternalError(f"{self._where}: others define tables", hint="let lock_timeout be longer")
        self._locked = True

    def columns(self, table: Table) -> dict[str, str] | None:
        """Return types as SQL writes them by column."""
        return dict(self.run(COLUMNS, (table.schema, table.name))) or None

    def definitions(self, table: Table) -> dict[str, Defined]:
        """Return columns as they are defined; one whose definition cannot be read is left as it is."""
        rows = self.run(DEFINITIONS, (table.schema, table.name))
        if not rows:
            return {}
        lines = str(self.run(f"show create table {self.dialect.reference(table)}")[0][1]).split("\n")
        found = {}
        for name, kind, required, primary, made in rows:
            head = f"  {self.dialect.quote(name)} {kind}"
            rest = next((line.removeprefix(head).rstrip(",") for line in lines if line.startswith(head)), None)
            found[name] = Defined(
                name,
                kind,
                holding(kind),
                required=bool(required),
                primary=bool(primary),
                limited=is_limited(kind),
                fixed=rest is None or bool(made) or not is_plain(kind),
                rest=rest or "",
            )
        return found

    def tables(self, prefix: Table) -> list[str]:
        """Return tables by the beginning of their name."""
        return [name for (name,) in self.run(TABLES, (prefix.schema, prefix.name))]

    def primary_key(self, table: Table) -> tuple[str, ...]:
        """Return the columns of the primary key in its order; other unique indexes may hold nulls."""
        return self._indexes(table).get("PRIMARY", ())

    def unique(self, table: Table, columns: Sequence[str]) -> bool:
        """Tell whether a unique index covers exactly these columns."""
        wanted = {c.lower() for c in columns}
        return any({c.lower() for c in found} == wanted for found in self._indexes(table).values())

    def resolved(self, text: str) -> Table:
        """Return the table of `table` or `database.table`."""
        schema, name = split_name(text.replace("`", '"'))
        schema = schema or self._config.address()["database"] or ""
        if not schema:
            raise UnavailableError(f"nothing says in which database {name} is", hint="add database")
        return Table(name, schema)

    def close(self) -> None:
        """Disconnect."""
        with suppress(self._error, OSError):
            self._wire.close()

    # ---- small things -------------------------------------------------------------------------------------------

    def _settle(self, *, strict: bool) -> None:
        wait = max(1, round(self._config.lock_timeout))
        ((version, loads),) = self.run("select version(), @@local_infile")
        self.dialect = MARIADB if "mariadb" in version.lower() else MYSQL
        self.loads = bool(loads)
        own = ["time_zone = '+00:00'", f"lock_wait_timeout = {wait}", f"innodb_lock_wait_timeout = {wait}"]
        own += ["net_write_timeout = 3600", "net_read_timeout = 3600"]
        if strict:
            own.append("sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION,NO_BACKSLASH_ESCAPES'")
        self.run(f"set session {', '.join(own)}")
        self.run("set session transaction isolation level read committed")

    def _indexes(self, table: Table) -> dict[str, tuple[str, ...]]:
        """Return the columns of each unique index; one over the beginnings of texts is none."""
        found: dict[str, tuple[str, ...]] = {}
        parts = set()
        for index, column, part in self.run(UNIQUE, (table.schema, table.name)):
            found[index] = (*found.get(index, ()), column)
            if part is not None:
                parts.add(index)
        return {index: columns for index, columns in found.items() if index not in parts}

    def _filled(self, sql: str, parameters: Sequence[Any]) -> str:
        return _PARAMETER.sub(lambda found: self.literal(parameters[int(found[1]) - 1]), sql)

    def _unlock(self) -> None:
        if self._locked:
            self._locked = False
            self.run(UNLOCK, (_DEFINITIONS,))

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Let the driver's errors leave as ours."""
        try:
            yield
        except (self._error, OSError, RuntimeError) as error:
            raise translated(error, self._where, self._config.scrubbed) from None


class _WarningError(Exception):
    """What the server warns of, with its number."""


def _tls(config: MariaConfig) -> ssl.SSLContext | None:
    if not config.tls:
        return None
    try:
        context = ssl.create_default_context(cafile=config.tls_ca or None)
    except OSError as error:
        raise UnavailableError(f"{config.tls_ca}: {error.strerror}", hint="check tls_ca") from None
    if not config.verify:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


__all__ = ["MariaSession"]
