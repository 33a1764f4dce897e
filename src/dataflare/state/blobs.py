"""Large values as files: written under another name, made durable, renamed, and only then named by anybody."""

from __future__ import annotations

import fcntl
import hashlib
import os
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from dataflare.disk import sync_folder
from dataflare.errors import StateError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

SUFFIX_UNFINISHED = ".part"
GATE = ".gate"


class BlobFolder:
    """Files named by key and content: `HASH(key)-HASH(content)`, so that no two keys share one.

    Whoever writes a file and the row that names it does so inside `writing`; `sweep` waits for nobody and does nothing
    while somebody writes. So a sweep never takes a file that is about to be named, in this process or another.
    """

    def __init__(self, folder: Path) -> None:
        """Touch nothing yet."""
        self._folder = folder

    def open(self) -> None:
        """Make the folder, for this user alone."""
        with _translated(self._folder):
            self._folder.mkdir(mode=0o700, exist_ok=True)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Keep sweeps away while a file is written and named."""
        with _translated(self._folder), locked(self._folder / GATE, fcntl.LOCK_SH):
            yield

    def write(self, key: str, content: bytes) -> str:
        """Make the content durable and return the name of its file."""
        name = f"{_hash(key.encode())[:16]}-{_hash(content)}"
        path = self._folder / name
        part = self._folder / f"{name}.{os.getpid()}-{threading.get_ident()}{SUFFIX_UNFINISHED}"
        with _translated(path):
            try:
                with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                part.replace(path)
            except OSError:
                part.unlink(missing_ok=True)
                raise
            sync_folder(self._folder)
        return name

    def read(self, name: str) -> bytes | None:
        """Return the content; None where there is no such file; raise StateError where it is not what was written."""
        path = self._folder / name
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StateError(f"the state file {path} cannot be read: {error.strerror}") from error
        if _hash(content) != name.rpartition("-")[2]:
            raise StateError(
                f"the state file {path} is damaged: its {len(content):,} bytes are not those that were written",
                hint="roll back to an older checkpoint, or import a savepoint: dataflare checkpoint import",
            )
        return content

    def remove(self, names: Iterable[str]) -> None:
        """Remove these files, which nobody names any more."""
        for name in names:
            with _translated(self._folder / name):
                (self._folder / name).unlink(missing_ok=True)

    def sweep(self, named: Iterable[str]) -> int:
        """Remove every file that is not named, and unfinished ones; return how many. Nothing while somebody writes."""
        try:
            with locked(self._folder / GATE, fcntl.LOCK_EX | fcntl.LOCK_NB):
                known = set(named)
                lost = [p for p in self._folder.iterdir() if p.name not in known and not p.name.startswith(".")]
                for path in lost:
                    path.unlink(missing_ok=True)
                return len(lost)
        except BlockingIOError:
            return 0


@contextmanager
def locked(path: Path, mode: int = fcntl.LOCK_EX) -> Iterator[None]:
    """Hold a lock of the system on a file; with LOCK_NB raise BlockingIOError where it is taken."""
    gate = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(gate, mode)
        yield
    finally:
        os.close(gate)


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UnavailableError(
            f"state cannot be written to {path}: {error.strerror}",
            hint="make room, or let runtime.state.path be where this user may write",
        ) from error
