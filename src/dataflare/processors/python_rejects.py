"""Tells of rows that a function could not handle: as JSON, and with reasons that hold no value of the row."""

from __future__ import annotations

import json
import math
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
        return self._told(reason, next(_records(rows.slice(row, 1))))

    def _told(self, reason: str, record: MappingType[str, Any]) -> str:
        if reason.startswith((DIED, LATE)):
            return reason
        if self.hides:
            kind = reason.partition(": ")[0]
            return f"{kind if kind.isidentifier() else 'the result does not fit'} ({UNTOLD})"
        return without_values(reason, record)

    def errors_table(self, rows: pa.Table, rejected: MappingType[int, str]) -> pa.Table:
        """Return a row (error, node, row as JSON, tagged values hidden) for each rejected one, in their order."""
        found = rows.take(list(rejected))
        shown = veiled(found, self._schema)
        errors = [self._told(why, record) for why, record in zip(rejected.values(), _records(found), strict=True)]
        texts = [json.dumps(_plain(record), ensure_ascii=False) for record in _records(shown)]
        columns = [errors, [self._node] * len(errors), texts]
        return pa.table({n: pa.array(c, pa.string()) for n, c in zip(("error", "node", "row"), columns, strict=True)})


def without_values(reason: str, record: MappingType[str, Any]) -> str:
    """Return the reason with each value of the record replaced by the name of its column.

    Values are found where they stand as a word of their own, as Python writes them: a value that the function has
    changed is not found.
    """
    words = {text: name for name, value in record.items() for text in _texts(value) if text in reason and text.strip()}
    if not words:
        return reason
    longest_first = sorted(words, key=len, reverse=True)
    told, at = [], 0
    while (found := _first(reason, longest_first, at)) is not None:
        place, text = found
        told += [reason[at:place], f"<{words[text]}>"]
        at = place + len(text)
    return "".join([*told, reason[at:]])


def _first(reason: str, words: Sequence[str], at: int) -> tuple[int, str] | None:
    """Return the first word that stands there by itself, and where; of several at one place the first of the list.

    A pattern of all words would be compiled for each row, for a fifth of a millisecond.
    """
    found: tuple[int, str] | None = None
    for text in words:
        place = reason.find(text, at)
        while place >= 0 and not _stands_alone(reason, place, place + len(text)):
            place = reason.find(text, place + 1)
        if place >= 0 and (found is None or place < found[0]):
            found = place, text
    return found


def _stands_alone(reason: str, start: int, stop: int) -> bool:
    return not any(c.isalnum() or c == "_" for c in (*reason[start - 1 : start], *reason[stop : stop + 1]))


def _records(rows: pa.Table) -> Iterator[dict[str, Any]]:
    """Yield rows as values of Python."""
    names = rows.schema.names
    for values in zip(*map(_values, rows.columns), strict=True) if names else ():
        yield dict(zip(names, values, strict=True))


def _values(column: pa.ChunkedArray) -> list[Any]:
    try:
        return list(column.to_pylist())
    except (ValueError, OverflowError):
        return [_value(column.slice(n, 1)) for n in range(len(column))]


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
