"""Reads Parquet files by row groups."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from dataflare.formats.container import PART_BYTES, Container, runs

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class ParquetContainer(Container):
    """Row groups, counted from 0."""

    def __init__(self, file: Any) -> None:
        """Read the footer; `file` is what Arrow can open: a path, or an object that reads and seeks."""
        self._file = pq.ParquetFile(file, pre_buffer=not isinstance(file, Path))  # far away, few requests are better
        self.schema = self._file.schema_arrow

    @property
    def end(self) -> int:
        """How many row groups there are."""
        return int(self._file.metadata.num_row_groups)

    def ranges(self, since: int, split_bytes: int) -> Iterator[tuple[int, int, int]]:
        """Yield runs of them of about `split_bytes`, compressed."""
        return runs(self._pieces(since), split_bytes)

    def _pieces(self, since: int) -> Iterator[tuple[int, int, int]]:
        for number in range(since, self.end):
            group = self._file.metadata.row_group(number)
            yield number, number + 1, sum(group.column(c).total_compressed_size for c in range(group.num_columns))

    def read(
        self, start: int, end: int, columns: Sequence[str], bytes_max: int
    ) -> Iterator[tuple[pa.Table, int, int, int]]:
        """Yield row groups, each whole where it takes at most `bytes_max` in memory."""
        for number in range(start, end):
            group = self._file.metadata.row_group(number)
            there = (group.column(c) for c in range(group.num_columns))
            wanted = [c for c in there if c.path_in_schema.split(".")[0] in columns]
            self.bytes_read += sum(c.total_compressed_size for c in wanted)
            size = sum(c.total_uncompressed_size for c in wanted)
            if size <= bytes_max or group.num_rows == 0:
                table = self._file.read_row_group(number, columns=columns, use_threads=False)
                yield _counted(table, group.num_rows), number, 0, number + 1
                continue
            step, done = max(1, group.num_rows * PART_BYTES // size), 0
            for part in self._file.iter_batches(step, row_groups=[number], columns=columns, use_threads=False):
                last = done + part.num_rows == group.num_rows
                table = pa.Table.from_batches([part])
                yield _counted(table, part.num_rows), number, done, number + 1 if last else number
                done += part.num_rows

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _counted(table: pa.Table, rows: int) -> pa.Table:
    """Return a table without columns as one that still has its rows."""
    return table if table.num_columns else pa.table({"": pa.nulls(rows)})


__all__ = ["ParquetContainer"]
