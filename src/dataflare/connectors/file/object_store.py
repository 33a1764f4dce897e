"""Files in object stores that speak S3, through obstore: listed by pages, read by ranges of one version each."""

from __future__ import annotations

import asyncio
import io
import re
import zlib
from typing import TYPE_CHECKING, Any, ClassVar

from dataflare.connectors.file.settings import EXTENSIONS, extension_of
from dataflare.connectors.file.storage import storage
from dataflare.connectors.file.store import Entry, OpenFile, Store
from dataflare.connectors.file.text import became_shorter
from dataflare.connectors.file.walking import Pattern, has_signs
from dataflare.errors import ExternalError, UnavailableError
from dataflare.objects.bucket import Bucket as ObjectBucket
from dataflare.objects.bucket import replaced, split_name
from dataflare.objects.settings import SCHEME, ObjectStoreConfig

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from dataflare.component import StageContext

HEAD_BYTES = 64 << 10
"""What the first request for a file brings along: most headers, and the whole of a tiny file."""
PAGE = 1000
CHECKED_MAX = 3


class Bucket(ObjectBucket):
    """A bucket of a node, with the certificates that its settings name."""

    def __init__(self, context: StageContext, name: str, config: ObjectStoreConfig) -> None:
        """Connect to nothing yet; raise UnavailableError where obstore is missing or a setting cannot be."""
        certificates = b""
        if config.ca_file:
            path = context.path(config.ca_file)
            with storage(path):
                certificates = path.read_bytes()
        super().__init__(name, config, certificates)
        self._context, self._config = context, config

    def end_uploads(self, prefix: str, is_left: Callable[[str], bool]) -> int:
        """End uploads by parts that a crash left open, of keys below a prefix that `is_left` names."""
        from dataflare.connectors.file.object_uploads import Uploads

        return Uploads(self._context, self.name, self._config).end(prefix, is_left)


