"""JSON lines straight into a user's function: msgspec makes the dicts, and no table is made of what comes in.

Only where that gives what the reader of JSON lines gives: columns of plain types, each value of exactly its type. A
block with any other line, or one on which the function fails, is left alone, and comes again as rows.
"""

from __future__ import annotations

import re
from itertools import chain
from typing import TYPE_CHECKING, Annotated, Any, TypedDict

import pyarrow as pa

from dataflare.processors.python_modes import encode, several
from dataflare.schema import Column, arrow_type

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_LINE_END = 10
CHUNK_BYTES = 256 << 10
"""So many bytes become dicts at once, which then stay in the processor's cache."""
_RANGES = {f"int{bits}": (-(1 << bits - 1), (1 << bits - 1) - 1) for bits in (8, 16, 32, 64)}
_RANGES |= {f"uint{bits}": (0, (1 << bits) - 1) for bits in (8, 16, 32)}
_TYPED_DICT: Any = TypedDict
_SIMPLE: dict[str, Any] = {"bool": bool, "double": float, "string": str}


def is_plain(column: Column) -> bool:
    """Tell whether JSON has values that are exactly those of a column's type."""
    return re.search(r"\bjson\b(?!\s*:)", column.type) is None and _is_plain(arrow_type(column.type))


def _is_plain(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return all(_is_plain(field.type) for field in kind)
    if pa.types.is_list(kind):
        return _is_plain(kind.value_type)
    return str(kind) in _SIMPLE or str(kind) in _RANGES


class LineFeeder:
    """Calls a record function for each line of a block."""

    def __init__(self, function: Callable[[Any], Any], given: pa.Schema, output: pa.Schema) -> None:
        """`given` are the columns of the records, all plain; `output` those of what the function returns."""
        import msgspec

        record = _TYPED_DICT("record", {f.name: field_type(f.type) for f in given}, total=False)
        self._decode: Callable[[bytes], list[dict[str, Any]]] = msgspec.json.Decoder(record).decode_lines
        self._function, self._output = function, output
        self._blank = dict.fromkeys(given.names)

    def run(self, lines: bytes | bytearray) -> tuple[int, pa.Table] | None:
        """Return how many records there were, and the rows that came of them; None where a line is none of ours."""
        import msgspec

        count, tables = 0, [self._output.empty_table()]
        for part in parts_of(bytes(lines)):
            try:
                records = self._decode(part)
            except (msgspec.MsgspecError, UnicodeDecodeError):
                return None
            begun = part.count(b"\n{") + part.startswith(b"{")
            if not len(records) == begun == part.count(b"\n") + (part[-1] != _LINE_END):
                return None  # a blank line, or a record that is not on a line of its own
            table = self._call(records)
            if table is None:
                return None
            count += len(records)
            tables.append(table)
        return count, pa.concat_tables(tables).combine_chunks()

    def _call(self, records: list[dict[str, Any]]) -> pa.Table | None:
        width, blank, made = len(self._blank), self._blank, []
        for number, record in enumerate(records):
            if len(record) != width:
                records[number] = {**blank, **record}
        try:
            made = [self._function(record) for record in records]
            if set(map(type, made)) - {dict, type(None)}:
                made = list(chain.from_iterable(() if m is None else several(m) for m in made))
        except MemoryError:
            raise
        except Exception:  # noqa: BLE001 - a user's function may raise anything; the rows come again, and tell
            return None
        return encode([m for m in made if m is not None], self._output)[0]


def parts_of(lines: bytes) -> Iterator[bytes]:
    """Yield the block in parts of whole lines."""
    start = 0
    while start < len(lines):
        end = lines.find(b"\n", start + CHUNK_BYTES) + 1 or len(lines)
        yield lines[start:end]
        start = end


def field_type(kind: pa.DataType) -> Any:
    """Return the type that msgspec holds values to."""
    import msgspec

    if pa.types.is_struct(kind):
        return _TYPED_DICT("fields", {f.name: field_type(f.type) for f in kind}) | None
    if pa.types.is_list(kind):
        return list[field_type(kind.value_type)] | None  # type: ignore[misc]
    if str(kind) in _RANGES:
        low, high = _RANGES[str(kind)]
        return Annotated[int, msgspec.Meta(ge=low, le=high)] | None
    return _SIMPLE[str(kind)] | None


__all__ = ["LineFeeder", "field_type", "is_plain", "parts_of"]
