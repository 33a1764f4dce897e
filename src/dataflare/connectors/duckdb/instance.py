"""Open DuckDB files: one instance for each in a process, shared by all who read and write it.

DuckDB lets a file be open once for writing, or several times for reading, and not both. So a file is opened for reading
until somebody wants to write; then the instance is opened anew, if nobody is in the middle of reading. An instance sees
no other file and no network, loads no extension, and lets nobody change its settings.
"""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Protocol

from dataflare.connectors.duckdb.failures import translation
from dataflare.disk import sync_folder
from dataflare.errors import ExternalError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import duckdb

    from dataflare.component import Budget

MEMORY_BYTES_MIN = 128 << 20
_MAGIC, _MAGIC_AT = b"DUCK", 8
_SETTINGS: dict[str, Any] = {
    "async_threads": 0,
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "enable_external_access": "false",
    "python_enable_replacements": "false",
}


class Lends(Protocol):
    """Somebody who has a cursor of an instance."""

    def let_go(self) -> None:
        """Close the cursor; the next statement takes a new one."""
        ...


class Instance:
    """One open file. `lock` is held while a statement reads what is open for reading only."""

    def __init__(self, path: Path, budget: Budget) -> None:
        """Open nothing yet."""
        self.path, self._budget = path, budget
        self.lock, self.definitions = threading.RLock(), threading.Lock()
        self.writes = False
        self.readers = 0
        self.users: list[Lends] = []
        self._connection: duckdb.DuckDBPyConnection | None = None

    def admit(self, user: Lends, *, write: bool) -> None:
        """Let somebody in; open the file, or open it anew for who wants to write."""
        with self.lock:
            if self._connection is None:
                self._connection = self._opened(write=write)
                self.writes = write
            elif write and not self.writes:
                self._reopen()
            self.users.append(user)

    def dismiss(self, user: Lends) -> bool:
        """Let somebody out; close the file behind the last one, and tell whether that was so."""
        with self.lock:
            self.users.remove(user)
            if self.users:
                return False
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.close()
            return True

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """Return a connection of its own."""
        assert self._connection is not None
        return self._connection.cursor()

    @contextmanager
    def statement(self) -> Iterator[None]:
        """Keep the file as it is open while a statement reads; who writes needs not be told."""
        if self.writes:
            yield
            return
        with self.lock:
            yield

    def _reopen(self) -> None:
        if self.readers:
            raise ExternalError(
                f"{self.path} is being read by another workflow of this process, and cannot be opened for writing",
                hint="let that one end first, or run them in an order",
            )
        assert self._connection is not None
        for user in self.users:
            user.let_go()
        self._connection.close()
        try:
            self._connection = self._opened(write=True)
            self.writes = True
        finally:
            if not self.writes:
                self._connection = self._opened(write=False)

    def _opened(self, *, write: bool) -> duckdb.DuckDBPyConnection:
        import duckdb

        _check_kind(self.path)
        memory = max(self._budget.memory_bytes_max, MEMORY_BYTES_MIN)
        limits: dict[str, Any] = {"memory_limit": f"{memory >> 10}KiB", "threads": max(1, self._budget.threads_max)}
        try:
            connection = duckdb.connect(self.path, read_only=not write, config={**_SETTINGS, **limits})
        except duckdb.Error as error:
            raise translation(error, self.path) from error
        connection.execute("set global timezone = 'UTC'")
        connection.execute("set lock_configuration = true")
        return connection


class _Instances:
    """The open files of this process, by their real paths."""

    def __init__(self) -> None:
        self._open: dict[str, Instance] = {}
        self._lock = threading.Lock()

    def admit(self, path: Path, user: Lends, budget: Budget, *, write: bool) -> Instance:
        """Let somebody in."""
        name = os.path.realpath(path)
        with self._lock:
            instance = self._open.get(name) or Instance(path.absolute(), budget)
            instance.admit(user, write=write)
            self._open[name] = instance
            return instance

    def dismiss(self, instance: Instance, user: Lends) -> None:
        """Let somebody out."""
        with self._lock:
            if instance.dismiss(user):
                self._open.pop(os.path.realpath(instance.path), None)


INSTANCES = _Instances()


def make_file(path: Path) -> None:
    """Make an empty database, whole or not at all, unless a file is there. Raises UnavailableError."""
    import duckdb

    if path.exists():
        return
    made = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.new")
    try:
        duckdb.connect(made, config=_SETTINGS).close()
        with suppress(FileExistsError):  # somebody else was faster
            os.link(made, path)
        sync_folder(path.parent)
    except duckdb.Error as error:
        raise translation(error, path) from error
    except OSError as error:
        raise UnavailableError(f"{path}: {error.strerror}", hint="check the path and its permissions") from error
    finally:
        with suppress(OSError):
            made.unlink()


def _check_kind(path: Path) -> None:
    """Refuse what is no database: DuckDB would look for an extension that can open it."""
    try:
        with path.open("rb") as file:
            start = file.read(_MAGIC_AT + len(_MAGIC))
    except OSError as error:
        raise UnavailableError(f"{path}: {error.strerror}", hint="check the path and its permissions") from error
    if start[_MAGIC_AT:] != _MAGIC:
        raise UnavailableError(f"{path}: it is no DuckDB database", hint="check the path")


__all__ = ["INSTANCES", "Instance", "make_file"]
