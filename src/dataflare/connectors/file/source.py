"""Reads files of text and of columns, in splits that any number of tasks read side by side."""

from __future__ import annotations

from itertools import groupby, islice
from threading import Lock
from typing import TYPE_CHECKING, Any, ClassVar

from dataflare.batch import Batch, Encoded, Position
from dataflare.component import SourceConnector, Split, Stream, source
from dataflare.component.deviations import Contract
from dataflare.connectors.file.decoders import Decoders
from dataflare.connectors.file.documents import DocumentReader
from dataflare.connectors.file.enumeration import Enumerator
from dataflare.connectors.file.gathering import read_many
from dataflare.connectors.file.partitions import Placed
from dataflare.connectors.file.sample import sampled_schema
from dataflare.connectors.file.settings import CONTAINERS, EXTENSIONS, FileSourceConfig, extension_of, format_of
from dataflare.connectors.file.stores import Stores
from dataflare.connectors.file.surroundings import FILES_MAX
from dataflare.connectors.file.text import BLOCK_BYTES_MAX, TextFile
from dataflare.errors import WorkflowError
from dataflare.formats.contract import Terms
from dataflare.formats.rejected import ERRORS, Decoded, errors_table, refuse
from dataflare.schema import Schema

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping, Sequence

    from dataflare.connectors.file.follow import Follower
    from dataflare.connectors.file.groups import GroupReader
    from dataflare.connectors.file.store import Store
    from dataflare.errors import UnavailableError

SPLIT = "follow"


