"""Writes tables as JSON lines: DuckDB makes the text, and its bytes go out without another copy.

Timestamps are `2026-01-31T12:00:00.000000Z`, zone-less ones without the Z; decimals are numbers; binary is base64;
NaN and infinities, which JSON lacks, are strings; columns of type json are embedded as they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from dataflare.formats.encoder import Encoder, moment_texts, text_bytes
from dataflare.formats.jsonl.session import JsonSession, literal, quoted
from dataflare.formats.jsonl.small import small_lines

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dataflare.formats.encoder import Sink

_MOMENT = "%Y-%m-%dT%H:%M:%S.%f"


class JsonlEncoder(Encoder):
    """One object a line, with every column, nulls too; batches may differ in their columns."""

    def __init__(self, sink: Sink, texts: JsonTexts, json_columns: Iterable[str] = ()) -> None:
        """Write into `sink`; `texts`, which the caller closes, makes the text; `json_columns` hold JSON text."""
        self._sink, self._texts, self._json = sink, texts, frozenset(json_columns)

    def write(self, rows: pa.Table) -> None:
        """Write the rows now."""
        for part in text_bytes(self._texts.lines(rows, self._json)):
            self._sink.write(part)

    def finish(self) -> None:
        """Nothing is held."""


class JsonTexts:
    """Rows or columns as JSON text. Not for several threads at once; close it."""

    def __init__(self, memory_bytes_max: int = 256 << 20) -> None:
        """Open nothing yet."""
        self._memory = memory_bytes_max
        self._session: JsonSession | None = None

    def lines(self, rows: pa.Table, json_columns: Iterable[str] = ()) -> pa.ChunkedArray:
        """Return each row as an object with a line end."""
        if rows.num_rows == 0:
            return pa.chunked_array([], pa.string())
        for number, field in enumerate(rows.schema):
            if pa.types.is_timestamp(field.type):
                rows = rows.set_column(number, field.name, moment_texts(rows.column(number)))
        if not rows.num_columns:
            return pa.chunked_array([pa.array(["{}\n"] * rows.num_rows)])
        if not json_columns and (small := small_lines(rows)) is not None:
            return small
        lowered = {name.lower() for name in rows.column_names}
        if len(lowered) < rows.num_columns:
            return self._unfolded(rows, json_columns)
        whole = "o"
        while whole in lowered:
            whole += "o"
        columns = ", ".join(f"{self._value(rows, n, json_columns)} as {quoted(n)}" for n in rows.column_names)
        return self._run(f"select to_json({whole}) || chr(10) from (select {columns} from rows) {whole}", rows)  # noqa: S608

    def values(self, column: pa.ChunkedArray) -> pa.ChunkedArray:
        """Return each value as JSON text; null stays null. Where all are, no session is opened, which takes 50 MB."""
        if column.null_count == len(column):
            return pa.chunked_array([pa.nulls(len(column), pa.string())])
        rows = pa.table({"v": column})
        return self._run(f"select to_json({self._value(rows, 'v', ())}) from rows", rows)  # noqa: S608 - own words

    def close(self) -> None:
        """Free the session."""
        if self._session is not None:
            self._session.close()
            self._session = None

    def _run(self, sql: str, rows: pa.Table) -> pa.ChunkedArray:
        if self._session is None:
            self._session = JsonSession(self._memory)
        return self._session.query(sql, rows).column(0)

    def _unfolded(self, rows: pa.Table, json_columns: Iterable[str]) -> pa.ChunkedArray:
        """Return lines of rows whose names differ in case only, which DuckDB takes for the same."""
        names = [f"c{n}" for n in range(rows.num_columns)]
        texts = {new for old, new in zip(rows.column_names, names, strict=True) if old in json_columns}
        renamed = rows.rename_columns(names)
        pairs = (
            f"{literal(old)}, {self._value(renamed, new, texts)}"
            for old, new in zip(rows.column_names, names, strict=True)
        )
        return self._run(f"select json_object({', '.join(pairs)}) || chr(10) from rows", renamed)  # noqa: S608

    @staticmethod
    def _value(rows: pa.Table, name: str, json_columns: Iterable[str]) -> str:
        identifier = quoted(name)
        if name in json_columns:
            return f"cast({identifier} as json)"
        return _expression(identifier, rows.schema.field(name).type, finite=_finite(rows.column(name)))


def _expression(value: str, kind: pa.DataType, *, finite: bool, depth: int = 0) -> str:
    """Return the SQL that makes of a value what JSON shall hold; the value itself where that is right already."""
    t = pa.types
    if t.is_timestamp(kind):
        return f"strftime({value}, '{_MOMENT}{'Z' if kind.tz else ''}')"
    if t.is_binary(kind) or t.is_large_binary(kind) or t.is_fixed_size_binary(kind):
        return f"to_base64({value})"
    if t.is_floating(kind) and not finite:
        return (
            f"case when isfinite({value}) or {value} is null then to_json({value}) else to_json({_infinite(value)}) end"
        )
    return _nested(value, kind, finite=finite, depth=depth) if t.is_nested(kind) else value


def _nested(value: str, kind: pa.DataType, *, finite: bool, depth: int) -> str:
    """Return the SQL for a struct, list or map: rebuilt only where something inside is not right already."""
    if pa.types.is_struct(kind):
        fields = [(quoted(f.name), f"{value}.{quoted(f.name)}", f.type) for f in kind]
        made = [(n, v, _expression(v, k, finite=finite, depth=depth)) for n, v, k in fields]
        if all(v == new for _, v, new in made):
            return value
        return f"case when {value} is not null then struct_pack({', '.join(f'{n} := {new}' for n, _, new in made)}) end"
    item = f"x{depth}"
    if pa.types.is_map(kind):
        new = _expression(f"{item}.value", kind.item_type, finite=finite, depth=depth + 1)
        if new == f"{item}.value":
            return value
        entries = f"list_transform(map_entries({value}), lambda {item}: struct_pack(k := {item}.key, v := {new}))"
        return f"map_from_entries({entries})"
    new = _expression(item, kind.value_type, finite=finite, depth=depth + 1)
    return value if new == item else f"list_transform({value}, lambda {item}: {new})"


def _infinite(value: str) -> str:
    return f"case when isnan({value}) then 'NaN' when {value} > 0 then 'Infinity' else '-Infinity' end"


def _finite(column: pa.ChunkedArray) -> bool:
    """Tell whether all floats in a column, however deep, are finite."""
    return all(_finite_array(chunk) for chunk in column.chunks)


def _finite_array(array: pa.Array) -> bool:
    import pyarrow.compute as pc

    t = pa.types
    if t.is_floating(array.type):
        return pc.all(pc.is_finite(array)).as_py() is not False
    if t.is_struct(array.type):
        return all(_finite_array(inner) for inner in array.flatten())
    if t.is_map(array.type):
        return _finite_array(array.items)
    if t.is_list(array.type) or t.is_large_list(array.type):
        return _finite_array(array.flatten())
    return True


__all__ = ["JsonTexts", "JsonlEncoder"]
