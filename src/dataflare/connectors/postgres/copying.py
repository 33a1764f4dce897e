"""A connection to PostgreSQL over asyncpg, by which the bytes of COPY come and go as they are.

The codec `pgcopy` is binary COPY, whole with head and end, of the columns of a schema, in its order, each in the type
that a staging table has for it. So what one side selects the other takes in, and nobody looks at a row.
"""

from __future__ import annotations

import asyncio
import io
import os
import ssl
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import parse_qsl

from dataflare.clock import SystemClock
from dataflare.connectors.postgres.failures import translated
from dataflare.connectors.postgres.statements import SETTINGS, Statements
from dataflare.errors import ExternalError, StateError, UnavailableError
from dataflare.sql.patience import PATIENCE, bound

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence

    from dataflare.connectors.postgres.settings import PostgresConfig
    from dataflare.sql.dialect import Table

CODEC = "pgcopy"
Form = Literal["binary", "csv"]
_SEND_BYTES = 256 << 10
_CHUNK_BYTES, _PAUSE_SECONDS = 64 << 10, 0.002
"""After a chunk smaller than this, wait until the socket holds more: to wake up for each 8 KiB that the server sends
costs twice the CPU, and takes it from the server."""


class CopySession(Statements):
    """A connection with an event loop of its own, which runs only while a method does: in the thread that calls it."""

    def __init__(self, config: PostgresConfig, application: str) -> None:
        """Connect; raise UnavailableError where the driver is missing or the server says no."""
        try:
            import asyncpg
        except ImportError as error:
            raise UnavailableError(
                "the connector needs the PostgreSQL drivers", hint="pip install 'dataflare[postgres]'"
            ) from error
        self._errors = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
        self._config, self._where = config, config.shown()
        told = dict(parse_qsl(config.address(application).partition("?")[2], keep_blank_values=True))
        self._loop = _Loop(told)
        try:
            with self._translated():
                self._connection: Any = self._do(asyncpg.connect(**_arguments(config, told)))
            self.run(SETTINGS, (str(round(config.lock_timeout * 1000)),))
        except (ExternalError, UnavailableError):
            self.close()
            raise

    def run(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Execute one statement; return its rows."""
        with self._translated():
            return [tuple(row) for row in self._do(self._connection.fetch(sql, *parameters))]

    def copy_out(self, query: str, bytes_max: int, form: Form) -> tuple[bytes | None, int]:
        """Return the rows of a query as bytes, and their number; None instead of more than `bytes_max` bytes."""
        kept, size, clock = io.BytesIO(), 0, SystemClock()

        async def keep(chunk: bytes) -> None:
            nonlocal size
            size += len(chunk)
            if size <= bytes_max:
                kept.write(chunk)
            if len(chunk) < _CHUNK_BYTES:
                await clock.sleep(_PAUSE_SECONDS)

        with self._translated():
            told = self._do(self._connection.copy_from_query(query, output=keep, format=form))
        return (kept.getvalue() if size <= bytes_max else None), _counted(told)

    def copy_in(self, table: Table, columns: Sequence[str], data: bytes | memoryview, count: int) -> None:
        """Append the bytes of `count` rows to a table; the types of the columns must be those of the bytes."""
        with self._translated():
            copying = self._connection.copy_to_table(
                table.name, source=_slices(data), columns=columns, schema_name=table.schema or None, format="binary"
            )
            told = _counted(self._do(copying))
        if told != count:
            raise StateError(f"{self._where} took {told} rows of {count} into {table}")

    def close(self) -> None:
        """Disconnect."""
        if self._loop.is_closed():
            return
        connection = getattr(self, "_connection", None)
        if connection is not None:
            with suppress(*self._errors, OSError):  # nothing more is wanted of it
                self._do(connection.close(timeout=5))
            connection.terminate()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()

    def _do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self._loop.run_until_complete(work)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Let the driver's errors leave as ours."""
        try:
            yield
        except self._errors as error:
            if context := getattr(error, "context", None):
                error.args = (f"{error.args[0]}\nCONTEXT: {context}", *error.args[1:])
            raise translated(error, self._where, self._config.scrubbed) from None
        except OSError as error:
            raise translated(error, self._where, self._config.scrubbed) from None


class _Loop(asyncio.SelectorEventLoop):
    """An event loop whose connections notice a server that is gone, as libpq does by the same settings."""

    def __init__(self, told: dict[str, str]) -> None:
        super().__init__()
        self._patience = {name: int(told[name]) for name in PATIENCE}

    async def create_connection(self, *arguments: Any, **options: Any) -> Any:
        made = await super().create_connection(*arguments, **options)
        bound(made[0].get_extra_info("socket"), self._patience)
        return made


def _arguments(config: PostgresConfig, told: dict[str, str]) -> dict[str, Any]:
    """Return what the driver wants to know, of the settings and of what their address tells."""
    server = {"application_name": told["application_name"]}
    if options := told.get("options") or os.environ.get("PGOPTIONS"):
        server["options"] = options
    found = {
        "dsn": config.url.partition("?")[0] or None,
        "host": told.get("host"),
        "port": int(told["port"]) if "port" in told else None,
        "database": told.get("dbname"),
        "user": told.get("user"),
        "password": told.get("password"),
        "passfile": told.get("passfile"),
        "target_session_attrs": told.get("target_session_attrs"),
        "timeout": float(told["connect_timeout"]),
        "ssl": _tls(told),
        "server_settings": server,
        "statement_cache_size": 0,  # a pooler between may give the next statement to another server process
    }
    return {name: value for name, value in found.items() if value is not None}


def _tls(told: dict[str, str]) -> ssl.SSLContext | str | None:
    """Return how to speak TLS: verified where the mode says so, as the settings make sure of (`verify`)."""
    mode, authority = told.get("sslmode"), told.get("sslrootcert")
    if mode not in ("require", "verify-ca", "verify-full"):
        return mode
    file = None if authority in (None, "system") else authority
    context = ssl.create_default_context(cafile=file)
    context.check_hostname = mode == "verify-full"
    if mode == "require" and authority is None:
        context.verify_mode = ssl.CERT_NONE
    if "sslcert" in told:
        context.load_cert_chain(told["sslcert"], told.get("sslkey"))
    return context


async def _slices(data: bytes | memoryview) -> AsyncIterator[memoryview]:
    view = memoryview(data)
    for start in range(0, len(view), _SEND_BYTES):
        yield view[start : start + _SEND_BYTES]


def _counted(tag: str) -> int:
    """Return the number in a command tag, `COPY 12`."""
    return int(tag.rpartition(" ")[2])


__all__ = ["CODEC", "CopySession", "Form"]