@source(
    "file",
    status="beta",
    replay="exact",
    modes=("full", "incremental", "streaming"),
    pushdown=("columns",),
    examples=[{"path": "data/orders-*.csv", "columns": {"id": "int64", "amount": "decimal(12,2)"}}],
)
class FileSource(SourceConnector[FileSourceConfig]):
    """Reads CSV, JSON lines and documents, Parquet, Arrow and Avro files, and sheets of Excel.

    Mode `full` reads every file behind `path`, in order of their names. Mode `incremental` remembers what it has read
    (size, time and a checksum of the last kilobyte of each file): the next run reads new files, and of text files that
    grew only what was appended. A run is bounded: it reads what was there when it began. Where a run was broken off
    in the middle of a file and that file was replaced since, or rows in it became longer or shorter, the next run says
    so and reads no row of it; a row may be corrected in its place.

    Mode `streaming` follows files that grow, as `tail -F` does, and never ends; with `--until now` it reads what is
    there now. Whole records are read, a last line without an end waits for it. Renamed files are read to their end and
    truncated ones from their beginning. Files are looked at every `poll_interval`, by one task.

    A `.json` file that begins with an array, or with an object of several lines, is a document: its records are the
    elements of the array, or the objects, or those under the path `records`. One task reads it, from wherever a run
    was broken off.

    Columns are matched by name. Types are those of `columns`, or those that Parquet and its like tell, or guessed from
    a sample (`sample_files`, `sample_bytes`); numbers with leading zeros stay strings. A `timestamp` without a zone is
    UTC.

    A row that cannot be read (too many or too few fields, text that is not of its type, broken encoding or JSON, a
    quote that is never closed) fails the run with file and line, or goes to the output `errors` by `on_error`:
    columns `error`, `file`, `line`, `raw`. Values of columns that nobody reads are not judged. What becomes of columns
    and values that are not as planned, the contract under `schema` says.
    """

    errors_schema: ClassVar[Schema] = ERRORS

    def __init__(self, config: FileSourceConfig) -> None:
        """Open nothing."""
        super().__init__(config)
        self._file: TextFile | None = None
        self._groups: GroupReader | None = None
        self._decoders: Decoders | None = None
        self._placed: Placed | None = None
        self._known: tuple[str, list[Any] | None] = ("", None)
        self._stores: Stores | None = None
        self._enumerator: Enumerator | None = None
        self._followed: Follower | None = None
        self._turn = Lock()

    def declared(self) -> Mapping[str, Stream] | None:
        """Return the declared columns, if they are declared."""
        if self.config.columns is None:
            return None
        named = {self.config.name_column: "string"} if self.config.name_column else {}
        rest = {self.config.rest_column: "json"} if self.config.rest_column else {}
        return self._streams(Schema.of({**self.config.columns, **rest, **named}))

    def streams(self) -> Mapping[str, Stream]:
        """Return the declared columns, or guess them from the files."""
        return self.declared() or self._streams(self._with_rest(sampled_schema(self.context, self.config)))

    def observed(self) -> Mapping[str, Stream] | None:
        """Return the columns that the files have, where others may be declared."""
        if self.config.columns is None:
            return None
        return self._streams(self._with_rest(sampled_schema(self.context, self.config)))

    def check(self) -> list[UnavailableError]:
        """Look whether there are files, and whether they may be read."""
        stores = Stores(self.context, self.config.s3)
        allow_empty = self.config.allow_empty or self.context.mode == "streaming"
        entries = islice(stores.behind(self.config, allow_empty=allow_empty), FILES_MAX)
        by_store = groupby((e.name for e in entries), stores.of)
        return [error for store, names in by_store for error in store.unreadable(names)]

    def remembers(self, key: Sequence[str]) -> Sequence[str]:
        """Return none: positions are places in files."""
        del key
        return ()

    def splits(self, since: Position | None) -> Iterator[Split]:
        """Yield byte ranges (or row groups) of about `split_bytes`, file after file, looking no further than asked."""
        if self.context.mode == "streaming":
            return iter([Split(SPLIT)])
        return Enumerator(self.context, self.config, self._schema()).splits(since)

    def read(
        self, split: Split, since: Position | None, until: Position | None
    ) -> Iterator[Batch] | AsyncIterator[Batch]:
        """Yield a split, in one batch where that is at most 16 MiB of text.

        Bad rows follow the good ones of their block as a batch of the stream `errors`; the position between the two
        says so, and a resume from there yields only the bad ones.
        """
        if split.id == SPLIT:
            return self._follow(since, until)
        if "files" in split.data:
            return self._up_to(read_many(split.data["files"], since, self._looks().ahead, self._read_small), until)
        return self._up_to(self._read_one(split, since), until)

    def _read_one(self, split: Split, since: Position | None, *, judged: bool = False) -> Iterator[Batch]:
        kind = self._kind(split.data["path"])
        self._recognise(split)
        if kind in CONTAINERS:
            return self._read_groups(split, since, kind)
        return self._read_text(split, since, kind, judged=judged)

    def _kind(self, name: str) -> str:
        """Return how a file is read; what is special of documents and workbooks is done before."""
        kind = format_of(name, self.config.format)
        return {"json": "jsonl", "json_array": "jsonl", "excel": "csv"}.get(kind, kind)

    def _read_small(self, file: list[Any], since: Position | None) -> Iterator[Batch]:
        """Yield the rows of one of many small files."""
        split = self._looks().small(file, begun=since is not None)
        if split is not None:
            yield from self._read_one(split, since, judged=True)

    def _looks(self) -> Enumerator:
        if self._enumerator is None:
            if self._stores is None:
                self._stores = Stores(self.context, self.config.s3)
            self._enumerator = Enumerator(self.context, self.config, self._schema(), self._stores)
        return self._enumerator

    @staticmethod
    def _up_to(batches: Iterator[Batch], until: Position | None) -> Iterator[Batch]:
        for batch in batches:
            yield batch
            if until is not None and batch.position == dict(until):
                return

    def open(self) -> None:
        """Learn whether rows are waited for; raise WorkflowError for files that cannot be followed."""
        self.waits = self.context.mode == "streaming"
        whole = self._kinds() & {*CONTAINERS, "json_array", "excel"}
        if self.waits and whole:
            hint = "read them with mode: incremental, which takes up new files"
            raise WorkflowError(f"files of {min(whole)} are read whole and cannot be followed", hint=hint)

    def ends(self) -> Mapping[str, Position]:
        """Return how large followed files are by now; other modes end by themselves."""
        return {SPLIT: self._follower().ends()} if self.context.mode == "streaming" else {}

    def close(self) -> None:
        """Close files and decoders."""
        with self._turn:
            if self._followed is not None:
                self._followed.close()
                self._followed = None
        if self._file is not None:
            self._file.close()
        if self._groups is not None:
            self._groups.close()
        if self._decoders is not None:
            self._decoders.close()
        self._file = self._groups = self._decoders = None

    def _recognise(self, split: Split) -> None:
        """Refuse a file that is not the one that was cut into splits; each is looked at once."""
        name, was = split.data["path"], split.data.get("was")
        if was is not None and (name, was) != self._known:
            self._store(name).is_known(name, was)
            self._known = (name, was)

    def _store(self, name: str) -> Store:
        if self._stores is None:
            self._stores = Stores(self.context, self.config.s3)
        return self._stores.of(name)

    def _with_rest(self, schema: Schema) -> Schema:
        rest = self.config.rest_column
        return Schema.of({**{c.name: c.type for c in schema}, rest: "json"}) if rest else schema

    def _streams(self, schema: Schema) -> Mapping[str, Stream]:
        if self.config.rest_column and (others := self._kinds() - {"", "jsonl", "json", "json_array"}):
            hint = "leave it out; other formats name their columns"
            raise WorkflowError(f"rest_column is for JSON, not for {min(others)}", hint=hint)
        plain = Terms(self.context.contract, rest=self.config.rest_column).are_plain()
        return {"": Stream(schema, unjudged=("jsonl",) if plain and self._kinds() <= {"jsonl", "json"} else ())}

    def _kinds(self) -> set[str]:
        """Return the formats of the paths, as far as they are told."""
        return {self.config.format or EXTENSIONS.get(extension_of(name), "") for name in self.config.paths}

    def _schema(self) -> Schema:
        """Return the columns to read: the planned ones, less those that nobody reads."""
        planned = self.context.schemas[""] if "" in self.context.schemas else self.streams()[""].schema
        wanted = self.context.hints.columns
        if wanted is None:
            return planned
        kept = [c for c in planned.names if c in wanted] or planned.names[:1]
        return planned.select(kept)

    # ---- files that grow ----------------------------------------------------------------------------------------

    async def _follow(self, since: Position | None, until: Position | None) -> AsyncIterator[Batch]:
        follower, runtime = self._follower(), self.context.runtime
        follower.begin(since)
        while True:
            turn = follower.turn(until)
            while (batch := await runtime.call(self._step, turn)) is not None:
                yield batch
            if until is not None:
                return
            await runtime.clock.sleep(self.config.poll_interval)

    def _step(self, turn: Iterator[Batch]) -> Batch | None:
        with self._turn:  # a read that was given up may still be on its way when the source is closed
            return next(turn, None) if self._followed is not None else None

    def _follower(self) -> Follower:
        from dataflare.connectors.file.follow import Follower

        if self._followed is None:
            stores, enumerator = (
                Stores(self.context, self.config.s3),
                Enumerator(self.context, self.config, self._schema()),
            )
            self._followed = Follower(self.context, self.config, stores, enumerator, self._appended)
        return self._followed

    def _appended(
        self,
        file: TextFile,
        block: bytes,
        names: list[str],
        at: tuple[int, int],
        rows_done: bool,  # noqa: FBT001
    ) -> Iterator[Batch]:
        decoded = self._decode(block, names, self._kind(file.name), file.name)
        self.bytes_read += at[1] - at[0]
        yield from self._batches(file, decoded, at, None, rows_done=rows_done)

    # ---- text ---------------------------------------------------------------------------------------------------

    def _read_text(self, split: Split, since: Position | None, kind: str, *, judged: bool) -> Iterator[Batch]:
        file = self._open(split.data["path"])
        document = DocumentReader(file, self.config) if "document" in split.data else None
        if document is not None:
            blocks = document.blocks(split, since)
        else:
            cut = self._stream_blocks if split.data.get("stream") else self._blocks
            blocks = cut(file, split, since)
        rows_done = bool(since and since.get("rows_done"))
        judged = judged or document is not None
        whole = not judged and kind == self.context.hints.unjudged and self._place().inner(file.name) == self._schema()
        for block, names, start, end, line in blocks:
            if whole and not rows_done:
                yield Batch(Encoded(block, kind, judged=False, origin=(start, end, line)), position={"offset": end})
            else:
                decoded = self._decode(block, names, kind, file.name)
                decoded = decoded if document is None else document.placed(decoded)
                yield from self._batches(file, decoded, (start, end), line, rows_done=rows_done)
            rows_done = False
            self.bytes_read += file.bytes_read
            file.bytes_read = 0

    def decode(self, batch: Batch) -> Iterator[Batch]:
        """Return the good rows of a block of JSON lines that nobody has judged, then the bad ones."""
        assert self._file is not None
        assert isinstance(batch.payload, Encoded)
        start, end, line = batch.payload.origin
        decoded = self._decode(bytes(batch.payload.data), [], batch.payload.codec, self._file.name)
        yield from self._batches(self._file, decoded, (start, end), line, rows_done=False)

    def _batches(
        self, file: TextFile, decoded: Decoded, at: tuple[int, int], line: int | None, *, rows_done: bool
    ) -> Iterator[Batch]:
        """Yield the good rows of a block, then the bad ones."""
        start, end = at
        rows = self._place().rows(decoded.rows, file.name)
        if not decoded.rejected:
            yield Batch(rows, position={"offset": end})
            return
        first_line = line if line is not None else file.line_at(start)
        refuse(decoded.rejected, self.context.on_error, file.name, first_line)
        if not rows_done:
            yield Batch(rows, position={"offset": start, "rows_done": True})
        errors = errors_table(decoded.rejected, file.name, first_line)
        yield Batch(errors, "errors", {"offset": end})

    def _blocks(
        self, file: TextFile, split: Split, since: Position | None
    ) -> Iterator[tuple[bytes, list[str], int, int, int | None]]:
        """Yield (text, column names, start, end, None) of the blocks of a byte range."""
        start, end = since["offset"] if since else split.data["start"], split.data["end"]
        names = split.data.get("names", [])
        while start < end:
            data = file.range(start, min(end, start + BLOCK_BYTES_MAX))
            if start + len(data) < end:
                whole = file.whole(data)
                data = data[:whole] if whole else data + file.range(start + len(data), end)
            yield file.recoded(data), names, start, start + len(data), None
            start += len(data)

    def _stream_blocks(
        self, file: TextFile, split: Split, since: Position | None
    ) -> Iterator[tuple[bytes, list[str], int, int, int | None]]:
        """Yield the blocks of a file that is read from its beginning; offsets count its text in UTF-8."""
        names, body = list(split.data.get("names", [])), split.data["start"]
        start = since["offset"] if since else body
        line, at = 1, 0
        for block in file.blocks(0, min(self.config.split_bytes, BLOCK_BYTES_MAX)):
            end = at + len(block)
            if end > start:
                inner = max(0, start - at)
                before = line + block.count(b"\n", 0, inner)
                yield block[inner:], names, at + inner, end, before
            line += block.count(b"\n")
            at = end

    def _place(self) -> Placed:
        if self._placed is None:
            self._placed = Placed(self._schema(), self.config)
        return self._placed

    def _decode(self, block: bytes, names: list[str], kind: str, name: str) -> Decoded:
        return self._decoding().decode(block, kind, names, self._place().inner(name))

    def _decoding(self) -> Decoders:
        if self._decoders is None:
            self._decoders = Decoders(self.context, self.config)
        return self._decoders

    def _open(self, name: str) -> TextFile:
        if self._file is None or self._file.name != name:
            if self._file is not None:
                self._file.close()
            self._file = TextFile(self._store(name).open(name), self.config)
        return self._file

    # ---- row groups ---------------------------------------------------------------------------------------------

    def _read_groups(self, split: Split, since: Position | None, kind: str) -> Iterator[Batch]:
        from dataflare.connectors.file.groups import GroupReader

        name = split.data["path"]
        if self._groups is None or self._groups.name != name:
            if self._groups is not None:
                self._groups.close()
            word = self.context.contract.get("data_type", "evolve")
            self._groups = GroupReader(self._store(name), name, kind, self._place().inner(name), word)
        aside = Contract(self.context, "file").puts_aside()
        for batch in self._groups.read(split, since, self.context.budget.memory_bytes_max, put_aside=aside):
            yield batch if batch.stream else batch.replace(self._place().rows(batch.rows, name))
            self.bytes_read += self._groups.bytes_read()


__all__ = ["FileSource", "FileSourceConfig"]
