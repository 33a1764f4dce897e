"""State in one SQLite file, the default: small values in its table, large ones in files beside it."""

from __future__ import annotations

import os
import sqlite3
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from dataflare.clock import SystemClock
from dataflare.component import Config, Field, Lease, StateStore, state_store
from dataflare.disk import sync_folder
from dataflare.errors import DataFlareError, StateError, UnavailableError
from dataflare.state.blobs import BlobFolder, locked
from dataflare.state.lease import FileLease
from dataflare.state.mark import HighMark

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dataflare.clock import Clock

VALUE_BYTES_MAX = 1 << 20
"""A larger value becomes a file of its own."""

LAST_CHARACTER = "\U0010ffff"
BUSY_SECONDS_MAX = 30.0
APPLICATION = 0x44466C72
FORMAT = 2

_SCHEMA = (
    f"pragma application_id = {APPLICATION}",
    f"pragma user_version = {FORMAT}",
    "create table kv (key text primary key not null, value blob, file text) strict",
    "create table written (number integer not null) strict",
    "insert into written values (0)",
    *(
        f"create trigger kv_{event} after {event} on kv begin update written set number = number + 1; end"  # noqa: S608
        for event in ("insert", "update", "delete")
    ),
)
"""`written` counts the rows that were ever written or deleted; the mark beside the file says how many there must be."""

_UNAVAILABLE = {
    sqlite3.SQLITE_FULL: ("the disk is full", "make room on it, then run again: what was committed is safe"),
    sqlite3.SQLITE_READONLY: ("it may not be written", "let runtime.state.path be where this user may write"),
    sqlite3.SQLITE_CANTOPEN: ("it cannot be opened", "let runtime.state.path be where this user may write"),
    sqlite3.SQLITE_PERM: ("permission is denied", "let runtime.state.path be where this user may write"),
    sqlite3.SQLITE_IOERR: (
        "the disk is full, or fails to read or write",
        "make room on it, then run again: what was committed is safe; or see what the system says about that disk",
    ),
    sqlite3.SQLITE_BUSY: ("another process keeps it locked", "end that process, then run again"),
}


class SqliteStoreConfig(Config):
    """Where the state is."""

    path: str = Field("./.dataflare", description="The folder of the state; relative to the workflow file.")


