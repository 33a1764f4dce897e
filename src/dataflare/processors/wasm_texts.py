"""Rows as the JSON that plugins take and give: lines, or lists by column."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa

from dataflare.errors import DataError
from dataflare.formats.jsonl.decode import JsonlDecoder
from dataflare.formats.jsonl.encode import JsonTexts
from dataflare.processors.python_lines import is_plain
from dataflare.processors.python_modes import encode
from dataflare.processors.wasm_lines import PlainLines
from dataflare.processors.wasm_packed import array_of, listed, packed, unpacked

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from dataflare.schema import Schema

COLUMNS, LINES = "json-columns", "json-lines"
WHOLE_NUMBERS_MAX = 1 << 53
"""Beyond it not every whole number is one of JavaScript."""

_NO_NUMBERS = ("NaN", "Infinity", "-Infinity")

SMALL = 16 << 10
"""So few characters are read value by value."""

Unfit = dict[int, str]
"""Why a row does not fit, by its number."""


class Texts:
    """Writes rows and reads what came of them; close it.

    `scripts`: for JavaScript and Python, whose JSON has no decimals. `rounds`: for JavaScript, with floats alone.
    `packs`: columns of numbers are written as their bytes.
    """

    def __init__(
        self, given: Schema, memory_bytes_max: int, *, scripts: bool, packs: bool = False, rounds: bool = False
    ) -> None:
        """`given` are the columns that are written."""
        self._packs, self._given = packs, given
        self._texts = JsonTexts(memory_bytes_max)
        self._memory, self._scripts, self._rounds = memory_bytes_max, scripts, rounds
        self._json = [c.name for c in given if c.type == "json"]
        self._decoders: dict[str, JsonlDecoder] = {}
        self._plain: dict[str, PlainLines] = {}

    def close(self) -> None:
        """Free what was opened."""
        opened: list[JsonTexts | JsonlDecoder | PlainLines]
        opened = [self._texts, *self._decoders.values(), *self._plain.values()]
        for one in opened:
            one.close()

    def inexact(self, rows: pa.Table) -> Unfit:
        """Return the rows with a whole number that JavaScript would round."""
        found: Unfit = {}
        if not self._rounds:
            return found
        import pyarrow.compute as pc

        for field, column in zip(rows.schema, rows.columns, strict=True):
            if str(field.type) not in ("int64", "uint64"):
                continue
            beyond = pc.greater(column, WHOLE_NUMBERS_MAX)
            if field.type == pa.int64():
                beyond = pc.or_(beyond, pc.less(column, -WHOLE_NUMBERS_MAX))
            why = f"column {field.name!r} is a whole number beyond 2^53, which JavaScript would round"
            if pc.any(beyond).as_py():
                found |= dict.fromkeys(pc.indices_nonzero(beyond.combine_chunks()).to_pylist(), why)
        return found

    def written(self, rows: pa.Table, form: str) -> str:
        """Return rows as text. For scripts decimals are texts, which lose no digit."""
        if self._scripts:
            for n, field in enumerate(rows.schema):
                if pa.types.is_decimal(field.type):
                    rows = rows.set_column(n, field.name, rows.column(n).cast(pa.string()))
        if form == COLUMNS:
            return self._columns(rows)
        return _joined(self._texts.lines(rows, self._json)).rstrip("\n")

    def read(self, text: str, form: str, schema: Schema, ignored: Collection[str] = ()) -> tuple[pa.Table, Unfit]:
        """Return rows that a plugin returned, without those that do not fit, and why these do not.

        `ignored` columns may be there. Raises DataError where it is no such text.
        """
        import msgspec

        arrow = schema.to_arrow()
        if form == LINES and len(text) > SMALL and (rows := self._read_plain(text, schema, ignored)) is not None:
            return rows, {}
        try:
            if form == COLUMNS:
                columns = msgspec.json.decode(text, type=dict[str, Any])
                columns = {name: unpacked(values, name) for name, values in columns.items()}
                return _of_columns(_without(columns, arrow, ignored), arrow)
            records = msgspec.json.decode(f"[{text.replace(chr(10), ',')}]", type=list[dict[str, Any]])
            records = [_without(r, arrow, ignored) for r in records] if ignored else records
        except (msgspec.DecodeError, RecursionError) as error:
            raise DataError(f"what the plugin returned is no {form}: {error}") from None
        if text and text.count("\n") + 1 != len(records):
            raise DataError(f"what the plugin returned is no {form}: its {len(records)} rows are not a line each")
        if all(map(is_plain, schema)):
            return _of_records(records, arrow)
        known = set(arrow.names)
        others = {n: min(r.keys() - known) for n, r in enumerate(records) if not r.keys() <= known}
        unfit = {n: f"TypeError: the output has no column {name!r}" for n, name in others.items()}
        lines, numbers = text.split("\n"), [n for n in range(len(records)) if n not in unfit]
        key = repr(schema.to_json())
        decoder = self._decoders.setdefault(key, JsonlDecoder(schema, self._memory))
        found = decoder.decode("".join(f"{lines[n]}\n" for n in numbers).encode() if unfit else text.encode() + b"\n")
        lost = {numbers[r.line]: r.reason for r in found.rejected}
        return found.rows.cast(arrow), lost | unfit

    def _read_plain(self, text: str, schema: Schema, ignored: Collection[str]) -> pa.Table | None:
        """Return the rows of lines with values of exactly their types, without making objects of them."""
        key = repr((schema.to_json(), sorted(ignored)))
        if key not in self._plain:
            if not all(map(is_plain, schema)):
                return None
            self._plain[key] = PlainLines.returned(schema, self._memory, self._given.select(ignored))
        return self._plain[key].read(text)

    def _columns(self, rows: pa.Table) -> str:
        import pyarrow.compute as pc

        parts = []
        for name, column in zip(rows.column_names, rows.columns, strict=True):
            text = packed(column, whole=self._rounds) if self._packs else None
            if text is not None:
                parts.append(f"{_quoted(name)}:{text}")
                continue
            kind = column.type
            plain = pa.types.is_integer(kind) or (pa.types.is_floating(kind) and pc.all(pc.is_finite(column)).as_py())
            texts = column.cast(pa.string()) if plain else self._texts.values(column)
            values = pc.fill_null(texts, "null").combine_chunks()
            whole = pa.ListArray.from_arrays(pa.array([0, len(values)], pa.int32()), values)
            listed = pc.binary_join(whole, ",")[0].as_py()
            parts.append(f"{_quoted(name)}:[{listed}]")
        return f"{{{','.join(parts)}}}"


def decimals_of(schema: Schema) -> tuple[str, ...]:
    """Return the columns that are decimals."""
    return tuple(field.name for field in schema.to_arrow() if pa.types.is_decimal(field.type))


def _joined(lines: pa.ChunkedArray) -> str:
    """Return texts one behind the other, as they lie in memory."""
    parts = []
    for chunk in lines.chunks:
        if len(chunk):
            _, offsets, values = chunk.buffers()
            at = memoryview(offsets).cast("B").cast("q" if pa.types.is_large_string(chunk.type) else "i")
            start, stop = at[chunk.offset], at[chunk.offset + len(chunk)]
            parts.append(memoryview(values)[start:stop] if values is not None else b"")
    return b"".join(parts).decode()


def _quoted(name: str) -> str:
    import msgspec

    return msgspec.json.encode(name).decode()


def _without(values: dict[str, Any], schema: pa.Schema, ignored: Collection[str]) -> dict[str, Any]:
    return {n: v for n, v in values.items() if n not in ignored or n in schema.names} if ignored else values


def _of_records(records: list[dict[str, Any]], schema: pa.Schema) -> tuple[pa.Table, Unfit]:
    table, unfit = encode(records, schema)
    if table is not None:
        return table, {}
    if _read_numbers(records, unfit, [f.name for f in schema if pa.types.is_floating(f.type)]):
        return _of_records(records, schema)
    table, again = encode([r for n, r in enumerate(records) if n not in unfit], schema)
    if table is None:
        raise DataError(f"what the plugin returned does not fit: {next(iter(again.values()))}")
    return table, unfit


def _read_numbers(records: list[dict[str, Any]], unfit: Unfit, names: list[str]) -> bool:
    """Read texts of floats that JSON has no numbers for, as rows are written; tell whether there are any."""
    found = False
    for n in unfit:
        for name in names:
            text = records[n].get(name)
            if isinstance(text, str) and text in _NO_NUMBERS:
                records[n][name], found = float(text), True
    return found


def _of_columns(columns: Mapping[str, Sequence[Any] | pa.Array], schema: pa.Schema) -> tuple[pa.Table, Unfit]:
    unknown = sorted(columns.keys() - set(schema.names))
    if unknown:
        raise DataError(f"the plugin returned {unknown[0]!r}, which is no column of the output")
    count = max(map(len, columns.values()), default=0)
    if any(len(values) != count for values in columns.values()):
        raise DataError("the plugin returned columns of different lengths")
    lists = [columns.get(name, [None] * count) for name in schema.names]
    try:
        arrays = [array_of(values, field.type) for values, field in zip(lists, schema, strict=True)]
        if not any(a.null_count and not f.nullable for a, f in zip(arrays, schema, strict=True)):
            return pa.Table.from_arrays(arrays, schema=schema), {}
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        pass  # looked at row by row
    lists = [listed(values) for values in lists]
    return _of_records([dict(zip(schema.names, row, strict=True)) for row in zip(*lists, strict=True)], schema)


__all__ = ["COLUMNS", "LINES", "Texts", "Unfit", "decimals_of"]
