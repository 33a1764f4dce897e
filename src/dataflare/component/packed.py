"""Rows as bytes that are kept for a while, in the state or on the disk: compressed streams of Arrow."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import pyarrow as pa


def packed(tables: Iterable[pa.Table], schema: pa.Schema) -> bytes:
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


__all__ = ["packed", "unpacked"]
