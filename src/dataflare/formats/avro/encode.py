"""Writes Avro files, block by block."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from dataflare.errors import DataError, WorkflowError
from dataflare.formats.avro.library import avro_library, failures
from dataflare.formats.encoder import HeldEncoder

if TYPE_CHECKING:
    from dataflare.formats.encoder import Sink

BLOCK_BYTES = 1 << 20
BLOCK_ROWS_MAX = 1 << 14
_CODECS = {"gzip": "Deflate", "zstd": "Zstandard", "snappy": "Snappy", "none": None}
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True)
class AvroOptions:
    """How blocks are packed: gzip is what Avro calls deflate, and every reader knows it."""

    compression: str = "gzip"


class AvroEncoder(HeldEncoder):
    """Holds rows back until a block is full: 16,384 rows, or about a megabyte."""

    def __init__(self, sink: Sink, schema: pa.Schema, options: AvroOptions) -> None:
        """Write nothing yet; the schema is one that `check_fields` lets pass."""
        super().__init__(BLOCK_ROWS_MAX, BLOCK_BYTES)
        library = avro_library()
        import polars as pl

        codec = _CODECS[options.compression]
        columns = pl.DataFrame(schema.empty_table()).schema
        self._writer = library.AvroWriter(_Whole(sink), schema=columns, codec=codec and getattr(library.Codec, codec))

    def finish(self) -> None:
        """Write the last block."""
        self.flush()
        self._writer.close()

    def _put(self, rows: pa.Table) -> None:
        import polars as pl

        step = max(1, min(BLOCK_ROWS_MAX, rows.num_rows * BLOCK_BYTES // max(1, rows.nbytes)))
        for start in range(0, rows.num_rows, step):
            try:
                self._writer.write(pl.DataFrame(rows.slice(start, step)))
            except failures() as error:
                reason = str(error).partition(";")[0]
                raise DataError(f"rows cannot be written as Avro: {reason}", hint="cast the column before") from error


class _Whole:
    """A sink as the library wants it."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink

    def write(self, data: bytes) -> int:
        self._sink.write(data)
        return len(data)

    def flush(self) -> None:
        """Nothing is held."""


def _check(name: str, kind: pa.DataType) -> None:
    """Raise WorkflowError for a column, or what is inside of it, that Avro cannot hold."""
    t = pa.types
    if t.is_interval(kind):
        raise WorkflowError(f"column {name!r} is an interval, which Avro cannot hold", hint="cast it before")
    if t.is_map(kind):
        if not t.is_string(kind.key_type):
            raise WorkflowError(f"column {name!r}: the keys of a map in Avro are text", hint="cast them before")
        _check(name, kind.item_type)
    elif t.is_list(kind):
        _check(name, kind.value_type)
    elif t.is_struct(kind):
        check_fields(kind)


def check_fields(fields: Any) -> None:
    """Raise WorkflowError for columns of a schema, or fields of a struct, that Avro cannot hold."""
    for field in fields:
        if not _NAME.fullmatch(field.name):
            raise WorkflowError(
                f"column {field.name!r}: names in Avro are letters, digits and underscores",
                hint="rename it by a mapping before",
            )
        _check(field.name, field.type)


__all__ = ["AvroEncoder", "AvroOptions", "check_fields"]
