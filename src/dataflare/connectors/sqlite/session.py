"""A connection to a SQLite file; its errors leave as ours, with the file and the cure."""

from __future__ import annotations

import re
import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from dataflare.errors import DataError, DataFlareError, ExternalError, UnavailableError, WorkflowError
from dataflare.sql.cures import MADE_BY_TABLE
from dataflare.sql.dialect import Defined
from dataflare.sql.quoting import quoted
from dataflare.sql.sqlite_types import type_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from dataflare.sql.dialect import Table

_REFUSED = {
    sqlite3.SQLITE_FULL: ("the disk is full", "make room, then run again: nothing that was committed is lost"),
    sqlite3.SQLITE_READONLY: ("it may not be written", "give the user that runs dataflare the permission"),
    sqlite3.SQLITE_CANTOPEN: ("it cannot be opened", "check the path; relative paths start at the workflow file"),
    sqlite3.SQLITE_PERM: ("permission is denied", "give the user that runs dataflare the permission"),
    sqlite3.SQLITE_AUTH: ("permission is denied", "give the user that runs dataflare the permission"),
    sqlite3.SQLITE_IOERR: ("the disk fails to read or write", "see what the system says about that disk"),
    sqlite3.SQLITE_NOTADB: ("it is no SQLite database", "check the path"),
    sqlite3.SQLITE_CORRUPT: ("it is damaged", "restore it, or recover it: sqlite3 FILE .recover"),
    sqlite3.SQLITE_NOLFS: ("the disk cannot hold so large a file", "put it on another disk"),
}
_RULES = re.compile(r"\b(check|collate|references|generated|strict)\b", re.IGNORECASE)
"""Words of a table's definition which a column that takes another one's place would not have."""
_LOCKED = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
_DATA = (sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_TOOBIG)


