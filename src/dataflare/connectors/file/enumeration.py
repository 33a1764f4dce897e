"""Lists the splits of files lazily, and says after each where to go on.

Mode full: `{"path", "offset", "was"}`, and `{"path", "done"}` after the last split of a file; files before that path
are read. `was` is the fingerprint of the file, which each of its splits carries too. Mode incremental: `{"files",
"listing", "at", "offset", "was"}`; `files` is what earlier passes read (name to size, time, mark), `listing` what this
pass reads, fixed when it began, `at` and `offset` how far it has come. Those two parts are shared by all positions of
a pass, so that they cost nothing a split.
"""

from __future__ import annotations

from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Any

from dataflare.component import Split
from dataflare.connectors.file.columns import Columns
from dataflare.connectors.file.cutting import cuts
from dataflare.connectors.file.documents import beginning, is_document
from dataflare.connectors.file.gathering import AHEAD
from dataflare.connectors.file.listing import Listed, changed_files, listed_anew, remembered
from dataflare.connectors.file.settings import CONTAINERS, DOCUMENTS, FileSourceConfig, format_of
from dataflare.connectors.file.stores import Stores
from dataflare.connectors.file.text import TextFile, became_shorter, is_stream
from dataflare.errors import DataError, Place, UnavailableError
from dataflare.formats.csv.infer import first_record, unique_names

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from dataflare.batch import Position
    from dataflare.component import StageContext
    from dataflare.schema import Schema

Cut = tuple[int, int, int, dict[str, Any]]
"""Start, end, bytes and further data of a split."""

Numbered = tuple[int, Listed, int]
"""The number of a file in its pass, the file, and its size."""

STREAM_HEAD_BYTES = 1 << 20
SMALL_PARTS, GROUP_FILES_MAX = 16, 256
"""Files of at most a sixteenth of `split_bytes` are read together, so many at a time."""


