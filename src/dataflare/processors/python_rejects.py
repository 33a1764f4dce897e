"""Tells of rows that a function could not handle: as JSON, and with reasons that hold no value of the row."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from dataflare.processors.python_process import DIED, LATE
from dataflare.security.veil import veiled

if TYPE_CHECKING:
    from collections.abc import Mapping as MappingType

    from dataflare.schema import Schema

UNTOLD = "its words are not told, as the function is given tagged values"


class Telling:
    """Tells of rejected rows of a schema.

    Where the function is given tagged values (invariant 7), what it says itself is not told, as it may hold them in any
    form. Its kind of error is.
    """

    def __init__(self, node: str, schema: Schema, seen: Sequence[str]) -> None:
        """`seen` are the columns that the function is given."""
        self._node, self._schema = node, schema
        self.hides = any(schema[name].tags for name in seen)

    def reason(self, reason: str, rows: pa.Table, row: int) -> str:
        """Return a reason in which no value of that row stands unchanged."""
        if reason.startswith((DIED, LATE)):
            return reason
        if self.hides:
            kind = reason.partition(": ")[0]
            return f"{kind if kind.isidentifier() else 'the result does not fit'} ({UNTOLD})"
        return without_values(reason, _record(rows, row))

    def errors_table(self, rows: pa.Table, rejected: MappingType[int, str]) -> pa.Table:
        """Return a row (error, node, row as JSON, tagged values hidden) for each rejected one, in their order."""
        errors = [self.reason(reason, rows, row) for row, reason in rejected.items()]
        shown = veiled(rows.take(list(rejected)), self._schema)
        texts = [json.dumps(_plain(_record(shown, n)), ensure_ascii=False) for n in range(shown.num_rows)]
        columns = [errors, [self._node] * len(errors), texts]
        return pa.table({n: pa.array(c, pa.string()) for n, c in zip(("error", "node", "row"), columns, strict=True)})


def without_values(reason: str, record: MappingType[str, Any]) -> str:
    """Return the reason with each value of the record replaced by the name of its column.

    Values are found where they stand as a word of their own, as Python writes them: a value that the function has
    changed is not found.
    """
    words = {text: name for name, value in record.items() for text in _texts(value) if text.strip()}
    if not words:
        return reason
    longest_first = sorted(words, key=len, reverse=True)
    found = re.compile("|".join(rf"(?<!\w){re.escape(text)}(?!\w)" for text in longest_first))
    return found.sub(lambda match: f"<{words[match[0]]}>", reason)


def _record(rows: pa.Table, row: int) -> dict[str, Any]:
    one = rows.slice(row, 1)
    return {n: _value(c) for n, c in zip(one.schema.names, one.columns, strict=True)}


def _value(column: pa.ChunkedArray) -> Any:
    try:
        return column[0].as_py()
    except (ValueError, OverflowError):
        return column.cast(pa.string())[0].as_py()  # an instant beyond Python's years


def _texts(value: Any) -> Iterator[str]:
    """Yield the ways in which Python writes a value, and those inside it."""
    if value is None or isinstance(value, bool):
        return
    if isinstance(value, Mapping):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, Sequence) and not isinstance(value, str | bytes):
        for inner in value:
            yield from _texts(inner)
    yield from (repr(value), str(value))


def _plain(value: Any) -> Any:
    """Return a value that JSON has a word for: bytes as hexadecimal, what is not finite as null."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, Sequence):
        return [_plain(v) for v in value]
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
