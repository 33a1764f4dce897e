"""Files on the file system: read at any place of them, walked in order, known again by samples of their content."""

from __future__ import annotations

import glob
import io
import os
import zlib
from typing import TYPE_CHECKING, Any

from dataflare.connectors.file.fingerprint import fingerprint, is_known
from dataflare.connectors.file.settings import EXTENSIONS, extension_of
from dataflare.connectors.file.storage import storage
from dataflare.connectors.file.store import Entry, OpenFile, Store
from dataflare.connectors.file.surroundings import unreadable
from dataflare.connectors.file.walking import Pattern, walk

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from dataflare.component import StageContext
    from dataflare.errors import UnavailableError

MARK_BYTES = 1024
_ANY_NAME = Pattern(("*",))


class LocalFile(OpenFile):
    """A file by its descriptor: it stays the same one when its name is given to another."""

    def __init__(self, path: Path, name: str) -> None:
        """Open."""
        self.name, self._path = name, path
        with storage(path):
            self._file = io.FileIO(path)
            status = os.fstat(self._file.fileno())
        self.size, self.identity = status.st_size, f"{status.st_dev}-{status.st_ino}"

    def now(self) -> tuple[int, int]:
        """Return the size, and when it was last written or renamed, in nanoseconds since 1970."""
        status = os.fstat(self._file.fileno())
        return status.st_size, max(status.st_mtime_ns, status.st_ctime_ns)

    def pread(self, start: int, end: int) -> bytes:
        """Return these bytes, or fewer where the file ends before them."""
        descriptor = self._file.fileno()
        with storage(self._path):
            parts = [os.pread(descriptor, end - start, start)]
            while (got := sum(map(len, parts))) < end - start and parts[-1]:
                parts.append(os.pread(descriptor, end - start - got, start + got))
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def fill(self, buffer: bytearray, start: int) -> int:
        """Read from `start` on into a buffer; return how many bytes."""
        view, got = memoryview(buffer), 0
        with storage(self._path):
            while got < len(view) and (more := os.preadv(self._file.fileno(), [view[got:]], start + got)):
                got += more
        return got

    def close(self) -> None:
        """Close."""
        self._file.close()


class LocalStore(Store):
    """The file system; names are relative to the folder of the workflow where they are in it."""

    def __init__(self, context: StageContext) -> None:
        """Touch nothing."""
        self._context = context
        folder = str(context.directory)
        self._root = "" if folder == os.curdir else f"{folder}{os.sep}"

    def full(self, name: str) -> str:
        """Return the whole path."""
        if self._root and name[0] not in "/~." and "//" not in name and "/." not in name:
            return self._root + name  # what a Path would say, for a million names
        return str(self._context.path(name))

    def behind(self, path: str, after: str = "") -> Iterator[Entry]:
        """Yield the files behind a path in order; links count as what they lead to."""
        full = self._context.path(path)
        with storage(full):
            if full.is_file():
                found = iter([str(full)])
            elif full.is_dir():
                known = (p for p in walk(f"{full}/", _ANY_NAME, after) if extension_of(p) in EXTENSIONS)
                found = known
            else:
                found = walk(*Pattern.of(str(full)), after)
            for file in found:
                if file > after and (entry := self._seen(file)) is not None:
                    yield entry

    def nothing_behind(self, path: str) -> str:
        """Say what is there instead."""
        full = self._context.path(path)
        if full.is_dir():
            return f"{full} is a folder without a file that can be read ({', '.join(sorted(EXTENSIONS))})"
        if full.exists():
            return f"{full} is neither a file nor a folder"
        return f"{'no file matches' if glob.has_magic(path) else 'there is no file'} {full}"

    def has(self, name: str) -> bool:
        """Tell whether there is a file."""
        return self._context.path(name).is_file()

    def entry(self, name: str) -> Entry:
        """Return size and time of a file."""
        path = self._context.path(name)
        with storage(path):
            status = path.stat()
        return Entry(name, status.st_size, status.st_mtime_ns)

    def open(self, name: str) -> LocalFile:
        """Open a file."""
        return LocalFile(self._context.path(name), name)

    def seekable(self, name: str) -> Path:
        """Return the path: Arrow opens it by itself."""
        return self._context.path(name)

    def mark(self, entry: Entry, end: int) -> int:
        """Return a checksum of the last bytes before `end`."""
        path = self._context.path(entry.name)
        start = max(0, end - MARK_BYTES)
        with storage(path), path.open("rb") as file:
            file.seek(start)
            return zlib.crc32(file.read(end - start))

    def fingerprint(self, name: str) -> list[Any]:
        """Return size, time and samples."""
        return fingerprint(self._context.path(name))

    def is_known(self, name: str, was: list[Any]) -> bool:
        """Compare the samples."""
        return is_known(self._context.path(name), name, was)

    def unreadable(self, names: Iterable[str]) -> list[UnavailableError]:
        """Ask for the permission to read each file, of the first thousand."""
        return unreadable(self._context.path(name) for name in names)

    def _seen(self, full: str) -> Entry | None:
        try:
            status = os.stat(full)  # noqa: PTH116 - a million times
        except FileNotFoundError:
            return None
        name = full.removeprefix(self._root)
        return Entry(name, status.st_size, status.st_mtime_ns, identity=f"{status.st_dev}-{status.st_ino}")


__all__ = ["LocalFile", "LocalStore"]
