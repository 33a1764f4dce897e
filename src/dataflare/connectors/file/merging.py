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


def merge(
    parts: Sequence[Path],
    target: Path,
    before: Path | None,
    kind: str,
    wishes: tuple[pa.Schema | None, FileDestinationConfig],
) -> None:
    """Write the rows of `before` and of all parts, in order, and make the file durable. Memory: one row group or batch.

    Parts may be of several plans: the file has the columns of all of them, with null where a part lacks one. Raises
    DataError where a column has types that do not go together, or where `before` has other columns. `wishes` are the
    columns where there are no parts, and the settings.
    """
    import pyarrow as pa

    schema, config = wishes
    columns = _of_all(parts, kind) or schema or pa.schema([])
    with storage(target), target.open("wb") as file:
        encoder = container_encoder(kind, file, columns, config)
        for source in [*([before] if before is not None else ()), *parts]:
            part = _opened(source, kind)
            try:
                if source == before:
                    _check(part.schema, columns, source)
                for rows, *_ in part.read(0, part.end, part.schema.names, PIECE_BYTES_MAX):
                    encoder.write(_completed(rows, columns))
            finally:
                part.close()
        encoder.finish()
        file.flush()
        os.fsync(file.fileno())


def _of_all(parts: Sequence[Path], kind: str) -> pa.Schema | None:
    """Return the columns of all parts, those of the last one first; None where there is no part."""
    import pyarrow as pa

    from dataflare.component.deviations import wider_type
    from dataflare.schema import arrow_type, type_text

    found: dict[str, pa.Field] = {}
    for source in reversed(parts):
        part = _opened(source, kind)
        part.close()
        for field in part.schema.remove_metadata():
            other = found.setdefault(field.name, field)
            if other.type == field.type:
                continue
            wide = wider_type(type_text(other.type), type_text(field.type))
            if wide is None:
                raise DataError(
                    f"column {field.name!r} is {field.type} in rows that were written first, and {other.type} later",
                    hint="write into a folder, where each file has the columns of its time",
                    place=Place(str(source)),
                )
            found[field.name] = pa.field(field.name, arrow_type(wide))
    return pa.schema(list(found.values())) if parts else None


def _completed(rows: pa.Table, columns: pa.Schema) -> pa.Table:
    """Return rows in all columns; those that they lack are null."""
    import pyarrow as pa

    there = set(rows.column_names)
    arrays = [rows.column(f.name).cast(f.type) if f.name in there else pa.nulls(rows.num_rows, f.type) for f in columns]
    return pa.table(arrays, schema=columns)


def merge_arrays(parts: Sequence[Path], target: Path, before: Path | None, packing: str) -> None:
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
        for source in [*([before] if before is not None else ()), *parts]:
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


def merge_sheets(
    parts: Sequence[Path],
    target: Path,
    before: Path | None,
    encoder_of: Callable[[IO[bytes], pa.Schema], Encoder],
) -> None:
    """Write the rows of Arrow files into one workbook, and make it durable. Memory: one record batch.

    Parts may be of several plans, as those of `merge`. Raises UnavailableError where there is a file already: its look
    cannot be kept.
    """
    import pyarrow as pa

    if before is not None:
        raise UnavailableError(
            f"{before} is there already, and rows are not appended to a workbook",
            hint="move it away and run again: the rows are kept; or use write_mode: overwrite",
        )
    schema = _of_all(parts, "arrow") or pa.schema([])
    with storage(target), target.open("wb") as file:
        encoder = encoder_of(file, schema)
        for source in parts:
            part = _opened(source, "arrow")
            try:
                for rows, *_ in part.read(0, part.end, part.schema.names, PIECE_BYTES_MAX):
                    encoder.write(_completed(rows, schema))
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
