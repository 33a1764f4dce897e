"""Rows of changes out of the JSON of Debezium's events, column by column.

A value comes as its type of Kafka Connect; what it means (days, milliseconds, a text of a decimal) is told beside it.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import json as pa_json

from dataflare.changes import BEFORE, COMMIT_TS, OP, TX, UNCHANGED, Op
from dataflare.connectors.debezium.settings import PLACEHOLDER
from dataflare.errors import DataError, WorkflowError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from dataflare.schema import Schema

_OPS = {"c": Op.INSERT, "u": Op.UPDATE, "d": Op.DELETE, "r": Op.READ, "t": Op.TRUNCATE}
_WIRE = {"BOOLEAN": pa.bool_(), "STRING": pa.string(), "BYTES": pa.string()}
_WIRE |= {f"INT{bits}": pa.int64() for bits in (8, 16, 32, 64)} | {f"FLOAT{bits}": pa.float64() for bits in (32, 64)}
_UNITS = {"": "ms", "Micro": "us", "Nano": "ns"}
_TIMES = {f"io.debezium.time.{p}Timestamp": pa.timestamp(u) for p, u in _UNITS.items()}
_TIMES |= {"io.debezium.time.Time": pa.time32("ms")}
_TIMES |= {f"io.debezium.time.{p}Time": pa.time64(u) for p, u in _UNITS.items() if p}
_TIMES |= {"io.debezium.time.Date": pa.date32()}
_PLACES: Mapping[str, tuple[tuple[str, Any, int], ...]] = {
    "postgresql": (("sequence", pa.string(), 0),),
    "mysql": (("file", pa.string(), 0), ("pos", pa.int64(), 20), ("row", pa.int64(), 10)),
    "sqlserver": (("commit_lsn", pa.string(), 0), ("change_lsn", pa.string(), 0), ("event_serial_no", pa.int64(), 10)),
    "oracle": (("commit_scn", pa.string(), 20), ("scn", pa.string(), 20)),
    "db2": (("commit_lsn", pa.string(), 0), ("change_lsn", pa.string(), 0)),
}
"""Where the log is, of each connector: fields of `source`, and to how many digits they are filled up to sort."""
_SEQUENCE = r'^\[(?:"(?P<before>\d+)"|null),\s*(?:"(?P<own>\d+)"|null)\]$'
_DIGITS = 20


class Events:
    """Makes rows of the changes of one table."""

    def __init__(self, table: str, schema: Schema, key: Sequence[str], connector: str) -> None:
        """`schema` is that of the output, with the reserved columns."""
        self._table, self._schema, self._key, self._connector = table, schema, frozenset(key), connector
        self._columns = [c for c in schema if not c.name.startswith("_") or c.name not in _RESERVED]

    def rows(self, lines: bytes, shape: Sequence[Mapping[str, Any]]) -> pa.Table:
        """Return the changes, in their order; raise DataError for a value that does not fit."""
        kinds = {column["name"]: column for column in shape}
        lost = [c.name for c in self._columns if c.name not in kinds]
        if lost:
            raise WorkflowError(
                f"{self._table} has no column {lost[0]} at this place of the log",
                hint="take it out of columns, or begin anew with this table",
            )
        events = self._read(lines, kinds)
        op = _ops(events.column("op").combine_chunks())
        gone = pc.or_(pc.equal(op, Op.DELETE.value), pc.equal(op, Op.TRUNCATE.value))
        before, after = (_fields(events.column(side), [c.name for c in self._columns]) for side in ("before", "after"))
        arrays, left_out = [], []
        for column in self._columns:
            old = before[column.name] if column.name in self._key else pa.nulls(len(op), before[column.name].type)
            value = pc.if_else(gone, old, after[column.name])
            if (flags := _unknown(value)) is not None:
                left_out.append((column.name, flags))
                value = pc.if_else(flags, pa.scalar(None, value.type), value)
            arrays.append(self._typed(value, kinds[column.name], column.name))
        self._refuse_unknown([name for name, _ in left_out])
        source = events.column("source").combine_chunks()
        told = {OP: op, COMMIT_TS: _moments(source), TX: _places(source, self._connector)}
        if UNCHANGED in self._schema:
            told[UNCHANGED] = _named(left_out, len(op))
        if BEFORE in self._schema:
            told[BEFORE] = self._former(events.column("before").combine_chunks(), before, kinds)
        arrays += [told[c.name] for c in self._schema if c.name in told]
        return pa.Table.from_arrays(arrays, schema=self._schema.to_arrow())

    def _read(self, lines: bytes, kinds: Mapping[str, Mapping[str, Any]]) -> pa.Table:
        row = pa.struct([(c.name, self._wire(kinds[c.name], c.name)) for c in self._columns])
        places = [(name, kind) for name, kind, _ in _PLACES[self._connector]]
        source = pa.struct([*places, ("ts_us", pa.int64()), ("ts_ms", pa.int64())])
        schema = pa.schema([("op", pa.string()), ("before", row), ("after", row), ("source", source)])
        try:
            return pa_json.read_json(
                pa.BufferReader(lines),
                pa_json.ReadOptions(use_threads=False, block_size=len(lines) + 1),
                pa_json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore"),
            )
        except pa.ArrowInvalid as error:
            raise DataError(f"{self._table}: an event of Debezium is not as its schema says") from error

    def _wire(self, kind: Mapping[str, Any], name: str) -> pa.DataType:
        if kind["type"] == "ARRAY":
            return pa.list_(self._wire(kind["items"], name))
        found = _WIRE.get(kind["type"])
        if found is None:
            raise WorkflowError(
                f"{self._table}.{name} comes as {kind['type'].lower()} ({kind['meaning']}), of which no column is made",
                hint="take it out of columns",
            )
        return found

    def _typed(self, value: pa.Array, kind: Mapping[str, Any], name: str) -> pa.Array:
        """Return values of the type that is declared."""
        wanted = self._schema.to_arrow().field(name).type
        try:
            return _cast(value, kind, wanted)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, ValueError) as error:
            raise DataError(
                f"{self._table}.{name}: a value that comes as {kind['meaning'] or kind['type'].lower()} "
                f"is no {self._schema[name].type}",
                hint="declare the type that the column has, or string",
            ) from error

    def _former(self, packed: pa.StructArray, before: Mapping[str, pa.Array], kinds: Mapping[str, Any]) -> pa.Array:
        kind = self._schema.to_arrow().field(BEFORE).type
        values = []
        for column in self._columns:
            value, field = before[column.name], kind.field(column.name)
            if (flags := _unknown(value)) is not None:
                value = pc.if_else(flags, pa.scalar(None, value.type), value)
            values.append(self._typed(value, kinds[column.name], column.name).cast(field.type))
        return pa.StructArray.from_arrays(values, fields=list(kind), mask=packed.is_null())

    def _refuse_unknown(self, names: Sequence[str]) -> None:
        """Refuse values that were not sent where nothing could say so (invariant 6)."""
        wrong = [n for n in names if n in self._key or UNCHANGED not in self._schema]
        if wrong:
            raise DataError(
                f"{self._table}: the unchanged value of {wrong[0]} was not sent",
                hint="say unchanged: true, or let the database log whole rows",
            )


_RESERVED = (OP, COMMIT_TS, TX, UNCHANGED, BEFORE)


def _ops(told: pa.Array) -> pa.Array:
    found = pc.index_in(told, pa.array(list(_OPS)))
    if found.null_count:
        raise DataError("Debezium tells of a kind of change that is not known")
    return pa.array([op.value for op in _OPS.values()]).take(found)


def _fields(column: pa.ChunkedArray, names: Sequence[str]) -> dict[str, pa.Array]:
    packed = column.combine_chunks()
    return {name: pc.struct_field(packed, name) for name in names}


def _unknown(value: pa.Array) -> pa.Array | None:
    """Return where a value was left out; None: nowhere."""
    if not pa.types.is_string(value.type):
        return None
    marks = pa.array([PLACEHOLDER, PLACEHOLDER.encode().hex(), base64.b64encode(PLACEHOLDER.encode()).decode()])
    flags = pc.is_in(value, marks)
    return flags if pc.any(flags).as_py() else None


def _cast(value: pa.Array, kind: Mapping[str, Any], wanted: pa.DataType) -> pa.Array:
    meaning = kind["meaning"]
    if pa.types.is_binary(wanted) and pa.types.is_string(value.type):
        read: Callable[[str], bytes] = base64.b64decode if kind["type"] == "BYTES" else bytes.fromhex
        return pa.array([None if v is None else read(v) for v in value.to_pylist()], wanted)
    if (time := _TIMES.get(meaning)) is not None and not pa.types.is_integer(wanted):
        narrow = pa.int32() if time.bit_width == 32 else pa.int64()  # noqa: PLR2004 - bits
        value = value.cast(narrow).cast(time)
        if pa.types.is_timestamp(wanted) and wanted.tz:
            value = value.cast(pa.timestamp(time.unit)).cast(pa.timestamp(time.unit, "UTC"))
    return value.cast(wanted)


def _moments(source: pa.StructArray) -> pa.Array:
    """Return when it was committed: older connectors tell milliseconds."""
    exact = pc.struct_field(source, "ts_us")
    found = pc.coalesce(exact, pc.multiply(pc.struct_field(source, "ts_ms"), 1000))
    return found.cast(pa.timestamp("us", "UTC"))


def _places(source: pa.StructArray, connector: str) -> pa.Array:
    """Return texts that sort as the log does."""
    parts = [(pc.struct_field(source, name).cast(pa.string()), digits) for name, _, digits in _PLACES[connector]]
    if connector == "postgresql":  # the end of the transaction before, and the change itself
        found = pc.extract_regex(parts[0][0], _SEQUENCE)
        parts = [(pc.struct_field(found, name), _DIGITS) for name in ("before", "own")]
    filled = [pc.utf8_lpad(pc.fill_null(text, ""), digits, "0") for text, digits in parts]
    return pc.binary_join_element_wise(*filled, "/") if len(filled) > 1 else filled[0]


def _named(left_out: Sequence[tuple[str, pa.Array]], count: int) -> pa.Array:
    """Return the names of the columns that were left out, by row; null where there are none."""
    kind = pa.list_(pa.string())
    if not left_out:
        return pa.nulls(count, kind)
    codes = pa.repeat(pa.scalar(0, pa.int64()), count)
    for number, (_, flags) in enumerate(left_out):
        codes = pc.add(codes, pc.multiply(flags.cast(pa.int64()), 1 << number))
    different = codes.unique()
    named = [[n for at, (n, _) in enumerate(left_out) if code >> at & 1] or None for code in different.to_pylist()]
    return pa.array(named, kind).take(pc.index_in(codes, different))


__all__ = ["Events"]
