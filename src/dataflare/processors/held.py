"""Rows that wait: in memory as far as they may, then in a file that has no name, and in a checkpoint as bytes."""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import IO

    import pyarrow as pa


def packed(tables: Iterator[pa.Table], schema: pa.Schema) -> bytes:
    """Return tables of one schema as one compressed Arrow stream."""
    import pyarrow as pa

    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        for table in tables:
            writer.write_table(table)
    return bytes(sink.getvalue().to_pybytes())


def unpacked(data: bytes) -> Iterator[pa.Table]:
    """Yield the tables of a stream, one at least."""
    import pyarrow as pa

    with pa.ipc.open_stream(data) as reader:
        parts = (pa.Table.from_batches([batch], reader.schema) for batch in reader)
        yield next(parts, reader.schema.empty_table())
        yield from parts


def by_key_group(rows: pa.Table, keys: Sequence[str]) -> dict[int, bytes]:
    """Return rows as bytes by the key group of their keys; the order within a group is kept."""
    import pyarrow.compute as pc

    from dataflare.expression.keys import key_groups

    if not rows.num_rows:
        return {}
    groups = key_groups(rows, keys)
    rows = rows.take(pc.sort_indices(groups))
    state, start = {}, 0
    for count in groups.value_counts().sort(order="ascending", by="values").to_pylist():
        state[count["values"]] = packed(iter([rows.slice(start, count["counts"])]), rows.schema)
        start += count["counts"]
    return state


class HeldRows:
    """Rows of one schema in the order in which they came.

    The file is for this user alone and goes away with the process, however that ends.
    """

    def __init__(self, schema: pa.Schema, memory_bytes_max: int) -> None:
        """Hold nothing yet."""
        self._schema, self._memory_bytes_max = schema, memory_bytes_max
        self._tables: list[pa.Table] = []
        self._bytes = self.bytes = 0
        self._file: IO[bytes] | None = None
        self.spilled_bytes = 0
        self.rows = 0

    def add(self, rows: pa.Table) -> None:
        """Take rows in."""
        self._tables.append(rows)
        self._bytes += rows.nbytes
        self.bytes += rows.nbytes
        self.rows += rows.num_rows
        if self._bytes > self._memory_bytes_max:
            self._spill()

    def all(self) -> Iterator[pa.Table]:
        """Yield all rows, and go on holding them."""
        if self._file is not None:
            self._file.seek(0)
            while size := self._file.read(8):
                yield from unpacked(self._file.read(int.from_bytes(size, "big")))
        yield from self._tables

    def take(self) -> Iterator[pa.Table]:
        """Yield all rows, and hold them no more."""
        yield from self.all()
        self.close()

    def packed(self) -> bytes:
        """Return all rows as bytes."""
        return packed(self.all(), self._schema)

    def close(self) -> None:
        """Forget everything."""
        if self._file is not None:
            self._file.close()
        self._file = None
        self._tables, self._bytes, self.bytes, self.rows = [], 0, 0, 0

    def _spill(self) -> None:
        """Write what is in memory behind what was written; each part is a stream with its length before it."""
        self._file = self._file or tempfile.TemporaryFile()  # noqa: SIM115 - closed by `close`
        data = packed(iter(self._tables), self._schema)
        self._file.seek(0, 2)
        self._file.write(len(data).to_bytes(8, "big"))
        self._file.write(data)
        self.spilled_bytes += len(data)
        self._tables, self._bytes = [], 0


__all__ = ["HeldRows", "packed", "unpacked"]
