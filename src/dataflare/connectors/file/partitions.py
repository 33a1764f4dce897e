"""Columns that stand in the names of files: folders called `column=value`, and the path itself."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import unquote

from dataflare.errors import DataError, Place
from dataflare.formats.guess import column_type
from dataflare.schema import Schema

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

    from dataflare.connectors.file.settings import FileSourceConfig

NULL = "__HIVE_DEFAULT_PARTITION__"
NAMES_LOOKED_AT_MAX = 10_000


def values_of(name: str) -> dict[str, str | None]:
    """Return the columns in the folders of a path."""
    pairs = (part.split("=", 1) for part in name.split("/")[:-1] if "=" in part)
    return {unquote(column): None if value == NULL else unquote(value) for column, value in pairs if column}


def placed_types(config: FileSourceConfig, names: Sequence[str]) -> dict[str, str]:
    """Return the columns that file names hold, with the declared types, or those that all values are of."""
    import pyarrow as pa

    found: dict[str, list[str | None]] = {}
    for name in names if config.hive else ():
        for column, value in values_of(name).items():
            found.setdefault(column, []).append(value)
    declared = config.columns or {}
    types = {
        column: declared.get(column) or column_type(pa.chunked_array([pa.array(values, pa.string())])) or "string"
        for column, values in found.items()
    }
    return {**types, **({config.name_column: "string"} if config.name_column else {})}


class Placed:
    """Puts columns that the name of a file holds beside those that are in it."""

    def __init__(self, schema: Schema, config: FileSourceConfig) -> None:
        """`schema` is that of the rows; which of its columns stand in names depends on the file."""
        self.schema, self._config = schema, config
        self.active = config.hive or bool(config.name_column)

    def inner(self, name: str) -> Schema:
        """Return the columns that are to be read from a file itself."""
        if not self.active:
            return self.schema
        outer = self._values(name)
        return Schema(tuple(c for c in self.schema if c.name not in outer))

    def rows(self, rows: pa.Table, name: str) -> pa.Table:
        """Return the rows of a file with the columns of its name."""
        import pyarrow as pa

        if not self.active:
            return rows
        values, columns = self._values(name), []
        target = self.schema.to_arrow()
        for field in target:
            if field.name in values:
                columns.append(_repeated(name, field, values[field.name], rows.num_rows))
            else:
                columns.append(rows.column(field.name))
        return pa.Table.from_arrays(columns, schema=target)

    def _values(self, name: str) -> dict[str, str | None]:
        return _named(name, self._config.hive, self._config.name_column)


@lru_cache(64)
def _named(name: str, hive: bool, name_column: str) -> dict[str, str | None]:  # noqa: FBT001 - a cached answer
    return {**(values_of(name) if hive else {}), **({name_column: name} if name_column else {})}


def _repeated(name: str, field: pa.Field, text: str | None, count: int) -> pa.Array:
    import pyarrow as pa

    try:
        value = pa.array([text], pa.string()).cast(field.type)[0]
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise DataError(
            f"the folder says {field.name}={text}, which is not {field.type}",
            hint="declare another type under `columns`",
            place=Place(name),
        ) from error
    return pa.repeat(value, count)


__all__ = ["NAMES_LOOKED_AT_MAX", "Placed", "placed_types", "values_of"]
