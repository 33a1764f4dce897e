"""Files on their way: written under a hidden name, made durable, and published by steps that can be repeated."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Any

from dataflare.connectors.file.storage import storage
from dataflare.disk import sync_folder
from dataflare.errors import StateError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    import pyarrow as pa

    from dataflare.component import StageContext
    from dataflare.formats.encoder import Encoder

PART = re.compile(r"part-\d+-\d+-\d+-\d+\.[a-z]+(\.gz|\.zst)?")
"""Names of published files: epoch, attempt, instance, number."""

_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK, errno.EXDEV, errno.ENOSYS}


class StagedNames:
    """Hidden names, which tell whose they are: a node of a workflow, and an attempt."""

    def __init__(self, context: StageContext) -> None:
        """Name things for this instance."""
        self._context = context
        owner = f"{context.tenant}/{context.workflow}/{context.node}".encode()
        self.token = hashlib.blake2s(owner, digest_size=4).hexdigest()
        self._number = 0

    def new_name(self) -> str:
        """Return a name that nobody else gives."""
        context = self._context
        salt = f"{context.runtime.random.getrandbits(32):08x}"
        self._number += 1
        return f".staged-{self.token}-{context.attempt}-{context.index}-{self._number - 1}-{salt}.tmp"

    def generation(self) -> str:
        """Return a new name of a hidden folder or file that will replace what is there."""
        salt = f"{self._context.runtime.random.getrandbits(32):08x}"
        return f".generation-{self.token}-{self._context.attempt}-{salt}"

    def attempt_of(self, name: str, kind: str) -> int:
        """Return the attempt that gave a name of this kind, -1 where it is another's."""
        found = re.match(rf"\.{kind}-{self.token}-(\d+)-", name)
        return int(found[1]) if found else -1


class Staging(StagedNames):
    """Hidden names in one folder."""

    def __init__(self, folder: Path, context: StageContext) -> None:
        """Name things for this instance."""
        super().__init__(context)
        self.folder = folder

    def begin(self, encoder: Callable[[IO[bytes]], Encoder], folder: str = "") -> StagedFile:
        """Return a new file that is being written."""
        return StagedFile(self, encoder, folder)

    def create(self) -> tuple[str, IO[bytes]]:
        """Return the name of a new file and the open file."""
        while True:
            name = self.new_name()
            with storage(self.folder / name):
                try:
                    return name, (self.folder / name).open("xb", 1 << 20)
                except FileExistsError:
                    continue

    def older(self) -> list[str]:
        """Return the names that earlier attempts of this node left."""
        return [n for n in self._names() if 0 <= self.attempt_of(n, "staged") < self._context.attempt]

    def generations(self) -> list[str]:
        """Return the names of the hidden folders of earlier attempts of this node."""
        return [n for n in self._names() if 0 <= self.attempt_of(n, "generation") < self._context.attempt]

    def _names(self) -> list[str]:
        with storage(self.folder):
            return sorted(os.listdir(self.folder))  # noqa: PTH208 - names are what is wanted


class StagedFile:
    """One hidden file that is being written."""

    def __init__(self, staging: Staging, encoder: Callable[[IO[bytes]], Encoder], folder: str = "") -> None:
        """Create it; `folder` is where it shall go below the destination's own."""
        self.folder = folder
        self.name, self._file = staging.create()
        self.path = staging.folder / self.name
        self.rows = self.bytes = 0
        with storage(self.path):
            self._encoder = encoder(self._file)

    def write(self, rows: pa.Table) -> None:
        """Append rows."""
        with storage(self.path):
            self._encoder.write(rows)
            self.rows += rows.num_rows
            self.bytes = self._file.tell()

    @property
    def held_bytes(self) -> int:
        """How many bytes of rows are held back in memory."""
        return self._encoder.held_bytes

    def flush(self) -> None:
        """Hold nothing back any more."""
        with storage(self.path):
            self._encoder.flush()
            self.bytes = self._file.tell()

    def finish(self) -> None:
        """Write the rest and make it durable."""
        with storage(self.path):
            self._encoder.finish()
            self._file.flush()
            self.bytes = self._file.tell()
            os.fsync(self._file.fileno())
            self._file.close()

    def discard(self) -> None:
        """Remove it, finished or not; what a full disk did not take need not be written any more."""
        with storage(self.path):
            self.path.unlink(missing_ok=True)
        self._encoder.discard()
        with suppress(OSError):
            self._file.close()


def publish(staged: Path, final: Path) -> None:
    """Give a staged file its final name; nothing to do where that has happened before.

    Raises StateError where neither is there, and where the final name is somebody else's.
    """
    with storage(final):
        if not staged.exists():
            if final.exists():
                return
            raise StateError(
                f"{final.name}: what was staged for it is gone",
                hint="was the output folder cleaned or moved by hand? start anew with another state or path",
            )
        try:
            os.link(staged, final)
        except FileExistsError:
            if not staged.samefile(final):
                raise StateError(
                    f"{final} is there already and is another file",
                    hint="let no two destinations write into one folder",
                ) from None
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            staged.rename(final)
            return
        staged.unlink()


def make_durable(folder: Path) -> None:
    """Make the names in a folder durable."""
    with storage(folder):
        sync_folder(folder)


def write_note(path: Path, value: Any) -> None:
    """Write a small JSON value so that it is whole or not there."""
    temporary = path.with_name(f"{path.name}.new")
    with storage(path):
        with temporary.open("w", encoding="utf-8") as file:
            json.dump(value, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    make_durable(path.parent)


def read_note(path: Path) -> Any:
    """Return the JSON value, None where there is none; raise StateError where it cannot be read (invariant 3)."""
    with storage(path):
        try:
            return json.loads(path.read_bytes())
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise StateError(f"{path} is damaged", hint="restore it, or begin with another output path") from error


def checked_name(name: object) -> str:
    """Return a file name out of a handle; raise StateError for one that leads out of its folder."""
    if not isinstance(name, str) or not name or os.sep in name or name in (".", ".."):
        raise StateError(f"{name!r} in a handle is no file name")
    return name


def checked_folder(name: object) -> str:
    """Return the folders of a partition out of a handle, "" for none; raise StateError for what are no such folders."""
    if not isinstance(name, str) or (name and not all(re.fullmatch(r"[^./][^/]*=[^/]*", p) for p in name.split("/"))):
        raise StateError(f"{name!r} in a handle is no folder of a partition")
    return name


def replaced(there: Iterable[str], new: Iterable[str], *, only_written: bool) -> list[str]:
    """Return which published files make way for new ones: all others, or the others in their folders.

    Files go by their paths from the destination's own folder.
    """
    names = {*new}
    folders = {name.rpartition("/")[0] for name in names}
    return [n for n in there if n not in names and (not only_written or n.rpartition("/")[0] in folders)]


def remove_files(folder: Path, names: Iterable[str]) -> None:
    """Remove files that may be gone already."""
    for name in names:
        with storage(folder / name):
            (folder / name).unlink(missing_ok=True)


__all__ = [
    "PART",
    "StagedFile",
    "StagedNames",
    "Staging",
    "checked_folder",
    "checked_name",
    "make_durable",
    "publish",
    "read_note",
    "remove_files",
    "replaced",
    "write_note",
]