@state_store("sqlite", status="beta", examples=[{"path": "./.dataflare"}])
class SqliteStore(StateStore[SqliteStoreConfig]):
    """Keeps state in `state.db`, a SQLite file in a folder of its own, and survives the loss of power.

    Many workflows and processes may share the folder; each workflow is run by one process at a time, which holds its
    lock. Every write is on the disk when it returns (write-ahead log, synchronous FULL). Values above 1 MiB are files
    in `blobs/`, made durable before the row that names them. Folder and files are for their user alone. The folder
    must be on a local disk: file locks and write-ahead logs do not work over a network.
    """

    def __init__(self, config: SqliteStoreConfig) -> None:
        """Touch no disk yet."""
        super().__init__(config)
        self._folder = Path()
        self._connection: sqlite3.Connection | None = None
        self._mark: HighMark | None = None
        self._lock = threading.RLock()
        self._leases: list[FileLease] = []

    @property
    def _blobs(self) -> BlobFolder:
        return BlobFolder(self._folder / "blobs")

    @property
    def _file(self) -> Path:
        return self._folder / "state.db"

    @property
    def _clock(self) -> Clock:
        return self.context.runtime.clock if hasattr(self, "context") else SystemClock()

    def open(self) -> None:
        """Make what is missing, refuse what is damaged, and remove files that a crash left behind."""
        path = Path(self.config.path).expanduser()
        self._folder = self.context.path(self.config.path) if hasattr(self, "context") else path
        with self._translated():
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._blobs.open()
            self._mark = HighMark(self._folder / "state.mark")
            with locked(self._folder / ".gate"):
                if not self._file.exists():
                    self._make()
            expected = self._mark.read()  # before the number in the file, which another process may raise meanwhile
            self._connection = self._connect()
            self._check_whole(self._connection, expected)
            self._blobs.sweep(self._named())

    def create(self, key: str, value: bytes) -> bool:
        """Write if there is no such key."""
        with self._stored(key, value) as (inline, file), self._using() as connection:
            statement = "insert into kv (key, value, file) values (?, ?, ?) on conflict do nothing"
            written = connection.execute(statement, (key, inline, file)).rowcount == 1
            self._note_written()
            if not written and file and self._row(key) != (None, file):
                self._blobs.remove([file])
        return written

    def put(self, key: str, value: bytes) -> None:
        """Write or replace; the file of the value before is removed afterwards."""
        with self._stored(key, value) as (inline, file), self._using() as connection:
            before = self._row(key)
            statement = (
                "insert into kv (key, value, file) values (?, ?, ?)"
                " on conflict do update set value = excluded.value, file = excluded.file"
            )
            connection.execute(statement, (key, inline, file))
            self._note_written()
            if before and before[1] and before[1] != file:
                self._blobs.remove([before[1]])

    def get(self, key: str) -> bytes | None:
        """Return the value, if there is one; raise StateError where its file is lost or damaged."""
        with self._using():
            row = self._row(key)
            if row is None or row[1] is None:
                return row[0] if row else None
            content = self._blobs.read(row[1])
            if content is None and self._row(key) != row:  # another process replaced or removed it meanwhile
                return self.get(key)
            if content is None:
                raise StateError(
                    f"the state file {self._folder / 'blobs' / row[1]} is missing",
                    hint="roll back to an older checkpoint, or import a savepoint: dataflare checkpoint import",
                )
            return content

    def keys(self, prefix: str) -> list[str]:
        """Return the keys that start with a prefix, sorted."""
        statement = "select key from kv where key >= ? and key < ? and substr(key, 1, ?) = ? order by key"
        bounds = prefix, prefix + LAST_CHARACTER  # without the upper one it would read all that other workflows keep
        with self._using() as connection:
            return [key for (key,) in connection.execute(statement, (*bounds, len(prefix), prefix))]

    def delete(self, keys: list[str]) -> None:
        """Remove these keys where they exist, all or none, then their files."""
        with self._using() as connection:
            files: list[str] = []
            connection.execute("begin immediate")
            try:
                for key in keys:
                    statement = "delete from kv where key = ? returning file"
                    files += [file for (file,) in connection.execute(statement, (key,)).fetchall() if file]
                connection.execute("commit")
            except sqlite3.Error:
                connection.rollback()
                raise
            self._note_written()
            self._blobs.remove(files)

    def lease(self, name: str) -> Lease:
        """Lock the workflow for this process; raise LeaseHeldError naming the holder."""
        lease = FileLease.take(self._folder, name, self._clock)
        self._leases.append(lease)
        return lease

    def close(self) -> None:
        """Give the leases back and close the file."""
        while self._leases:
            self._leases.pop().release()
        with self._lock:
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.close()
            mark, self._mark = self._mark, None
            if mark is not None:
                mark.close()

    def _make(self) -> None:
        """Make the file whole under another name, then rename it: an empty one is never taken for a new one."""
        assert self._mark is not None
        if self._file.with_name("state.db-wal").exists() or self._mark.read():
            raise StateError(
                f"{self._file} is gone, but what belongs to it is there",
                hint="put the file back; or remove the folder, then begin anew or import a savepoint: "
                "dataflare checkpoint import FILE SAVEPOINT",
            )
        new = self._file.with_name("state.db.new")
        new.unlink(missing_ok=True)
        os.close(os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        connection = sqlite3.connect(new, isolation_level=None)
        try:
            for statement in _SCHEMA:
                connection.execute(statement)
        finally:
            connection.close()
        new.replace(self._file)
        sync_folder(self._folder)

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._file, timeout=BUSY_SECONDS_MAX, isolation_level=None, check_same_thread=False
        )
        try:
            (application,) = connection.execute("pragma application_id").fetchone()
            (version,) = connection.execute("pragma user_version").fetchone()
            if application != APPLICATION:
                raise self._damaged("it is empty or no state of DataFlare")
            if version != FORMAT:
                raise StateError(
                    f"the state {self._file} has format {version}, which this version does not read",
                    hint="use the version of DataFlare that wrote it",
                )
            connection.execute("pragma journal_mode = wal")
            connection.execute("pragma synchronous = full")
        except (sqlite3.Error, DataFlareError):
            connection.close()
            raise
        return connection

    def _check_whole(self, connection: sqlite3.Connection, expected: int) -> None:
        """Refuse a file whose pages do not fit together (75 ms for 100 MB), or that has lost what was written."""
        (found,) = connection.execute("pragma integrity_check(1)").fetchone()
        if found != "ok":
            raise self._damaged(found.partition("\n")[0])
        (number,) = connection.execute("select number from written").fetchone()
        if number < expected:
            raise self._damaged(
                f"it has lost {expected - number:,} writes, for its write-ahead log ({self._file.name}-wal) is torn or "
                "gone, or it is an older copy"
            )

    def _note_written(self) -> None:
        """Raise the mark to what is on the disk now."""
        assert self._connection is not None
        assert self._mark is not None
        self._mark.write(self._connection.execute("select number from written").fetchone()[0])

    @contextmanager
    def _stored(self, key: str, value: bytes) -> Iterator[tuple[bytes | None, str | None]]:
        """Give what the row holds: the value itself, or the name of its file, safe from sweeps until named."""
        if len(value) <= VALUE_BYTES_MAX:
            yield value, None
            return
        with self._blobs.writing():
            yield None, self._blobs.write(key, value)

    def _row(self, key: str) -> tuple[bytes | None, str | None] | None:
        assert self._connection is not None
        row: tuple[bytes | None, str | None] | None
        row = self._connection.execute("select value, file from kv where key = ?", (key,)).fetchone()
        return row

    def _named(self) -> Iterator[str]:
        assert self._connection is not None
        return (file for (file,) in self._connection.execute("select file from kv where file is not null"))

    @contextmanager
    def _using(self) -> Iterator[sqlite3.Connection]:
        """Give the connection to one thread at a time."""
        with self._lock, self._translated():
            assert self._connection is not None, "the store is not open"
            yield self._connection

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Let SQLite's errors leave as ours."""
        try:
            yield
        except sqlite3.Error as error:
            primary = getattr(error, "sqlite_errorcode", 0) & 0xFF
            if primary in _UNAVAILABLE:
                what, hint = _UNAVAILABLE[primary]
                raise UnavailableError(f"the state {self._file} cannot be used: {what}", hint=hint) from error
            raise self._damaged(str(error)) from error
        except UnicodeDecodeError as error:
            raise self._damaged("a name in it is no text") from error
        except OSError as error:
            raise UnavailableError(
                f"the state {self._file} cannot be used: {error.strerror}",
                hint="make room, or let runtime.state.path be where this user may write",
            ) from error

    def _damaged(self, reason: str) -> StateError:
        return StateError(
            f"the state {self._file} is damaged: {reason}",
            hint=f"move the folder {self._folder} away, then begin anew or import a savepoint: "
            "dataflare checkpoint import FILE SAVEPOINT",
        )
