"""Reads Parquet files by row groups."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from dataflare.batch import Batch
from dataflare.connectors.file.storage import storage
from dataflare.errors import DataError, Place, UnavailableError
from dataflare.formats.parquet import fitted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dataflare.batch import Position
    from dataflare.component import Split
    from dataflare.connectors.file.store import Store
    from dataflare.schema import Schema

PART_BYTES = 16 << 20


def open_parquet(store: Store, name: str) -> pq.ParquetFile:
    """Open a file; raise UnavailableError where that is not possible and DataError where it is no Parquet."""
    with _sound(store.full(name), name, "not a Parquet file"):
        found = store.seekable(name)
        return pq.ParquetFile(found, pre_buffer=not isinstance(found, Path))


@contextmanager
def _sound(path: str, name: str, what: str) -> Iterator[None]:
    """Translate what the system refuses, and what Arrow finds damaged: some of that are OSErrors without a number."""
    try:
        with storage(path):
            yield
    except (pa.ArrowException, UnavailableError) as error:
        if isinstance(error, UnavailableError) and (not error.__cause__ or getattr(error.__cause__, "errno", None)):
            raise
        reason = str(error.__cause__ or error).partition("\n")[0]
        raise DataError(
            f"{what}: {reason}", hint="is it still being written, or was it copied in part?", place=Place(name)
        ) from error


def group_ranges(file: pq.ParquetFile, since: int, split_bytes: int) -> Iterator[tuple[int, int, int]]:
    """Yield (first, end, bytes) of runs of row groups of at least `split_bytes` compressed bytes, but for the last."""
    first, size = since, 0
    for number in range(since, file.metadata.num_row_groups):
        group = file.metadata.row_group(number)
        size += sum(group.column(c).total_compressed_size for c in range(group.num_columns))
        if size >= split_bytes:
            yield first, number + 1, size
            first, size = number + 1, 0
    if size or first < file.metadata.num_row_groups:
        yield first, file.metadata.num_row_groups, size


class GroupReader:
    """One open Parquet file; counts the compressed bytes that it reads in `bytes_read`."""

    def __init__(self, store: Store, name: str, schema: Schema) -> None:
        """Open; read the columns of `schema` that are there."""
        self.name, self._schema = name, schema
        self.bytes_read = 0
        self._file = open_parquet(store, name)
        there = self._file.schema_arrow.names
        self._columns = [c.name for c in schema if c.name in there]

    def read(self, split: Split, since: Position | None, memory_bytes_max: int) -> Iterator[Batch]:
        """Yield the row groups of a split, each whole where a quarter of the memory holds it, else in parts."""
        first = since["group"] if since else split.data["start"]
        skip = since.get("row", 0) if since else 0
        for number in range(first, split.data["end"]):
            with _sound(self.name, self.name, f"row group {number} cannot be read"):
                yield from self._group(number, skip, memory_bytes_max // 4)
            skip = 0

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _group(self, number: int, skip: int, bytes_max: int) -> Iterator[Batch]:
        group = self._file.metadata.row_group(number)
        rows = group.num_rows
        picked = [group.column(c) for c in range(group.num_columns)]
        wanted = [c for c in picked if c.path_in_schema.split(".")[0] in self._columns]
        self.bytes_read += sum(c.total_compressed_size for c in wanted)
        size = sum(c.total_uncompressed_size for c in wanted)
        after = {"group": number + 1}
        if size <= bytes_max:
            table = self._file.read_row_group(number, columns=self._columns, use_threads=False)
            yield Batch(self._fitted(table, rows).slice(skip), position=after)
            return
        part_rows = max(1, rows * PART_BYTES // size)
        done = 0
        for part in self._file.iter_batches(part_rows, row_groups=[number], columns=self._columns, use_threads=False):
            done += part.num_rows
            if done <= skip:
                continue
            table = self._fitted(pa.Table.from_batches([part]), part.num_rows)
            position = after if done == rows else {"group": number, "row": done}
            yield Batch(table.slice(max(0, skip - (done - part.num_rows))), position=position)

    def _fitted(self, table: pa.Table, rows: int) -> pa.Table:
        if not self._columns:  # a file without any wanted column still has its rows
            table = pa.table({"_": pa.nulls(rows)})
        return fitted(table, self._schema, self.name)


__all__ = ["GroupReader", "group_ranges", "open_parquet"]
