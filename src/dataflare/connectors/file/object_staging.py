"""Objects on their way: put whole under hidden names, published by copies that can be repeated.

What is written waits in a temporary file, and goes up in parts when it is full or the epoch ends: an object is there
whole or not at all, so a crash leaves hidden objects at most, which the next attempt removes. A published object
carries the name under which it was staged, so that a commit that is repeated knows its own work.
"""

from __future__ import annotations

import json
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from dataflare.connectors.file.object_store import Bucket, ObjectFile, split_name
from dataflare.connectors.file.staging import StagedFile, StagedNames
from dataflare.connectors.file.storage import storage
from dataflare.errors import StateError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from dataflare.component import StageContext
    from dataflare.formats.encoder import Encoder

PART_BYTES, PARTS_AT_ONCE = 8 << 20, 2
STAGED_AS = "dataflare-staged"


class Prefix:
    """A folder of a bucket; names are relative to it."""

    def __init__(self, bucket: Bucket, url: str) -> None:
        """Touch nothing."""
        self._bucket, self.url = bucket, url.rstrip("/")
        key = split_name(self.url)[1]
        self._key = f"{key}/" if key else ""

    def put(self, name: str, data: Any, owner: str = "") -> None:
        """Put an object, whole or not at all, in parts where it is large; `owner` is what `owner` tells of it."""
        import obstore

        with self._bucket.answering(f"{self.url}/{name}"):
            obstore.put(
                self._bucket.store,
                self._key + name,
                data,
                attributes={STAGED_AS: owner} if owner else None,
                chunk_size=PART_BYTES,
                max_concurrency=PARTS_AT_ONCE,
            )

    def get(self, name: str) -> bytes | None:
        """Return the bytes of a small object, None where there is none."""
        import obstore

        with self._bucket.answering(f"{self.url}/{name}"):
            try:
                return obstore.get(self._bucket.store, self._key + name).bytes().to_bytes()
            except FileNotFoundError:
                return None

    def pieces(self, name: str) -> Iterator[bytes]:
        """Yield the bytes of an object of any size, of one version of it."""
        file = ObjectFile(self._bucket, f"{self.url}/{name}")
        for start in range(0, file.size, PART_BYTES):
            yield file.pread(start, start + PART_BYTES)

    def owner(self, name: str) -> str | None:
        """Return under which name an object was staged, "" where it is somebody else's, None where there is none."""
        import obstore

        with self._bucket.answering(f"{self.url}/{name}"):
            try:
                found = obstore.get(self._bucket.store, self._key + name, options={"head": True}).attributes
            except FileNotFoundError:
                return None
        return str(found.get(STAGED_AS, ""))

    def copy(self, name: str, to: str) -> bool:
        """Copy inside the store; False where there is nothing of that name."""
        import obstore

        with self._bucket.answering(f"{self.url}/{name}"):
            try:
                obstore.copy(self._bucket.store, self._key + name, self._key + to)
            except FileNotFoundError:
                return False
        return True

    def delete(self, names: Iterable[str]) -> None:
        """Remove objects that may be gone already, as many in a request as a request takes."""
        import obstore

        keys = [self._key + name for name in names]
        with self._bucket.answering(self.url), suppress(FileNotFoundError):
            if keys:
                obstore.delete(self._bucket.store, keys)

    def names(self, folder: str = "", begin: str = "") -> Iterator[str]:
        """Yield the names of all objects below a folder that begin with a text, in order, page by page."""
        import obstore

        start = f"{self._key}{folder}{begin}"
        with self._bucket.answering(self.url):
            below = obstore.list(self._bucket.store, f"{self._key}{folder}" or None, offset=start[:-1] or None)
            for page in below:
                for meta in page:
                    if meta["path"].startswith(start):
                        yield meta["path"][len(self._key) :]
                    elif meta["path"] > start:
                        return

    def end_uploads(self, is_left: Callable[[str], bool]) -> int:
        """End uploads by parts that a crash left open, of names that `is_left` tells."""
        return self._bucket.end_uploads(self._key, is_left)

    def write_note(self, name: str, value: Any) -> None:
        """Put a small JSON value."""
        self.put(name, json.dumps(value).encode())

    def read_note(self, name: str) -> Any:
        """Return the JSON value, None where there is none; raise StateError where it is damaged (invariant 3)."""
        data = self.get(name)
        try:
            return None if data is None else json.loads(data)
        except ValueError as error:
            cure = "restore it, or begin with another output path"
            raise StateError(f"{self.url}/{name} is damaged", hint=cure) from error

    def publish(self, staged: str, final: str) -> None:
        """Give a staged object its final name; nothing to do where that has happened before.

        Raises StateError where neither is there, and where the final name is somebody else's.
        """
        owner = self.owner(final)
        if owner == staged:
            return
        if owner is not None:
            raise StateError(
                f"{self.url}/{final} is there already and is another object",
                hint="let no two destinations write into one folder",
            )
        if not self.copy(staged, final):
            raise StateError(
                f"{final}: what was staged for it is gone",
                hint="was the output folder cleaned or moved by hand? start anew with another state or path",
            )


class ObjectStaging(StagedNames):
    """Hidden names below one prefix."""

    def __init__(self, prefix: Prefix, context: StageContext) -> None:
        """Name things for this instance."""
        super().__init__(context)
        self.prefix = prefix

    def begin(self, encoder: Callable[[IO[bytes]], Encoder], folder: str = "") -> StagedObject:
        """Return a new object that is being written."""
        return StagedObject(self, encoder, folder)

    def older(self) -> list[str]:
        """Return the names that earlier attempts of this node left."""
        begin = f".staged-{self.token}-"
        return [n for n in self.prefix.names(begin=begin) if self.is_older(n)]

    def is_older(self, name: str) -> bool:
        """Tell whether an earlier attempt of this node gave a name."""
        return 0 <= self.attempt_of(name, "staged") < self._context.attempt

    def generations(self) -> list[str]:
        """Return the names of the hidden folders of earlier attempts of this node."""
        begin = f".generation-{self.token}-"
        found = {n.partition("/")[0] for n in self.prefix.names(begin=begin)}
        return sorted(n for n in found if 0 <= self.attempt_of(n, "generation") < self._context.attempt)


class StagedObject(StagedFile):
    """One hidden object that is being written: a temporary file until it is finished."""

    def __init__(self, staging: ObjectStaging, encoder: Callable[[IO[bytes]], Encoder], folder: str) -> None:
        """Begin it."""
        self.folder, self.name, self._prefix = folder, staging.new_name(), staging.prefix
        self.path = Path(tempfile.gettempdir())
        self.rows = self.bytes = 0
        with storage(self.path):
            self._file = tempfile.TemporaryFile()  # noqa: SIM115 - it lives until it is finished
            self._encoder = encoder(self._file)

    def finish(self) -> None:
        """Write the rest and put it."""
        with storage(self.path):
            self._encoder.finish()
            self._file.flush()
            self.bytes = self._file.tell()
            self._file.seek(0)
        self._prefix.put(self.name, self._file, owner=self.name)
        self._file.close()

    def discard(self) -> None:
        """Remove it, finished or not."""
        if self._file.closed:
            with suppress(UnavailableError):
                self._prefix.delete([self.name])
        self._encoder.discard()
        with suppress(OSError):
            self._file.close()


__all__ = ["ObjectStaging", "Prefix", "StagedObject"]
