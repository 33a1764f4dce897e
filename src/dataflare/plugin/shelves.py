"""Where a repository of plugins lies: a folder or a bucket, in which files are made once, and one is swapped."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from dataflare.disk import sync_folder
from dataflare.errors import DataError, Place, StateError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dataflare.objects.bucket import Bucket

_LOCK = ".lock"
_MODE = 0o644


class Shelf(Protocol):
    """Files by name. Everything is there whole or not at all; what is refused is told with its place."""

    def get(self, name: str, bytes_max: int) -> tuple[bytes, str] | None:
        """Return the bytes of a file and a tag that is another one when it was swapped; None where there is none."""
        ...

    def create(self, name: str, data: bytes) -> bool:
        """Make a file unless there is one; tell whether it was made."""
        ...

    def swap(self, name: str, data: bytes, tag: str | None) -> bool:
        """Replace the file of this tag, or make it where that is None; tell whether nobody was quicker."""
        ...


class FolderShelf:
    """A folder that all who publish may write, such as one that is shared."""

    def __init__(self, folder: Path) -> None:
        """Touch nothing."""
        self._folder = folder

    def get(self, name: str, bytes_max: int) -> tuple[bytes, str] | None:
        """Read it; the tag is the hash of its bytes."""
        with self._told(name):
            try:
                with (self._folder / name).open("rb") as file:
                    data = file.read(bytes_max + 1)
            except FileNotFoundError:
                return None
        if len(data) > bytes_max:
            raise _too_large(str(self._folder / name), bytes_max)
        return data, hashlib.sha256(data).hexdigest()

    def create(self, name: str, data: bytes) -> bool:
        """Link a file that is complete to its name, which fails where there is one."""
        with self._told(name):
            path = self._folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with _written(path, data) as made:
                try:
                    os.link(made, path)
                except FileExistsError:
                    return False
            sync_folder(path.parent)
        return True

    def swap(self, name: str, data: bytes, tag: str | None) -> bool:
        """Replace it under a lock."""
        with self._told(name):
            self._folder.mkdir(parents=True, exist_ok=True)
            with (self._folder / _LOCK).open("a") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                path = self._folder / name
                there = hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else None
                if there != tag:
                    return False
                with _written(path, data) as made:
                    made.replace(path)
                sync_folder(self._folder)
        return True

    @contextmanager
    def _told(self, name: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            hint = "free some space; nothing is lost" if error.errno == errno.ENOSPC else ""
            place = Place(str(self._folder / name))
            raise UnavailableError(error.strerror or str(error), hint=hint, place=place) from error


class BucketShelf:
    """A prefix of a bucket; the store decides who was quicker."""

    def __init__(self, bucket: Bucket, prefix: str) -> None:
        """Touch nothing."""
        self._bucket, self._prefix = bucket, f"{prefix.strip('/')}/" if prefix.strip("/") else ""

    def get(self, name: str, bytes_max: int) -> tuple[bytes, str] | None:
        """Ask for it; nothing is read of what is too large."""
        import obstore

        with self._bucket.answering(self._url(name)):
            try:
                found = obstore.get(self._bucket.store, self._prefix + name)
            except FileNotFoundError as error:
                if "NoSuchBucket" in str(error):
                    raise
                return None
            if found.meta["size"] > bytes_max:
                raise _too_large(self._url(name), bytes_max)
            return found.bytes().to_bytes(), found.meta["e_tag"] or ""

    def create(self, name: str, data: bytes) -> bool:
        """Put it on condition that there is none."""
        import obstore

        with self._bucket.answering(self._url(name)):
            try:
                obstore.put(self._bucket.store, self._prefix + name, data, mode="create", use_multipart=False)
            except obstore.exceptions.AlreadyExistsError:
                return False
        return True

    def swap(self, name: str, data: bytes, tag: str | None) -> bool:
        """Put it on condition that it has this tag."""
        import obstore

        if tag is None:
            return self.create(name, data)
        try:
            with self._bucket.answering(self._url(name)):
                obstore.put(self._bucket.store, self._prefix + name, data, mode={"e_tag": tag}, use_multipart=False)
        except DataError:  # what `answering` makes of a condition that is not met
            return False
        return True

    def _url(self, name: str) -> str:
        return f"s3://{self._bucket.name}/{self._prefix}{name}"


@contextmanager
def _written(path: Path, data: bytes) -> Iterator[Path]:
    """Give a complete file beside a path, which is gone afterwards unless it was moved."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(file.fileno(), _MODE)
            os.fsync(file.fileno())
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


def _too_large(where: str, bytes_max: int) -> StateError:
    return StateError(f"it has more than {bytes_max >> 20} MB", place=Place(where))


__all__ = ["BucketShelf", "FolderShelf", "Shelf"]