class SqliteSession:
    """One connection, for one thread at a time, whichever thread that is."""

    def __init__(self, path: Path, wait_seconds: float, *, create: bool = False, write: bool = True) -> None:
        """Open the file; `write` makes a new one keep a write-ahead log, so that readers and a writer share it."""
        self._path = path
        mode = "rwc" if create else "rw" if write else "ro"
        with self.translated():
            new = write and not (path.exists() and path.stat().st_size)
            # An epoch begins in one worker thread and ends in another: the engine calls one at a time.
            self.connection = sqlite3.connect(
                f"{path.absolute().as_uri()}?mode={mode}",
                uri=True,
                timeout=wait_seconds,
                isolation_level=None,
                check_same_thread=False,
            )
        try:
            with self.translated():
                if new:
                    self.connection.execute("pragma journal_mode = wal")
                if write:
                    # A committed epoch must outlive the loss of power: sources are acknowledged for it (invariant 1).
                    self.connection.execute("pragma synchronous = full")
                self.connection.execute("select count(*) from sqlite_schema")
        except DataFlareError:
            self.connection.close()
            raise

    @property
    def in_transaction(self) -> bool:
        """Tell whether a transaction is open."""
        return self.connection.in_transaction

    def run(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Execute one statement; return its rows."""
        with self.translated():
            return self.connection.execute(sql, tuple(parameters)).fetchall()

    def described(self, sql: str, parameters: Sequence[Any] = ()) -> tuple[list[str], list[tuple[Any, ...]]]:
        """Execute a query; return the names of its columns and its rows."""
        with self.translated():
            cursor = self.connection.execute(sql, tuple(parameters))
            return [d[0] for d in cursor.description or ()], cursor.fetchall()

    def fill(self, sql: str, rows: Any) -> None:
        """Execute a statement for each of many rows of parameters, in a transaction of its own unless one is open."""
        alone = not self.in_transaction
        with self.translated():
            if alone:
                self.connection.execute("begin")
            try:
                self.connection.executemany(sql, rows)
                if alone:
                    self.connection.execute("commit")
            except (sqlite3.Error, OverflowError):
                if alone:
                    self.connection.rollback()
                raise

    def written(self, sql: str) -> int:
        """Ask what the statement has changed."""
        self.run(sql)
        return int(self.run("select changes()")[0][0])

    def begin(self) -> None:
        """Take the right to write, or wait for it."""
        self.run("begin immediate")

    def commit(self) -> None:
        """Commit; undone if that fails, so that it can be tried again."""
        self.run("commit")

    def rollback(self) -> None:
        """Undo."""
        try:
            self.connection.rollback()
        except sqlite3.Error:
            self.connection.close()  # closing undoes as well

    def lock_definitions(self) -> None:
        """`begin` keeps everybody else from writing already."""

    def columns(self, table: Table) -> dict[str, str] | None:
        """Return declared types by column, generated columns among them."""
        rows = self.run("select name, type from pragma_table_xinfo(?1) where hidden != 1 order by cid", (table.name,))
        return dict(rows) if rows else None

    def definitions(self, table: Table) -> dict[str, Defined]:
        """Return columns as they are declared; those of a table with rules of their own are not to be replaced."""
        rows = self.run(
            'select name, type, "notnull", dflt_value, pk, hidden from pragma_table_xinfo(?1) order by cid',
            (table.name,),
        )
        ruled = _RULES.search((self.definition(table) or ("", ""))[1] or "") is not None
        return {
            name: Defined(
                name,
                kind,
                type_text(kind),
                required=bool(required),
                primary=bool(pk),
                fixed=ruled or bool(hidden) or bool(pk),
                rest="" if default is None else f" default {default}",
            )
            for name, kind, required, default, pk, hidden in rows
        }

    def primary_key(self, table: Table) -> list[str]:
        """Return the columns of the primary key, in its order."""
        return [
            n for (n,) in self.run("select name from pragma_table_info(?1) where pk > 0 order by pk", (table.name,))
        ]

    def tables(self, prefix: Table) -> list[str]:
        """Return tables by the beginning of their name."""
        sql = "select name from sqlite_schema where type = 'table' and substr(name, 1, length(?1)) = ?1 order by name"
        return [name for (name,) in self.run(sql, (prefix.name,))]

    def unique(self, table: Table, columns: Sequence[str]) -> bool:
        """Look at the primary key and at unique indexes."""
        wanted = {c.lower() for c in columns}
        if {c.lower() for c in self.primary_key(table)} == wanted:
            return True
        indexes = self.run('select name from pragma_index_list(?1) where "unique" and not partial', (table.name,))
        keys = (self.run("select name from pragma_index_info(?1)", row) for row in indexes)
        return any({str(name).lower() for (name,) in key} == wanted for key in keys)

    def definition(self, table: Table) -> tuple[str, str] | None:
        """Return the kind of a name (`table`, `view`) and the statement that made it."""
        sql = "select type, sql from sqlite_schema where name = ?1 collate nocase and type in ('table', 'view')"
        rows = self.run(sql, (table.name,))
        return (rows[0][0], rows[0][1]) if rows else None

    def close(self) -> None:
        """Close the file."""
        self.connection.close()

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Let SQLite's errors leave as ours."""
        try:
            yield
        except sqlite3.Error as error:
            raise self._translation(error) from error
        except (OverflowError, UnicodeEncodeError) as error:
            raise DataError(f"{self._path}: {error}", hint="SQLite keeps integers of 64 bits and valid text") from error
        except OSError as error:
            raise UnavailableError(f"{self._path}: {error.strerror}", hint="check the path") from error

    def _translation(self, error: sqlite3.Error) -> DataFlareError:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        text = str(error)
        if code in _LOCKED:
            return ExternalError(
                f"{self._path} is kept locked by another program", hint="end its transaction, or let wait be longer"
            )
        if code in _REFUSED:
            what, hint = _REFUSED[code]
            return UnavailableError(f"{self._path}: {what}", hint=hint)
        if code in _DATA or isinstance(error, sqlite3.DataError | sqlite3.InterfaceError) or "decode to UTF-8" in text:
            return DataError(f"{self._path}: {text}", hint="change the rows in a mapping before, or the table")
        hint = MADE_BY_TABLE if "generated column" in text else "check table, query and columns"
        return WorkflowError(f"{self._path}: {text}", hint=hint)


def quoted_all(names: Sequence[str]) -> str:
    """Return column names in quotes, with commas."""
    return ", ".join(quoted(n) for n in names)