class Enumerator:
    """The splits of one source."""

    def __init__(
        self, context: StageContext, config: FileSourceConfig, schema: Schema, stores: Stores | None = None
    ) -> None:
        """List nothing yet."""
        self._context, self._config = context, config
        self.columns = Columns(context, config, schema)
        self._stores = stores or Stores(context, config.s3)

    def splits(self, since: Position | None) -> Iterator[Split]:
        """Yield the splits after `since`."""
        return self._incremental(since) if self._context.mode == "incremental" else self._full(since)

    # ---- passes -------------------------------------------------------------------------------------------------

    def _full(self, since: Position | None) -> Iterator[Split]:
        if since is not None and not since.get("done"):
            yield from self._rest(since)
        behind = self._stores.behind(
            self._config,
            allow_empty=self._config.allow_empty or since is not None,
            after=since["path"] if since is not None else "",
        )
        for group in self._grouped((0, Listed(e.name, -1, e.modified, 0), e.size) for e in behind):
            last = group[-1][1].name
            yield from self._each(group, None, partial(_after_file, last))

    def _rest(self, since: Position) -> Iterator[Split]:
        """Yield what is left of the file of which a part was read."""
        name = since["path"]
        try:
            self._stores.of(name).entry(name)
        except UnavailableError as error:
            raise UnavailableError(
                f"{name} is gone, and only a part of it has been read",
                hint="put it back; or start anew with another state and another output",
            ) from error
        if "was" in since:
            self._recognise(name, since["was"])
        yield from self._file(Listed(name, -1, 0, 0), since["offset"], partial(_after, name))

    def _incremental(self, since: Position | None) -> Iterator[Split]:
        files: Mapping[str, list[int]] = {}
        if since is not None:
            found = False
            if "was" in since:
                self._recognise(since["listing"][since["at"]][0], since["was"])
            for split in self._pass(since["files"], since["listing"], since["at"], since["offset"]):
                found = True
                yield split
            if found:  # what is left of that pass is this run; files without rows are none
                return
            read = (Listed.from_json(v) for v in since["listing"])
            files = {**since["files"], **{f.name: [f.size, f.modified, f.mark] for f in read}}
        behind = list(self._stores.behind(self._config, allow_empty=self._config.allow_empty or bool(files)))
        listed, replaced = changed_files(self._stores, behind, files, self._grows)
        if files and self._stores.are_there(self._config):
            files = remembered(files, {entry.name for entry in behind}, self._config.forget_after)
        for name in replaced:
            self.columns.notice(
                "file.replaced", f"{name} is not what was read before: it is read again from its beginning"
            )
        yield from self._pass(files, [f.to_json() for f in listed], 0, None)

    def _pass(self, files: Any, listing: list[Any], at: int, offset: int | None) -> Iterator[Split]:
        def after(number: int, end: int, last: bool) -> dict[str, Any]:  # noqa: FBT001 - one kind of callback
            position = (number + 1, None) if last else (number, end)
            return {"files": files, "listing": listing, "at": position[0], "offset": position[1]}

        def found() -> Iterator[Numbered]:
            nonlocal listing
            for number in range(at, len(listing)):
                if (number - at) % AHEAD == 0:
                    self.ahead([v for v in listing[number : number + AHEAD] if v[1] <= self._small_bytes])
                listed = Listed.from_json(listing[number])
                if number != at or offset is None:  # nothing of it has been read in this pass
                    listed = listed_anew(self._stores.of(listed.name), listed)
                    if listed.to_json() != listing[number]:
                        message = f"{listed.name} is not what was listed: it is read as it is now"
                        self.columns.notice("file.replaced", message)
                        listing = [*listing[:number], listed.to_json(), *listing[number + 1 :]]
                if listed.start:
                    self._check_growth(listed)
                alone = listed.start or (number == at and offset is not None)
                yield number, listed, self._config.split_bytes if alone else listed.size

        for group in self._grouped(found()):
            yield from self._each(group, offset if group[0][0] == at else None, after)

    def _grows(self, name: str) -> bool:
        """Tell whether what is appended to a file can be read alone."""
        kind = format_of(name, self._config.format)
        if kind in CONTAINERS or is_stream(name, self._config):
            return False
        return kind not in DOCUMENTS or not self._is_document(name, kind)

    # ---- many small files ---------------------------------------------------------------------------------------

    def _grouped(self, files: Iterable[Numbered]) -> Iterator[list[Numbered]]:
        """Yield files alone, and small ones together with their neighbours of the same kind."""
        group: list[Numbered] = []
        held, kind = 0, ""
        for file in files:
            _, listed, size = file
            own = format_of(listed.name, self._config.format)
            is_small = size <= self._small_bytes
            full = held + size > self._config.split_bytes or len(group) >= GROUP_FILES_MAX
            if group and (not is_small or own != kind or full):
                yield group
                group, held = [], 0
            kind = own
            if is_small:
                group.append(file)
                held += size
            else:
                yield [file]
        if group:
            yield group

    def _each(
        self, group: list[Numbered], offset: int | None, after: Callable[[int, int, bool], dict[str, Any]]
    ) -> Iterator[Split]:
        """Yield the splits of one file, or the one split of many."""
        if len(group) == 1:
            number, listed, _ = group[0]
            yield from self._file(listed, offset, partial(after, number))
            return
        files = [[f.name, f.size, f.modified, f.mark] for _, f, _ in group]
        identity = f"{files[0][0]}..{files[-1][0]}"
        size = sum(size for _, _, size in group)
        yield Split(identity, {"files": files}, after(group[-1][0], -1, True), size)  # noqa: FBT003

    @property
    def _small_bytes(self) -> int:
        return self._config.split_bytes // SMALL_PARTS

    def ahead(self, files: Sequence[list[Any]]) -> None:
        """Get ready for small files that are looked at next, each a list that begins with its name."""
        for store, names in groupby((f[0] for f in files), self._stores.of):
            store.ahead(list(names))

    def small(self, file: list[Any], *, begun: bool) -> Split | None:
        """Return the one split of one of many files; None where it has no rows. Raises DataError for another file.

        Where the size is told, the file is read up to there; else as it is now, unless a part was read before.
        """
        name, size, modified, mark = file
        store = self._stores.of(name)
        if size >= 0 or begun:
            entry = store.entry(name)
            if entry.modified != modified and (size < 0 or entry.size < size or store.mark(entry, size) != mark):
                hint = "write files under another name and move them into place when they are whole"
                raise DataError("the file was written anew while it was read", hint=hint, place=Place(name))
        cuts_ = list(self._cuts(Listed(name, size, modified, mark), None))
        if not cuts_:
            return None
        (start, *_), (_, end, _, data) = cuts_[0], cuts_[-1]
        return Split(name, {"path": name, "start": start, "end": end, **data})

    # ---- one file -----------------------------------------------------------------------------------------------

    def _recognise(self, name: str, was: list[Any]) -> None:
        """Refuse to go on in a file that is not the one of which a part was read."""
        if not self._stores.of(name).is_known(name, was):
            message = f"{name} was written since a part of it was read, and is nearly the same where it was looked at"
            self.columns.notice("file.touched", f"{message}: it is taken for that file")

    def _file(
        self, listed: Listed, offset: int | None, after: Callable[[int, bool], dict[str, Any]]
    ) -> Iterator[Split]:
        """Yield the splits of a file from `offset` (None: from where it starts in this pass)."""
        found = self._cuts(listed, offset)
        was = self._stores.of(listed.name).fingerprint(listed.name)
        previous: Cut | None = None
        for cut in found:  # one ahead, to know the last
            if previous is not None:
                yield self._split(listed, was, previous, after(previous[1], False))  # noqa: FBT003
            previous = cut
        if previous is not None:
            yield self._split(listed, was, previous, after(previous[1], True))  # noqa: FBT003

    def _cuts(self, listed: Listed, offset: int | None) -> Iterator[Cut]:
        kind = format_of(listed.name, self._config.format)
        if kind in CONTAINERS:
            return self._groups(listed.name, kind, offset or 0)
        if kind in DOCUMENTS and self._is_document(listed.name, kind):
            return self._document(listed.name)
        if is_stream(listed.name, self._config):
            return self._stream(listed.name, "csv" if kind == "excel" else kind)
        return self._ranges(listed, kind, offset)

    @staticmethod
    def _split(listed: Listed, was: list[Any], cut: Cut, resume: dict[str, Any]) -> Split:
        start, end, size, data = cut
        identity = f"{listed.name}@{start}-{end}"
        position = resume if resume.get("offset") is None else {**resume, "was": was}
        return Split(identity, {"path": listed.name, "start": start, "end": end, "was": was, **data}, position, size)

    def _ranges(self, listed: Listed, kind: str, offset: int | None) -> Iterator[Cut]:
        file = self._text(listed.name)
        try:
            options = self._config.csv_options() if kind == "csv" else None
            names, begin = self.beginning(file)
            data: dict[str, Any] = {} if options is None else {"names": names}
            start = max(begin, listed.start) if offset is None else offset
            end = file.size if listed.size < 0 else listed.size
            if start > file.size and offset is not None:
                raise became_shorter(listed.name)
            for low, high in cuts(file.file, start, end, self._config.split_bytes, options):
                yield low, high, high - low, data
        except DataError as error:
            raise error.at(Place(listed.name)) from None
        finally:
            file.close()

    def beginning(self, file: TextFile) -> tuple[list[str], int]:
        """Return the columns that a plain CSV file names, and where the first record of any text begins."""
        if format_of(file.name, self._config.format) != "csv":
            return [], file.start()
        names, start = self._names(file)
        self.columns.check(file.name, names)
        return names, start

    def _stream(self, name: str, kind: str) -> Iterator[Cut]:
        file = self._text(name)
        try:
            data: dict[str, Any] = {"stream": True}
            start = file.skipped()
            if kind == "csv":
                head = file.head(STREAM_HEAD_BYTES)
                fields, end = first_record(head, self._config.csv_options())
                if self._config.header:
                    data["names"], start = unique_names(fields), start + end
                else:
                    data["names"] = self._positional(len(fields))
                if fields:
                    self.columns.check(name, data["names"])
            yield start, -1, file.size, data
        finally:
            file.close()

    def _is_document(self, name: str, kind: str) -> bool:
        file = self._text(name)
        try:
            return is_document(file, kind, self._config)
        finally:
            file.close()

    def _document(self, name: str) -> Iterator[Cut]:
        file = self._text(name)
        try:
            start, kind = beginning(file, self._config)
            if kind != "none":
                yield start, -1, file.size, {"document": kind}
        finally:
            file.close()

    def _groups(self, name: str, kind: str, since: int) -> Iterator[Cut]:
        from dataflare.connectors.file.groups import open_container

        file = open_container(self._stores.of(name), name, kind)
        try:
            if since > file.end:
                raise became_shorter(name)
            self.columns.check(name, file.schema.names)
            self.columns.check_types(name, file.schema)
            for first, end, size in file.ranges(since, self._config.split_bytes):
                yield first, end, size, {}
        except DataError as error:
            raise error.at(Place(name)) from None
        finally:
            file.close()

    def _text(self, name: str) -> TextFile:
        return TextFile(self._stores.of(name).open(name), self._config)

    def _names(self, file: TextFile) -> tuple[list[str], int]:
        fields, end = file.header()
        if self._config.header:
            return fields, end
        return self._positional(len(fields)), file.start()

    def _positional(self, count: int) -> list[str]:
        """Return the names of a file without header: the declared ones, then numbers."""
        declared = list(self._config.columns or ())
        return [declared[n] if n < len(declared) else f"column_{n + 1}" for n in range(count)]

    # ---- checks -------------------------------------------------------------------------------------------------

    def _check_growth(self, listed: Listed) -> None:
        """Refuse to go on in the middle of a record: what was read as the last record has become longer."""
        file = self._stores.of(listed.name).open(listed.name)
        try:
            around = file.pread(listed.start - 1, listed.start + 1)
        finally:
            file.close()
        before, next_byte = around[:1], around[1:]
        if before != b"\n" and next_byte not in (b"\n", b"\r"):
            raise DataError(
                "the file has grown in the middle of what was read as its last record",
                hint="let the writer append whole lines, or read it in mode full",
                place=Place(listed.name),
            )


def _after_file(name: str, number: int, end: int, last: bool) -> dict[str, Any]:  # noqa: FBT001
    del number
    return _after(name, end, last)


def _after(name: str, end: int, last: bool) -> dict[str, Any]:  # noqa: FBT001 - one kind of callback for both modes
    return {"path": name, "done": True} if last else {"path": name, "offset": end}


__all__ = ["Enumerator"]
