"""Rows that a decoder cannot read: where they stand, their text, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dataflare.errors import DataError, Place
from dataflare.schema import Schema

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

ERRORS = Schema.of({"error": "string", "file": "string", "line": "int64", "raw": "string"})
"""The schema of the stream `errors` of sources that decode text; `line` is 1-based, `raw` the text of the row."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """One row: the number of line ends before it in its block, its text, and a reason that holds no value of it."""

    line: int
    raw: str
    reason: str


@dataclass(frozen=True, slots=True)
class Decoded:
    """What a block held: the rows that could be read, in order, and those that could not, in order."""

    rows: pa.Table
    rejected: Sequence[Rejected] = ()


def errors_table(rejected: Sequence[Rejected], file: str, first_line: int) -> pa.Table:
    """Return rejected rows in the shape of `ERRORS`; `first_line` is the 1-based line on which their block begins."""
    import pyarrow as pa

    columns = [
        [r.reason for r in rejected],
        [file] * len(rejected),
        [first_line + r.line for r in rejected],
        [r.raw for r in rejected],
    ]
    schema = ERRORS.to_arrow()
    return pa.Table.from_arrays(
        [pa.array(c, t) for c, t in zip(columns, schema.types, strict=True)],
        schema=schema,
    )


def failure(rejected: Rejected, file: str, first_line: int) -> DataError:
    """Return the error that ends a run whose policy is to fail."""
    return DataError(
        rejected.reason,
        hint="correct the row, declare other types under `columns`, or set on_error: {action: dead_letter}",
        place=Place(file, first_line + rejected.line),
    )


def as_text(raw: bytes) -> str:
    """Return the text of a row, without its line end; bytes that are no UTF-8 are written as hexadecimal escapes."""
    return raw.rstrip(b"\r\n").decode("utf-8", "backslashreplace")