class ObjectFile(OpenFile):
    """One version of one object: a read after it was replaced is an error, never bytes of another object."""

    read_bytes: ClassVar[int] = 8 << 20

    def __init__(self, bucket: Bucket, name: str, begun: tuple[Any, bytes] | None = None) -> None:
        """Ask for the beginning, unless it is there; size and tag come along."""
        self.name, self._bucket, self._key = name, bucket, split_name(name)[1]
        self.meta, self._head = begun or self._beginning(bucket, name)
        self.size, self._tag = self.meta["size"], self.meta["e_tag"]

    def _beginning(self, bucket: Bucket, name: str) -> tuple[Any, bytes]:
        import obstore

        with bucket.answering(name):
            try:
                answer = obstore.get(bucket.store, self._key, options={"range": (0, HEAD_BYTES)})
                return answer.meta, answer.bytes().to_bytes()
            except obstore.exceptions.GenericError as error:  # an object without bytes has no ranges
                if "416" not in str(error):
                    raise
                return obstore.head(bucket.store, self._key), b""

    def pread(self, start: int, end: int) -> bytes:
        """Return these bytes, or fewer where the object ends before them."""
        import obstore

        end = min(end, self.size)
        if start >= end:
            return b""
        if end <= len(self._head):
            return self._head[start:end]
        options: Any = {"range": (start, end), **({"if_match": self._tag} if self._tag else {})}
        with self._bucket.answering(self.name):
            return obstore.get(self._bucket.store, self._key, options=options).bytes().to_bytes()

    def fill(self, buffer: bytearray, start: int) -> int:
        """Read from `start` on into a buffer; return how many bytes."""
        data = self.pread(start, start + len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        """Nothing is open between two reads."""


class Seekable(io.RawIOBase):
    """A file that reads and seeks, for Arrow."""

    def __init__(self, file: OpenFile) -> None:
        """Stand at its beginning."""
        super().__init__()
        self._file, self._at = file, 0

    def readable(self) -> bool:
        """Tell that it reads."""
        return True

    def seekable(self) -> bool:
        """Tell that it seeks."""
        return True

    def tell(self) -> int:
        """Return where it stands."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Stand elsewhere."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._file.size}[whence]
        self._at = max(0, start + offset)
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        """Return the next bytes."""
        end = self._file.size if size is None or size < 0 else self._at + size
        data = self._file.pread(self._at, end)
        self._at += len(data)
        return data


class ObjectStore(Store):
    """A bucket; names are whole URLs, and objects are in the order of their keys."""

    def __init__(self, bucket: Bucket) -> None:
        """Touch nothing."""
        self.bucket = bucket
        self._ahead: dict[str, ObjectFile] = {}

    def full(self, name: str) -> str:
        """Return the URL."""
        return name

    def behind(self, path: str, after: str = "") -> Iterator[Entry]:
        """Yield the objects behind a URL in order, a page at a time.

        A folder has the objects directly below it; what is below a folder whose name begins with a dot is hidden.
        """
        key = split_name(path)[1]
        start = split_name(after)[1] if after.startswith(f"{SCHEME}{self.bucket.name}/") else ""
        if has_signs(key):
            yield from self._matching(*Pattern.of(key), start, after)
            return
        if key and key[-1] != "/":
            found = self._seen(key)
            if found is not None:
                if found.name > after:
                    yield found
                return
        folder = f"{key.rstrip('/')}/" if key else ""
        for entry in self._matching(folder, Pattern(("*",)), start, after):
            if extension_of(entry.name) in EXTENSIONS:
                yield entry

    def nothing_behind(self, path: str) -> str:
        """Say what is there instead."""
        return (
            f"no object matches {path}"
            if has_signs(path)
            else f"there is no object {path}, and none that can be read in it"
        )

    def has(self, name: str) -> bool:
        """Tell whether there is an object."""
        return self._seen(split_name(name)[1]) is not None

    def entry(self, name: str) -> Entry:
        """Return size, time and tag of an object."""
        import obstore

        if name in self._ahead:
            return self._entry(self._ahead[name].meta)
        with self.bucket.answering(name):
            return self._entry(obstore.head(self.bucket.store, split_name(name)[1]))

    def open(self, name: str) -> ObjectFile:
        """Open an object."""
        return self._ahead.get(name) or ObjectFile(self.bucket, name)

    def ahead(self, names: Sequence[str]) -> None:
        """Ask for the beginnings of objects at once; one that is not given is asked for again when it is opened."""
        self._ahead = {file.name: file for file in asyncio.run(self._begun(names)) if file is not None}

    async def _begun(self, names: Sequence[str]) -> list[ObjectFile | None]:
        return await asyncio.gather(*map(self._begin, names))

    async def _begin(self, name: str) -> ObjectFile | None:
        import obstore

        try:
            options: Any = {"range": (0, HEAD_BYTES)}
            answer = await obstore.get_async(self.bucket.store, split_name(name)[1], options=options)
            return ObjectFile(self.bucket, name, (answer.meta, (await answer.bytes_async()).to_bytes()))
        except (obstore.exceptions.BaseError, OSError):
            return None

    def seekable(self, name: str) -> Seekable:
        """Return an object that reads ranges."""
        return Seekable(self.open(name))

    def mark(self, entry: Entry, end: int) -> int:
        """Return a checksum of the tag: objects do not grow, they are replaced."""
        del end
        return zlib.crc32(f"{entry.tag} {entry.size}".encode())

    def fingerprint(self, name: str) -> list[Any]:
        """Return size and tag."""
        entry = self.entry(name)
        return [entry.size, entry.tag]

    def is_known(self, name: str, was: list[Any]) -> bool:
        """Compare size and tag; raise DataError where they are others."""
        now = self.fingerprint(name)
        if now[0] < was[0]:
            raise became_shorter(name)
        if now != was:
            raise replaced(name)
        return True

    def unreadable(self, names: Iterable[str]) -> list[UnavailableError]:
        """Read the beginning of the first objects."""
        found = []
        for _, name in zip(range(CHECKED_MAX), names, strict=False):
            try:
                self.open(name)
            except UnavailableError as error:
                found.append(error)
        return found

    def _matching(self, folder: str, pattern: Pattern, start: str, after: str) -> Iterator[Entry]:
        """Yield the objects below a folder that match; listing begins and ends where such names do."""
        import obstore

        literal = folder + re.split(r"[*?\[]", pattern.parts[0])[0]
        offset = max(start, literal[:-1]) or None
        last = ""
        with self.bucket.answering(f"{SCHEME}{self.bucket.name}/{folder}"):
            for page in obstore.list(self.bucket.store, folder or None, offset=offset, chunk_size=PAGE):
                for meta in page:
                    key = meta["path"]
                    if key <= last:
                        raise ExternalError(f"{SCHEME}{self.bucket.name} does not list objects in order")
                    last = key
                    if not key.startswith(literal):
                        if key > literal:
                            return
                        continue
                    entry = self._entry(meta)
                    if entry.name > after and pattern.matches(key[len(folder) :]):
                        yield entry

    def _seen(self, key: str) -> Entry | None:
        import obstore

        with self.bucket.answering(f"{SCHEME}{self.bucket.name}/{key}"):
            try:
                return self._entry(obstore.head(self.bucket.store, key))
            except FileNotFoundError:
                return None

    def _entry(self, meta: Any) -> Entry:
        modified = int(meta["last_modified"].timestamp() * 1000) * 1_000_000
        return Entry(f"{SCHEME}{self.bucket.name}/{meta['path']}", meta["size"], modified, meta["e_tag"] or "")


__all__ = ["Bucket", "ObjectFile", "ObjectStore", "split_name"]
