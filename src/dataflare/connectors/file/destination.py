"""Writes files of text and of columns, many in a folder or one alone, exactly once."""

from __future__ import annotations

from functools import partial
from typing import IO, TYPE_CHECKING, Any

import pyarrow as pa

from dataflare.component import DestinationConnector, Epoch, Handle, destination
from dataflare.connectors.file.beginning import Beginning
from dataflare.connectors.file.dividing import check_columns, divided
from dataflare.connectors.file.encoders import check_schema, container_encoder, packing_for
from dataflare.connectors.file.folder import Folder
from dataflare.connectors.file.groups import open_container
from dataflare.connectors.file.settings import (
    CONTAINERS,
    EXTENSIONS,
    FileDestinationConfig,
    as_source,
    extension_of,
    format_of,
)
from dataflare.connectors.file.single import SingleAtEnd, SingleText
from dataflare.connectors.file.stores import Stores
from dataflare.connectors.file.surroundings import unwritable
from dataflare.connectors.file.writers import Limits, Writers
from dataflare.errors import DataError, UnavailableError, WorkflowError
from dataflare.formats.csv.encode import CsvEncoder, header_line
from dataflare.formats.jsonl.encode import JsonlEncoder, JsonTexts
from dataflare.formats.packing import EXTENSIONS as EXTENSIONS_PACKED
from dataflare.formats.packing import PackedEncoder, packed, unpacked
from dataflare.formats.recoding import Recoder, mark_of, recoded
from dataflare.objects.settings import SCHEME
from dataflare.plan_words import Mechanism

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from typing import TypeAlias

    from dataflare.batch import Batch
    from dataflare.connectors.file.object_layouts import ObjectFolder, SingleObject
    from dataflare.connectors.file.object_store import Bucket
    from dataflare.formats.encoder import Encoder, Sink
    from dataflare.schema import Schema

    Layout: TypeAlias = Folder | SingleText | SingleAtEnd | ObjectFolder | SingleObject

HEAD_BYTES = 1 << 16
_JSON = ("jsonl", "json_array")
AT_END = (*CONTAINERS, "json_array", "excel")
"""Formats whose files cannot be appended to: one file of them is made when a run ends."""
_EXTENSIONS = {"arrow_stream": "arrows", "json_array": "json", "excel": "xlsx"}
STAGED_BYTES_MAX = 4 << 30
"""One request copies at most 5 GiB inside an object store: staged objects stay below that."""


