"""Puts files of columns together into one, piece by piece."""

from __future__ import annotations

import os
from typing import IO, TYPE_CHECKING

from dataflare.connectors.file.encoders import container_encoder
from dataflare.connectors.file.groups import contained
from dataflare.connectors.file.local_store import LocalFile
from dataflare.connectors.file.storage import storage
from dataflare.errors import DataError, Place, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import pyarrow as pa

    from dataflare.connectors.file.settings import FileDestinationConfig
    from dataflare.formats.container import Container
    from dataflare.formats.encoder import Encoder

PIECE_BYTES_MAX = 64 << 20
BLOCK_BYTES = 1 << 20
_ZIP = b"PK"


def merge(
    sources: Sequence[Path], target: Path, kind: str, schema: pa.Schema | None, config: FileDestinationConfig
) -> None:
    """Write the rows of all sources, in order, and make the file durable. Memory: one row group or record batch.

    Raises DataError where a source has other columns than the last one; `schema` counts where there is no source.
    """
    import pyarrow as pa

    if sources:
        last = _opened(sources[-1], kind)
        schema = last.schema.remove_metadata()
        last.close()
    columns = schema if schema is not None else pa.schema([])
    with storage(target), target.open("wb") as file:
        encoder = container_encoder(kind, file, columns, config)
        for source in sources:
            part = _opened(source, kind)
            try:
                _check(part.schema, columns, source)
                for rows, *_ in part.read(0, part.end, columns.names, PIECE_BYTES_MAX):
                    encoder.write(rows.cast(columns))
            finally:
                part.close()
        encoder.finish()
        file.flush()
        os.fsync(file.fileno())


def merge_arrays(sources: Sequence[Path], target: Path, packing: str) -> None:
    """Write the elements of JSON arrays into one array, and make the file durable. Memory: a block."""
    from dataflare.connectors.file.settings import FileSourceConfig
    from dataflare.connectors.file.text import TextFile
    from dataflare.formats.json.document import Document
    from dataflare.formats.json.encode import JsonArrayEncoder
    from dataflare.formats.jsonl.encode import JsonTexts
    from dataflare.formats.packing import Packer

    with storage(target), target.open("wb") as file:
        packer = Packer(file, packing) if packing != "none" else None
        encoder = JsonArrayEncoder(packer or file, JsonTexts())
        for source in sources:
            config = FileSourceConfig.model_validate({"path": source.name, "format": "json", "compression": packing})
            part = TextFile(LocalFile(source, source.name), config)
            try:
                document = Document(part.text_from(0, stream=True))
                for block in document.records(document.find(()), BLOCK_BYTES, alone=True):
                    encoder.write_lines(block.lines)
            except DataError as error:
                raise error.at(Place(str(source))) from None
            finally:
                part.close()
        encoder.finish()
        if packer is not None:
            packer.finish()
        file.flush()
        os.fsync(file.fileno())


def merge_sheets(sources: Sequence[Path], target: Path, encoder_of: Callable[[IO[bytes], pa.Schema], Encoder]) -> None:
    """Write the rows of Arrow files into one workbook, and make it durable. Memory: one record batch.

    Raises UnavailableError where one of the sources is a workbook: its look cannot be kept.
    """
    import pyarrow as pa

    for source in sources:
        with storage(source), source.open("rb") as file:
            if file.read(2) == _ZIP:
                raise UnavailableError(
                    f"{source} is there already, and rows are not appended to a workbook",
                    hint="move it away and run again: the rows are kept; or use write_mode: overwrite",
                )
    opened = [_opened(source, "arrow") for source in sources]
    schema = opened[0].schema if opened else pa.schema([])
    with storage(target), target.open("wb") as file:
        encoder = encoder_of(file, schema)
        for part in opened:
            try:
                for rows, *_ in part.read(0, part.end, schema.names, PIECE_BYTES_MAX):
                    encoder.write(rows)
            finally:
                part.close()
        encoder.finish()
        file.flush()
        os.fsync(file.fileno())


def _opened(path: Path, kind: str) -> Container:
    return contained(kind, lambda: LocalFile(path, path.name), lambda: path)


def _check(found: pa.Schema, wanted: pa.Schema, source: Path) -> None:
    if found.names != wanted.names or found.types != wanted.types:
        raise DataError(
            f"its columns are not those to be appended: {', '.join(f'{f.name} {f.type}' for f in found)}",
            hint="use write_mode: overwrite, or another path",
            place=Place(str(source)),
        )


__all__ = ["merge", "merge_arrays", "merge_sheets"]
