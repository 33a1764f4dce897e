"""Follows files that grow and are rotated, as `tail -F` does, and goes on exactly where it was.

All files are looked at in turns (polling, which works on every file system), by one task: a turn lists the paths, then
reads what was appended to each file since, as whole records; a last line without an end waits for it. Files are known
by what they are and not by their names, so a renamed file is read to its end, wherever it went in its folder, and the
file that takes its name is a new one. One that was truncated is read from its beginning; what was not read of it by
then is looked for in a copy beside it.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dataflare.batch import Batch, Position
from dataflare.connectors.file.cutting import RECORD_BYTES_MAX, too_long
from dataflare.connectors.file.followed import Followed
from dataflare.connectors.file.gathering import Gathered
from dataflare.connectors.file.local_store import LocalFile
from dataflare.connectors.file.text import BLOCK_BYTES_MAX, HEADER_BYTES_MAX, TextFile, is_stream
from dataflare.errors import Place, UnavailableError, WorkflowError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dataflare.component import StageContext
    from dataflare.connectors.file.enumeration import Enumerator
    from dataflare.connectors.file.settings import FileSourceConfig
    from dataflare.connectors.file.stores import Stores

    Decode = Callable[[TextFile, bytes, list[str], tuple[int, int], bool], Iterator[Batch]]

FILES_MAX, HANDLES_MAX = 10_000, 200
ROTATED_SECONDS = 60
"""So long a file whose name is gone is looked at: its writer may not have noticed yet."""


class Follower:
    """The files of one source."""

    def __init__(
        self, context: StageContext, config: FileSourceConfig, stores: Stores, enumerator: Enumerator, decode: Decode
    ) -> None:
        """`decode` makes batches of a block of text, good rows first, with the positions that it has in its file."""
        self._context, self._config, self._stores = context, config, stores
        self._enumerator, self._decode = enumerator, decode
        self._files: dict[str, Followed] = {}
        self._handles: OrderedDict[str, TextFile] = OrderedDict()
        self._gathered = Gathered()
        self._half: list[Any] | None = None

    def begin(self, since: Position | None) -> None:
        """Stand where a position says."""
        for value in since["files"] if since else ():
            file = Followed.from_json(value)
            self._files[file.identity] = file
        self._half = since.get("half") if since else None

    def ends(self) -> Position:
        """Return how large each file is by now."""
        return {"sizes": {entry.identity: entry.size for entry in self._listed()}}

    def turn(self, until: Position | None) -> Iterator[Batch]:
        """Yield what was appended since the last turn; with `until`, of the files that are in it, up to their sizes."""
        self._look(until["sizes"] if until is not None else None)
        if self._half is not None:
            yield from self._other_half(*self._half)
        for file in list(self._files.values()):
            yield from self._read(file)
        for file in [f for f in self._files.values() if f.is_final]:
            self._forget(file)
        yield from self._gathered.take(self._position(None))

    def close(self) -> None:
        """Close all files."""
        while self._handles:
            self._handles.popitem()[1].close()

    # ---- which files ------------------------------------------------------------------------------------------------

    def _listed(self) -> Iterator[Any]:
        for entry in self._stores.behind(self._config, allow_empty=True):
            if not entry.identity:
                raise WorkflowError(
                    f"{entry.name} cannot be followed", hint="objects do not grow: set mode: incremental"
                )
            if is_stream(entry.name, self._config):
                self._enumerator.columns.notice(
                    "file.not_followed", f"{entry.name} is packed or recoded: it is not followed"
                )
            else:
                yield entry

    def _look(self, sizes: dict[str, int] | None) -> None:
        """Find out which files there are, what became of the others, and how far each is to be read."""
        for file in self._files.values():
            file.is_listed = False
        for entry in self._listed():
            known = self._files.get(entry.identity) or self._on_another_device(entry.identity, entry.name)
            if known is None:
                if sizes is not None and entry.identity not in sizes:
                    continue  # it came after this run had begun
                if len(self._files) >= FILES_MAX:
                    raise WorkflowError(
                        f"more than {FILES_MAX:,} files to follow", hint="name fewer, or set mode: incremental"
                    )
                known = self._files[entry.identity] = Followed(entry.name, entry.identity)
            file = known
            file.is_listed, file.path = True, entry.name
            file.size = entry.size if sizes is None else min(entry.size, sizes.get(entry.identity, entry.size))
            text = self._handle(file)
            if text is not None and not file.is_in(text.file):
                self._was_truncated(file)
        for file in list(self._files.values()):
            if not file.is_listed:
                self._look_for(file)

    def _on_another_device(self, identity: str, name: str) -> Followed | None:
        """Return a file whose device has another number since the machine was started anew."""
        inode = identity.partition("-")[2]
        for file in self._files.values():
            if file.name == name and not file.is_listed and file.identity.partition("-")[2] == inode:
                del self._files[file.identity]
                if self._half is not None and self._half[0] == file.identity:
                    self._half[0] = identity
                file.identity = identity
                self._files[identity] = file
                return file
        return None

    def _look_for(self, file: Followed) -> None:
        """Find a file that has another name now, in its folder; forget one that is gone."""
        text = self._handles.get(file.identity)
        if text is None:
            text = self._beside(file, lambda identity: identity == file.identity)
        if text is None or not file.is_in(text.file):
            message = f"{file.name} is gone: what followed byte {file.offset:,} in it, if anything did, was not read"
            self._enumerator.columns.notice("file.gone", message)
            self._forget(file)
            return
        assert isinstance(text.file, LocalFile)
        file.size, changed = text.file.now()
        age = self._context.runtime.clock.now() / 1e6 - changed / 1e9
        file.is_final = age > ROTATED_SECONDS

    def _was_truncated(self, file: Followed) -> None:
        """Read a file from its beginning, and what was left of it from a copy, where there is one."""
        before = Followed.from_json(file.to_json())
        copy = self._beside(before, lambda identity: identity != file.identity, prefix=True)
        told = "what was left of it is read from a copy beside it"
        if copy is None:
            told = f"what followed byte {file.offset:,} in it, if anything did, was not read"
        else:
            assert isinstance(copy.file, LocalFile)
            before.identity, before.size = copy.file.identity, copy.file.now()[0]
            del self._files[file.identity]  # what is older is read first
            self._files |= {before.identity: before, file.identity: file}
        if self._half is not None and self._half[0] == file.identity:
            self._half = [before.identity, self._half[1]] if copy is not None else None
        self._enumerator.columns.notice("file.truncated", f"{file.name} was truncated or written anew: {told}")
        file.begin_anew()

    def _beside(self, file: Followed, wanted: Callable[[str], bool], *, prefix: bool = False) -> TextFile | None:
        """Return a file in the folder, open, that holds what was read of this one; `prefix`: one named after it."""
        path = Path(self._stores.full(file.name))
        try:
            entries = sorted(os.scandir(path.parent), key=lambda e: e.name)
        except FileNotFoundError:
            return None
        for entry in entries:
            if prefix and (not entry.name.startswith(path.name) or file.offset == 0):
                continue
            if not prefix and entry.inode() != int(file.identity.partition("-")[2]):
                continue
            if not entry.is_file(follow_symlinks=False) or is_stream(entry.name, self._config):
                continue
            try:
                found = LocalFile(Path(entry.path), file.name)
            except UnavailableError:
                continue
            if wanted(found.identity) and not (prefix and found.identity in self._files) and file.is_in(found):
                return self._keep(found.identity, found)
            found.close()
        return None

    def _forget(self, file: Followed) -> None:
        self._files.pop(file.identity, None)
        text = self._handles.pop(file.identity, None)
        if text is not None:
            text.close()

    # ---- what they hold ---------------------------------------------------------------------------------------------

    def _handle(self, file: Followed) -> TextFile | None:
        """Return an open file; None where another one has its name by now."""
        if file.identity in self._handles:
            self._handles.move_to_end(file.identity)
            return self._handles[file.identity]
        try:
            found = LocalFile(Path(self._stores.full(file.path or file.name)), file.name)
        except UnavailableError:
            return None  # it is looked for in the next turn
        if found.identity != file.identity:
            found.close()
            return None
        return self._keep(file.identity, found)

    def _keep(self, identity: str, file: LocalFile) -> TextFile:
        text = self._handles[identity] = TextFile(file, self._config)
        if len(self._handles) > HANDLES_MAX:
            self._handles.popitem(last=False)[1].close()
        return text

    def _read(self, file: Followed) -> Iterator[Batch]:
        """Yield what a file holds up to its size."""
        text = self._handle(file)
        if text is None:
            return
        text.size = file.size
        if file.names is None and not self._begin(file, text):
            return
        while file.offset < file.size:
            block = self._block(file, text)
            if not block:
                return
            yield from self._decoded(file, text, block, rows_done=False)

    def _begin(self, file: Followed, text: TextFile) -> bool:
        """Learn the columns, and skip what comes before the first record; False where that is not whole yet."""
        if text.size <= HEADER_BYTES_MAX and b"\n" not in text.peek(0, text.size) and not file.is_final:
            return False
        file.names, start = self._enumerator.beginning(text)
        if file.offset < start:
            file.move(text.file, start)
        return True

    def _block(self, file: Followed, text: TextFile) -> bytes:
        """Return whole records; nothing where the last one has no end yet."""
        size = BLOCK_BYTES_MAX
        while True:
            data = text.peek(file.offset, min(file.size, file.offset + size))
            at_end = len(data) < size
            if not file.is_in(text.file):
                return b""  # it was truncated in this moment: the next turn sees to it
            if at_end and file.is_final:
                return data
            whole = text.whole(data)
            if whole or at_end:
                return data[:whole]
            if len(data) > RECORD_BYTES_MAX:
                raise too_long(file.offset).at(Place(file.name))
            size *= 2

    def _decoded(self, file: Followed, text: TextFile, block: bytes, *, rows_done: bool) -> Iterator[Batch]:
        start, end = file.offset, file.offset + len(block)
        batches = self._decode(text, text.recoded(block), file.names or [], (start, end), rows_done)
        for batch in batches:
            if batch.stream or (batch.position or {}).get("rows_done"):
                yield from self._gathered.take(self._position(None))
                half = None if batch.stream else [file.identity, end]
                if half is None:
                    file.move(text.file, end)
                yield Batch(batch.rows, batch.stream, self._position(half))
            else:
                full = self._gathered.add(batch.rows)
                file.move(text.file, end)
                if full:
                    yield from self._gathered.take(self._position(None))

    def _other_half(self, identity: str, end: int) -> Iterator[Batch]:
        """Yield the bad rows of a block whose good rows went out before."""
        self._half = None
        file = self._files.get(identity)
        text = self._handle(file) if file is not None else None
        if file is None or text is None:
            return
        text.size = file.size
        if file.names is None:
            file.names, _ = self._enumerator.beginning(text)
        yield from self._decoded(file, text, text.peek(file.offset, end), rows_done=True)

    def _position(self, half: list[Any] | None) -> dict[str, Any]:
        files = {"files": [file.to_json() for file in self._files.values()]}
        return files if half is None else {**files, "half": half}


__all__ = ["Follower"]
