"""Rows that a decoder cannot read: where they stand, their text, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dataflare.component.deviations import ASIDE
from dataflare.component.judging import ERRORS
from dataflare.errors import DataError, Place

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa


@dataclass(frozen=True, slots=True)
class Rejected:
    """One row: the number of line ends before it in its block, its text, and a reason that holds no value of it.

    `column` is the one whose value does not fit, where that is why. `word` is that of the contract by which the row is
    not taken, where one says so: `freeze` ends the run whatever `on_error` says, `discard_row` never does.
    """

    line: int
    raw: str
    reason: str
    column: str = ""
    word: str = ""


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


def refuse(rejected: Sequence[Rejected], on_error: str, file: str, first_line: int) -> None:
    """Raise DataError for the first row that ends the run, by the policy or by the contract."""
    for row in rejected:
        if row.word == "freeze" or (not row.word and on_error not in ASIDE):
            raise failure(row, file, first_line)


def failure(rejected: Rejected, file: str, first_line: int) -> DataError:
    """Return the error that ends a run."""
    hint = "correct the row, declare other types under `columns`, or set on_error: {action: dead_letter}"
    if rejected.word == "freeze":
        hint = "declare it under `columns`, or let columns be more: contract: {columns: evolve}"
    return DataError(
        rejected.reason,
        hint=hint,
        place=Place(file, first_line + rejected.line),
    )


def as_text(raw: bytes) -> str:
    """Return the text of a row, without its line end; bytes that are no UTF-8 are written as hexadecimal escapes."""
    return raw.rstrip(b"\r\n").decode("utf-8", "backslashreplace")


__all__ = ["ERRORS", "Decoded", "Rejected", "as_text", "errors_table", "failure", "refuse"]