@destination(
    "file",
    status="beta",
    mechanisms=(Mechanism.TWO_PHASE,),
    write_modes=("append", "overwrite"),
    parallel=True,
    examples=[{"path": "out/orders", "format": "parquet"}, {"path": "out/report.csv"}],
)
class FileDestination(DestinationConnector[FileDestinationConfig]):
    """Writes CSV, JSON lines, JSON arrays, Parquet, Arrow, Avro or Excel files.

    A `path` with a file extension is one file; else it is a folder, into which each task puts a file an epoch
    (`part-EPOCH-ATTEMPT-TASK-NUMBER`), or more by `file_rows_max` and `file_bytes_max`. Rows become visible at commit,
    whole files by a rename; those of a single CSV or JSON-lines file by an append that a crash cannot repeat; those of
    a single file of another format when the run ends.

    A path that begins with `s3://` is below a bucket, likewise: objects are put whole under hidden names, and become
    visible at commit by copies inside the store; a single object, of text too, is put together when the run ends.

    With `partition_by` the files lie in folders such as `year=2026/month=1` below (null is
    `__HIVE_DEFAULT_PARTITION__`), and these columns stand in the names only: the source reads them back with
    `hive: true`. A task has at most `open_files_max` partitions open, and more files where there are more.

    `overwrite` replaces what earlier runs wrote when the run ends, and not before; other files in a folder stay. With
    `overwrite: partitions` only those partitions are replaced that the run writes; all others stay as they are.
    Files that are not finished are hidden (`.staged-*`), and left-overs of crashes are removed by the next run.
    """

    @classmethod
    def read_back(cls, config: Mapping[str, Any], schema: Schema) -> tuple[str, Mapping[str, Any]]:
        """Read the files that are there, also such as others have put into the folder."""
        return "file", as_source(config, schema)

    def check(self) -> list[UnavailableError]:
        """Look whether there is a place for the files."""
        self._check_overwrite()
        if self.config.path.startswith(SCHEME):
            self._bucket().check()
            return []
        path = self.context.path(self.config.path)
        single = extension_of(path.name) in EXTENSIONS and not path.is_dir()
        return list(unwritable(path, folder=not single))

    def open(self) -> None:
        """Create folders; refuse to append to a file with other columns."""
        config = self.config
        path, remote = self.context.path(config.path), config.path.startswith(SCHEME)
        self._check_overwrite()
        single = extension_of(path.name) in EXTENSIONS and (remote or not path.is_dir())
        kind = format_of(config.path, config.format or (None if single else "jsonl"))
        self._format = "jsonl" if kind == "json" else kind
        self._packing = packing_for(self._format, path.name if single else "", config)
        if not remote and not single and path.is_file():
            raise UnavailableError(f"{path} is a file", hint="give the path a file extension, or name a folder")
        self._schema = self._planned_schema()
        self._choose_columns(single=single)
        self._json = frozenset(c.name for s in self.context.schemas.values() for c in s if c.type == "json")
        self._check_columns(single=single)
        self._layout = self._choose_layout(single=single)
        self._layout.open()
        self._texts = JsonTexts(self.context.budget.memory_bytes_max)
        open_files = config.open_files_max if config.partition_by else 1
        held = self.context.budget.memory_bytes_max // 4
        bytes_max = (
            min(config.file_bytes_max or STAGED_BYTES_MAX, STAGED_BYTES_MAX) if remote else config.file_bytes_max
        )
        limits = Limits(held, open_files, config.file_rows_max, bytes_max)
        self._writers = Writers(partial(self._layout.staging.begin, self._encoder), limits)

    def write(self, batch: Batch) -> None:
        """Append to the hidden file of this task."""
        rows = self._fitted(batch.rows)
        if not self.config.partition_by:
            self._writers.write("", rows)
            return
        for folder, part in divided(rows, self.config.partition_by):
            self._writers.write(folder, part)

    def prepare(self, epoch: Epoch) -> Sequence[Handle]:
        """Make the hidden files durable; return their names."""
        return self._layout.handles(epoch, self._writers.finish())

    def commit(self, epoch: Epoch, handles: Sequence[Handle]) -> None:
        """Publish; what is published already is left alone. Raises StateError where something staged is gone."""
        del epoch
        self._layout.commit(handles)

    def abort(self, keep: Sequence[Handle]) -> None:
        """Remove hidden files of earlier attempts."""
        self._layout.abort(keep)

    def finish(self) -> None:
        """Swap in what replaces, complete what can only be complete at the end."""
        self._layout.finish()

    def close(self) -> None:
        """Remove hidden files that were not handed over."""
        if hasattr(self, "_writers"):
            self._writers.discard()
        if hasattr(self, "_texts"):
            self._texts.close()

    def _check_overwrite(self) -> None:
        if self.config.overwrite == "partitions" and self.context.write_mode != "overwrite":
            hint = "add write_mode: overwrite beside config, or leave it out"
            raise WorkflowError("overwrite: partitions says what write_mode: overwrite replaces", hint=hint)

    def _choose_layout(self, *, single: bool) -> Layout:
        path, extension = self.context.path(self.config.path), self._extension()
        only_written = self.config.overwrite == "partitions"
        if self.config.path.startswith(SCHEME):
            from dataflare.connectors.file.object_layouts import ObjectFolder, SingleObject

            bucket, url = self._bucket(), self.config.path
            if not single:
                return ObjectFolder(bucket, url, extension, self.context, only_written=only_written)
            if self._format in AT_END:
                return SingleObject(bucket, url, self.context, Beginning(), self._put_together)
            return SingleObject(bucket, url, self.context, self._beginning(), None)
        if not single:
            return Folder(path, extension, self.context, only_written=only_written)
        if self._format in AT_END:
            return SingleAtEnd(path, self.context, self._put_together, alone=self._format != "excel")
        return SingleText(path, self.context, self._beginning())

    def _bucket(self) -> Bucket:
        from dataflare.connectors.file.object_store import Bucket, split_name

        return Bucket(self.context, split_name(self.config.path)[0], self.config.s3)

    def _beginning(self) -> Beginning:
        """Return what a text begins with, packed; raise UnavailableError where what is there has other columns."""
        header = mark_of(self.config.encoding)
        if self._format == "csv" and self.config.header:
            if self._schema is None:
                raise WorkflowError(f"the columns of {self.config.path} are not known", hint="set header: false")
            line = header_line(self._schema.names, self.config.csv_options(header=True))
            header += recoded(line, self.config.encoding)
            if self.context.write_mode != "overwrite":
                self._check_header(header)
        header = packed(header, self._packing)
        names = self._schema.names if self._format == "csv" and self._schema is not None else None
        return Beginning(header) if names is None else Beginning.of(header, names)

    def _extension(self) -> str:
        return f"{_EXTENSIONS.get(self._format, self._format)}{EXTENSIONS_PACKED[self._packing]}"

    def _put_together(self, parts: Sequence[Path], target: Path, before: Path | None) -> None:
        """Make one file of parts, or of none, behind what is there."""
        from dataflare.connectors.file.merging import merge, merge_arrays, merge_sheets

        if self._format == "json_array":
            merge_arrays(parts, target, before, self._packing)
            return
        if self._format == "excel":
            merge_sheets(parts, target, before, self._excel_encoder)
            return
        merge(parts, target, before, self._format, (self._schema, self.config))

    def _choose_columns(self, *, single: bool) -> None:
        """Check the columns that settings name; those of folders are not in the files."""
        config = self.config
        if config.partition_by and single:
            raise WorkflowError("partition_by makes folders, and the path is one file", hint="name a folder")
        check_columns(self._schema, config.partition_by)
        if self._schema is not None:
            check_schema(self._format, self._file_schema())
        there = [n for n in self._schema.names if n not in config.partition_by] if self._schema is not None else []
        unknown = [n for n in config.bloom_filters if there and n not in there]
        if unknown:
            raise WorkflowError(f"bloom_filters names {unknown[0]!r}, which the files lack", hint=", ".join(there))

    def _file_schema(self) -> pa.Schema:
        """Return the columns that the files have: those of all rows, less those of folders."""
        assert self._schema is not None
        return pa.schema([f for f in self._schema if f.name not in self.config.partition_by])

    def _check_header(self, header: bytes) -> None:
        store = Stores(self.context, self.config.s3).of(self.config.path)
        if not store.has(self.config.path):
            return
        file = store.open(self.config.path)
        try:
            steps = range(0, file.size, HEAD_BYTES)
            pieces = unpacked((file.pread(at, at + HEAD_BYTES) for at in steps), self._packing, self.config.path)
            found = b""
            while len(found) < len(header) + 1 and (more := next(pieces, b"")):
                found += more
        finally:
            file.close()
        ended = header.replace(b"\r\n", b"\n")
        if found and not found.replace(b"\r\n", b"\n").startswith(ended):
            raise _other_columns(store.full(self.config.path), self._schema.names if self._schema else [])

    def _check_columns(self, *, single: bool) -> None:
        """Refuse, before a row is read, to put rows behind those of other columns in a file that tells its own."""
        path, overwrites = self.config.path, self.context.write_mode == "overwrite"
        if not single or overwrites or self._format not in CONTAINERS or self._schema is None:
            return
        store = Stores(self.context, self.config.s3).of(path)
        if not store.has(path):
            return
        file = open_container(store, path, self._format)
        file.close()
        if file.schema.names != self._schema.names:
            raise _other_columns(store.full(path), self._schema.names)

    def _encoder(self, sink: IO[bytes]) -> Encoder:
        if self._packing == "none":
            return self._bare_encoder(sink)
        return PackedEncoder(sink, self._packing, self._bare_encoder)

    def _bare_encoder(self, sink: Sink) -> Encoder:
        config = self.config
        if self._format in CONTAINERS:
            return container_encoder(self._format, sink, self._file_schema(), config)
        if self._format == "excel":
            if not self._layout.header_in_parts:  # what waits for the end
                return container_encoder("arrow", sink, self._file_schema(), config)
            return self._excel_encoder(sink, self._file_schema())
        if config.encoding != "utf-8":
            if self._layout.header_in_parts:
                sink.write(mark_of(config.encoding))
            sink = Recoder(sink, config.encoding)
        if self._format == "jsonl":
            return JsonlEncoder(sink, self._texts, self._json - {*config.partition_by})
        if self._format == "json_array":
            from dataflare.formats.json.encode import JsonArrayEncoder

            return JsonArrayEncoder(sink, self._texts, self._json - {*config.partition_by})
        header = config.header and self._layout.header_in_parts
        return CsvEncoder(sink, self._texts, self._file_schema().names, config.csv_options(header=header))

    def _excel_encoder(self, sink: Sink, schema: pa.Schema) -> Encoder:
        from dataflare.formats.excel.encode import ExcelEncoder, ExcelOptions

        return ExcelEncoder(sink, schema, self._texts, ExcelOptions(self.config.sheet, self.config.header))

    def _planned_schema(self) -> pa.Schema | None:
        """Return the union of the columns of all inputs; None where none is planned."""
        found: dict[str, pa.Field] = {}
        for port in sorted(self.context.schemas):
            for field in self.context.schemas[port].to_arrow():
                before = found.setdefault(field.name, field)
                if before.type != field.type and self._format not in _JSON:
                    raise WorkflowError(
                        f"column {field.name!r} is {before.type} in one input and {field.type} in another",
                        hint="cast one of them, or write each input to its own path",
                    )
        return pa.schema([f.with_nullable(True) for f in found.values()]) if found else None  # noqa: FBT003

    def _fitted(self, rows: pa.Table) -> pa.Table:
        """Return the rows in the columns of the file."""
        if self._format in _JSON:
            return rows
        if self._schema is None:
            self._schema = pa.schema([f.with_nullable(True) for f in rows.schema.remove_metadata()])  # noqa: FBT003
        if rows.schema.names == self._schema.names and rows.schema.types == self._schema.types:
            return rows.cast(self._schema) if rows.schema != self._schema else rows
        columns: list[Any] = []
        for field in self._schema:
            if field.name in rows.column_names:
                columns.append(rows.column(field.name).cast(field.type))
            else:
                columns.append(pa.chunked_array([pa.nulls(rows.num_rows, field.type)]))
        unknown = [n for n in rows.column_names if n not in self._schema.names]
        if unknown:
            raise DataError(f"rows have columns that the plan does not know: {', '.join(unknown)}")
        return pa.Table.from_arrays(columns, schema=self._schema)


def _other_columns(path: str, names: Sequence[str]) -> UnavailableError:
    return UnavailableError(
        f"{path} has other columns than {', '.join(names)}",
        hint="move it away and run again, use write_mode: overwrite, or write into a folder",
    )


__all__ = ["FileDestination", "FileDestinationConfig"]
