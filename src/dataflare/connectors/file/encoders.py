"""Chooses what writes a format, by the settings of the destination."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dataflare.connectors.file.settings import CONTAINERS
from dataflare.connectors.file.writers import PARTS_OF_A_FILE
from dataflare.errors import WorkflowError
from dataflare.formats.packing import EXTENSIONS, packing_of

if TYPE_CHECKING:
    import pyarrow as pa

    from dataflare.connectors.file.settings import FileDestinationConfig
    from dataflare.formats.encoder import Encoder, Sink

_PIECE_BYTES_MAX = 64 << 20
_COMPRESSIONS = {
    "parquet": ("zstd", "gzip", "snappy", "lz4", "brotli", "none"),
    "arrow": ("zstd", "lz4", "none"),
    "arrow_stream": ("zstd", "lz4", "none"),
    "avro": ("gzip", "zstd", "snappy", "none"),
    "excel": ("none",),
}
_OF_TEXT = ("gzip", "zstd", "none")


def packing_for(kind: str, name: str, config: FileDestinationConfig) -> str:
    """Return how text is packed, `none` for what packs itself; raise WorkflowError for what a format does not know."""
    told, known = config.compression, _COMPRESSIONS.get(kind, _OF_TEXT)
    if told is not None and told not in known:
        raise WorkflowError(
            f"{kind} is not written with {told}", hint=f"say compression: {' or '.join(known[:-1] or known)}"
        )
    if kind in (*CONTAINERS, "excel"):
        return "none"
    packing = packing_of(name, told)
    if packing not in EXTENSIONS:
        raise WorkflowError(f"{config.path}: {packing} is not written", hint="let it end in .gz or .zst")
    return packing


def check_schema(kind: str, schema: pa.Schema) -> None:
    """Raise WorkflowError for columns that a format cannot hold."""
    if kind == "avro":
        from dataflare.formats.avro.encode import check_fields

        check_fields(schema)


def container_encoder(kind: str, sink: Sink, schema: pa.Schema, config: FileDestinationConfig) -> Encoder:
    """Return what writes Parquet, Arrow or Avro."""
    if kind == "avro":
        from dataflare.formats.avro.encode import AvroEncoder, AvroOptions

        return AvroEncoder(sink, schema, AvroOptions(config.compression or "gzip"))
    compression, size = config.compression or "zstd", _PIECE_BYTES_MAX
    if config.file_bytes_max is not None:  # how long a piece becomes is known when it is written
        size = min(size, config.file_bytes_max // PARTS_OF_A_FILE)
    if kind == "parquet":
        from dataflare.formats.parquet.encode import ParquetEncoder, ParquetOptions

        parquet = ParquetOptions(
            compression=compression,
            level=config.compression_level,
            group_rows=config.row_group_rows,
            group_bytes=size,
            statistics=config.statistics,
            bloom_filters=tuple(config.bloom_filters),
        )
        return ParquetEncoder(sink, schema, parquet)
    from dataflare.formats.arrow.encode import ArrowEncoder, ArrowOptions

    arrow = ArrowOptions(
        stream=kind == "arrow_stream",
        compression=compression,
        level=config.compression_level,
        batch_rows=config.row_group_rows,
        batch_bytes=size,
    )
    return ArrowEncoder(sink, schema, arrow)


__all__ = ["check_schema", "container_encoder", "packing_for"]
