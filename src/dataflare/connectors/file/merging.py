"""Copies Parquet files into one, row group by row group, with the encodings that they have."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from dataflare.connectors.file.storage import storage
from dataflare.errors import DataError, Place
from dataflare.formats.parquet import ParquetEncoder, ParquetOptions

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def merge(sources: Sequence[Path], target: Path, schema: pa.Schema, options: ParquetOptions) -> None:
    """Write the rows of all sources, in order, and make the file durable. Memory: one row group.

    Raises DataError where a source has other columns than the last one; `schema` counts where there is no source.
    """
    if sources:
        with pq.ParquetFile(sources[-1]) as last:
            schema = last.schema_arrow
    with storage(target), target.open("wb") as file:
        encoder = ParquetEncoder(file, schema, options)
        for source in sources:
            with pq.ParquetFile(source) as part:
                _check(part.schema_arrow, schema, source)
                for number in range(part.metadata.num_row_groups):
                    encoder.write(part.read_row_group(number, use_threads=False).cast(schema))
        encoder.finish()
        file.flush()
        os.fsync(file.fileno())


def _check(found: pa.Schema, wanted: pa.Schema, source: Path) -> None:
    if found.names != wanted.names or found.types != wanted.types:
        raise DataError(
            f"its columns are not those to be appended: {', '.join(f'{f.name} {f.type}' for f in found)}",
            hint="use write_mode: overwrite, or another path",
            place=Place(str(source)),
        )


__all__ = ["merge"]
