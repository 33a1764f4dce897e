"""Writes Parquet, with the encodings that measured smaller and faster than the defaults.

zstd level 3; dictionaries only for columns of few values, decided on the first row group; DELTA_BINARY_PACKED for
other integers, timestamps and decimals of at most 18 digits, which are stored as integers (half the CPU and a fifth
fewer bytes than as byte arrays); plain for the rest: BYTE_STREAM_SPLIT makes rounded amounts two thirds longer.
(Dictionaries for all columns cost 40 % more CPU and a fifth more bytes.)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dataflare.formats.encoder import HeldEncoder

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dataflare.formats.encoder import Sink

Compression = Literal["zstd", "gzip", "snappy", "lz4", "brotli", "none"]
Statistics = Literal["none", "groups", "pages"]

ROWS_SURE_MIN = 1000
ROWS_PER_VALUE_MIN = 16
VALUES_MAX = 10_000
GROUP_BYTES_MAX = 64 << 20
DIGITS_OF_INTEGERS_MAX = 18
ZSTD_LEVEL = 3


@dataclass(frozen=True, slots=True)
class ParquetOptions:
    """How files are written; a row group has at most so many rows, and about so many bytes in memory.

    `statistics`: smallest and greatest value and nulls, of each column of a row group, or of each page besides.
    """

    compression: Compression = "zstd"
    level: int | None = None
    group_rows: int = 1 << 17
    group_bytes: int = GROUP_BYTES_MAX
    statistics: Statistics = "groups"
    bloom_filters: tuple[str, ...] = ()


class ParquetEncoder(HeldEncoder):
    """Holds rows back until a row group is full, then writes it."""

    def __init__(
        self,
        sink: Sink,
        schema: pa.Schema,
        options: ParquetOptions | None = None,
        *,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        """Write nothing yet; `metadata` goes into the footer."""
        options = options or ParquetOptions()
        super().__init__(options.group_rows, options.group_bytes)
        self._sink, self._schema, self._options = sink, schema, options
        self._metadata = dict(metadata or {})
        self._writer: pq.ParquetWriter | None = None

    def finish(self) -> None:
        """Write the last row group and the footer."""
        self.flush()
        writer = self._writer or self._open(self._schema.empty_table())
        if self._metadata:
            writer.add_key_value_metadata(self._metadata)
        writer.close()

    def _put(self, rows: pa.Table) -> None:
        self._writer = self._writer or self._open(rows)
        self._writer.write_table(rows, row_group_size=max(self._options.group_rows, 1))

    def _open(self, first: pa.Table) -> pq.ParquetWriter:
        options = self._options
        few = [f.name for f in self._schema if _has_few_values(first.column(f.name))]
        packed: dict[str, Any] = {
            f.name: "DELTA_BINARY_PACKED" for f in self._schema if f.name not in few and _is_packable(f.type)
        }
        level = options.level
        if level is None and options.compression == "zstd":
            level = ZSTD_LEVEL
        return pq.ParquetWriter(
            self._sink,
            self._schema,
            compression=options.compression,
            compression_level=level,
            use_dictionary=few or False,
            column_encoding=packed or None,
            write_statistics=options.statistics != "none",
            write_page_index=options.statistics == "pages",
            store_decimal_as_integer=True,
            bloom_filter_options={n: {"ndv": options.group_rows} for n in options.bloom_filters} or None,
        )


def _is_packable(kind: pa.DataType) -> bool:
    t = pa.types
    if t.is_decimal(kind):
        return bool(kind.precision <= DIGITS_OF_INTEGERS_MAX)
    return t.is_timestamp(kind) or str(kind) in ("int32", "int64")


def _has_few_values(column: pa.ChunkedArray) -> bool:
    """Tell whether a dictionary pays; where the rows are too few to say, it does not."""
    if pa.types.is_nested(column.type) or pa.types.is_boolean(column.type) or len(column) < ROWS_SURE_MIN:
        return False
    few = min(VALUES_MAX, len(column) // ROWS_PER_VALUE_MIN)
    head = column.slice(0, 4 * ROWS_SURE_MIN)
    if pc.count_distinct(head).as_py() > len(head) // 2:
        return False
    return bool(pc.count_distinct(column).as_py() <= few)


__all__ = ["Compression", "ParquetEncoder", "ParquetOptions", "Statistics"]
