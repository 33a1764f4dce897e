"""Turns rows as they are written in a test into typed tables, and finds the types that only such rows can tell."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from dataflare.changes import first_misfit, loose
from dataflare.errors import DataError
from dataflare.formats.jsonl.decode import JsonlDecoder
from dataflare.formats.jsonl.infer import infer
from dataflare.schema import Schema
from dataflare.workflow.findings import near

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import pyarrow as pa


class RowError(Exception):
    """A row that does not fit: `index` is its number, `column` the column where one is at fault."""

    def __init__(self, what: str, index: int, column: str = "", hint: str = "") -> None:
        """Say what is wrong with which row."""
        super().__init__(what)
        self.what, self.index, self.column, self.hint = what, index, column, hint


def typed(rows: Sequence[Mapping[str, Any]], schema: Schema, *, whole: bool = True) -> pa.Table:
    """Return the rows as a table; columns that a row leaves out are null. Raises RowError at the first that is wrong.

    Texts become what their column holds: decimals, dates, instants. `whole`: the rows go into a node, and where they
    are changes they must be right ones.
    """
    import pyarrow as pa

    names = schema.names
    for index, row in enumerate(rows):
        for column in row:
            if column not in names:
                raise RowError(f"there is no column {column!r}", index, column, near(column, names))
    if not rows:
        return schema.to_arrow().empty_table()
    decoder = JsonlDecoder(loose(schema))
    try:
        decoded = decoder.decode(_lines(rows))
    finally:
        decoder.close()
    if decoded.rejected:
        first = decoded.rejected[0]
        raise RowError(first.reason, first.line)
    misfit = first_misfit(decoded.rows, schema) if whole else None
    if misfit is not None:
        raise RowError(misfit[2], misfit[0], misfit[1])
    return pa.Table.from_arrays(decoded.rows.combine_chunks().columns, schema=schema.to_arrow())


def guessed(rows: Sequence[Mapping[str, Any]], told: Mapping[str, str]) -> Schema:
    """Return the columns of rows, with types as their values look; `told` are those that are known. Nulls are text."""
    found = {name: kind or "string" for name, kind in infer(_lines(rows)).items()}
    return Schema.of({**dict.fromkeys(told, ""), **found, **told})


def _lines(rows: Iterable[Mapping[str, Any]]) -> bytes:
    try:
        return b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"a row holds what JSON cannot hold: {error}", hint="write dates and decimals as text"
        ) from error


__all__ = ["RowError", "guessed", "typed"]
