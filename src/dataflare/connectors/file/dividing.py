"""Divides rows among folders such as `year=2026/month=1`, by the values of columns that then stand in their names."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

import pyarrow as pa

from dataflare.connectors.file.partitions import NULL
from dataflare.errors import DataError, WorkflowError
from dataflare.formats.encoder import moment_texts

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

NAME_BYTES_MAX = 255


def check_columns(schema: pa.Schema | None, names: Sequence[str]) -> None:
    """Raise WorkflowError for columns that are not planned, or whose values make no good folder names."""
    if schema is None or not names:
        return
    for name in names:
        if name not in schema.names:
            raise WorkflowError(f"partition_by names {name!r}, which no input has", hint=f"there are: {_shown(schema)}")
        kind, t = schema.field(name).type, pa.types
        if t.is_nested(kind) or t.is_floating(kind) or t.is_binary(kind) or t.is_interval(kind):
            raise WorkflowError(
                f"partition_by names {name!r}, which is {kind}", hint="use whole numbers, dates, texts or booleans"
            )
    if len(set(names)) < len(names):
        raise WorkflowError("partition_by names a column twice", hint="name each once")
    if len(set(schema.names)) == len(names):
        raise WorkflowError("partition_by names all columns: nothing is left for the files", hint="name fewer")


def divided(rows: pa.Table, names: Sequence[str]) -> Iterator[tuple[str, pa.Table]]:
    """Yield (folder, rows without these columns) for each combination of values; rows keep their order in each.

    Raises DataError for a value too long for a folder name, and where a column is not there.
    """
    import pyarrow.compute as pc

    lacking = [n for n in names if n not in rows.column_names]
    if lacking:
        raise DataError(f"rows lack the column {lacking[0]!r} of partition_by")
    if rows.num_rows == 0:
        return
    codes: pa.Array = None
    values: list[list[str]] = []
    for name in names:
        column = _texts(rows.column(name)).combine_chunks().dictionary_encode(null_encoding="encode")
        found, indices = column.dictionary.to_pylist(), column.indices.cast(pa.int64())
        values.append([_folder(name, value) for value in found])
        codes = indices if codes is None else pc.add(pc.multiply(codes, len(found)), indices)
        if len(names) > 1:  # numbered anew, so that products stay small
            codes, values = _compact(codes, values)
    rest = rows.drop_columns(list(names))
    folders = values[0]
    if len(folders) == 1:
        yield folders[0], rest
        return
    order = pc.sort_indices(codes)
    runs = pc.run_end_encode(codes.take(order))
    start = 0
    for end, code in zip(runs.run_ends.to_pylist(), runs.values.to_pylist(), strict=True):
        yield folders[code], rest.take(order.slice(start, end - start))
        start = end


def _compact(codes: pa.Array, values: list[list[str]]) -> tuple[pa.Array, list[list[str]]]:
    """Number the combinations that there are, and join the names of their folders."""
    if len(values) == 1:
        return codes, values
    outer, inner = values
    encoded = codes.dictionary_encode()
    joined = [f"{outer[c // len(inner)]}/{inner[c % len(inner)]}" for c in encoded.dictionary.to_pylist()]
    return encoded.indices.cast(pa.int64()), [joined]


def _texts(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_timestamp(column.type):
        return moment_texts(column)
    return column.cast(pa.string())


def _folder(name: str, value: str | None) -> str:
    folder = f"{quote(name, safe=' ')}={NULL if value is None else quote(value, safe=' :')}"
    if len(folder) > NAME_BYTES_MAX:
        raise DataError(
            f"a value of {name!r} is too long for the name of a folder", hint="partition by a shorter column"
        )
    return folder


def _shown(schema: pa.Schema) -> str:
    return ", ".join(schema.names)


__all__ = ["check_columns", "divided"]
