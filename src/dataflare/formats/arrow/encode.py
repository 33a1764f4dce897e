"""Writes Arrow IPC: files, which have a footer, and streams, which have none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from dataflare.formats.encoder import HeldEncoder

if TYPE_CHECKING:
    from dataflare.formats.encoder import Sink

ZSTD_LEVEL = 1


@dataclass(frozen=True, slots=True)
class ArrowOptions:
    """How files are written: with zstd (at level 1 where none is given), lz4 or none."""

    stream: bool = False
    compression: str = "zstd"
    level: int | None = None
    batch_rows: int = 1 << 17
    batch_bytes: int = 64 << 20


class ArrowEncoder(HeldEncoder):
    """Holds rows back until a record batch is full, then writes it."""

    def __init__(self, sink: Sink, schema: pa.Schema, options: ArrowOptions) -> None:
        """Write nothing yet."""
        super().__init__(options.batch_rows, options.batch_bytes)
        self._sink, self._schema, self._options = sink, schema, options
        self._writer: pa.RecordBatchFileWriter | None = None

    def finish(self) -> None:
        """Write the last record batch and the end."""
        self.flush()
        (self._writer or self._open()).close()

    def _put(self, rows: pa.Table) -> None:
        self._writer = self._writer or self._open()
        batches = rows.combine_chunks().to_batches(max_chunksize=max(1, self._options.batch_rows))
        for batch in batches:
            self._writer.write_batch(batch)

    def _open(self) -> pa.RecordBatchFileWriter:
        options = self._options
        codec = None
        if options.compression == "zstd":
            codec = pa.Codec("zstd", options.level or ZSTD_LEVEL)
        elif options.compression == "lz4":
            codec = pa.Codec("lz4")
        make = pa.ipc.new_stream if options.stream else pa.ipc.new_file
        return make(self._sink, self._schema, options=pa.ipc.IpcWriteOptions(compression=codec, use_threads=False))


__all__ = ["ArrowEncoder", "ArrowOptions"]
