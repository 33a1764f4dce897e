"""One form for the changes that two readers of a log tell, so that they can be compared; what differs by design goes.

A value is as it stands in the table: text, whole number, `Decimal` with its digits, days, microseconds, hexadecimal
bytes, or a list or mapping of these. Floats are their shortest text, so that -0 is not 0.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

PLACEHOLDER = "__what-debezium-does-not-know"
UNKNOWN = {PLACEHOLDER, PLACEHOLDER.encode().hex()}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PAIR = re.compile(r'"((?:[^"\\]|\\.)*)"=>(?:"((?:[^"\\]|\\.)*)"|NULL)')


@dataclass(frozen=True)
class Told:
    """A change. `values` are those after it, or those that a delete tells; `before` is the whole former row if told."""

    op: str
    key: tuple[Any, ...]
    values: Mapping[str, Any] = field(default_factory=dict)
    unchanged: frozenset[str] = frozenset()
    before: Mapping[str, Any] | None = None
    tx: Any = field(default=None, compare=False)
    commit: int = 0


@dataclass(frozen=True)
class Shape:
    """A table: its key, its columns with their types, and whether former rows are told whole."""

    key: tuple[str, ...]
    columns: Mapping[str, str]
    is_whole: bool = False

    def event(self, op: str, values: Mapping[str, Any], before: Any, unchanged: Iterable[str], at: Any) -> Told:
        """Return a change in the one form, of values in the one form."""
        left_out, (tx, commit) = frozenset(unchanged), at
        if op == "truncate":
            return Told(op, (), tx=tx, commit=commit)
        # A deleted row tells its key; what else stands there is null with us, and a default of its type with Debezium.
        names = self.key if op == "delete" and not self.is_whole else self.columns
        kept = {n: values[n] for n in names if n not in left_out}
        return Told(op, tuple(values[k] for k in self.key), kept, left_out, before, tx, commit)


# ---- DataFlare ------------------------------------------------------------------------------------------------------


def ours(rows: pa.Table, shape: Shape) -> list[Told]:
    """Return the changes of a batch."""
    plain = {name: _from_arrow(rows.column(name), kind) for name, kind in shape.columns.items()}
    op, tx = rows.column("_op").to_pylist(), rows.column("_tx").to_pylist()
    commit = rows.column("_commit_ts").cast(pa.int64()).to_pylist()
    unchanged = rows.column("_unchanged").to_pylist() if "_unchanged" in rows.column_names else [None] * len(rows)
    before: list[Any] = [None] * len(rows)
    if "_before" in rows.column_names:
        packed = rows.column("_before").combine_chunks()
        fields = {n: _from_arrow(packed.field(n), kind) for n, kind in shape.columns.items()}
        valid = packed.is_valid().to_pylist()
        before = [{n: values[at] for n, values in fields.items()} if valid[at] else None for at in range(len(rows))]
    return [
        shape.event(op[n], {c: v[n] for c, v in plain.items()}, before[n], unchanged[n] or (), (tx[n], commit[n]))
        for n in range(len(rows))
    ]


def _from_arrow(column: Any, kind: str) -> list[Any]:
    """Return values; dates and times as the numbers they are, because Python's own end in the year 9999."""
    if pa.types.is_date32(column.type):
        column = column.cast(pa.int32())
    elif pa.types.is_timestamp(column.type) or pa.types.is_time64(column.type):
        column = column.cast(pa.int64())
    return [None if v is None else _plain(v, kind) for v in column.to_pylist()]


def _plain(value: Any, kind: str) -> Any:  # noqa: PLR0911 - one for each type
    if isinstance(value, list):
        return [None if v is None else _plain(v, kind.removesuffix("[]")) for v in value]
    if isinstance(value, float):
        return str(np.float32(value) if kind == "float4" else np.float64(value))
    if isinstance(value, str) and kind.endswith("hstore"):
        return {m[1]: None if m[0].endswith("NULL") else m[2] for m in _PAIR.finditer(value)}
    match value:
        case bytes():
            return value.hex()
        case Decimal():
            return format(value, "f")
        case date():
            return (value - _EPOCH.date()).days
    return value


# ---- Debezium -------------------------------------------------------------------------------------------------------


def theirs(value: Mapping[str, Any], shape: Shape) -> list[Told]:
    """Return the changes that an event of Debezium tells: two of them where rows are told apart by all columns.

    A changed key is a delete and an insert for both; but without a key Debezium tells an update, and so do we only
    where nothing has changed. Tombstones are for topics that Kafka compacts, and are switched off.
    """
    op = {"c": "insert", "u": "update", "d": "delete", "t": "truncate"}[value["op"]]
    # `source.ts_us` is the time of the commit, `ts_us` that of the reading.
    at = (value["source"]["txId"], value["source"]["ts_us"])
    before, after = (_row(value[side], shape) if value.get(side) else {} for side in ("before", "after"))
    former = before if shape.is_whole and op in ("update", "delete") else None
    if op == "update" and shape.key == tuple(shape.columns) and before != after:
        return [shape.event("delete", before, before, (), at), shape.event("insert", after, None, (), at)]
    told = before if op == "delete" else after
    unchanged = [n for n, v in told.items() if _is_unknown(v)] if op != "delete" else ()
    return [shape.event(op, told, former, unchanged, at)]


def _row(row: Mapping[str, Any], shape: Shape) -> dict[str, Any]:
    # Debezium's schema is that of the moment in the log: a column that came later is not there. We have one schema in a
    # run, so it is null.
    return {name: _READ.get(kind, _same)(row.get(name), kind) for name, kind in shape.columns.items()}


def _same(value: Any, kind: str) -> Any:
    if isinstance(value, list) and not _is_unknown(value):
        element = kind.removesuffix("[]")
        return [_READ.get(element, _same)(v, element) for v in value]
    return value


def _number(value: Any, kind: str) -> Any:
    # Texts of decimals may have an exponent.
    return value if value is None or _is_unknown(value) else format(Decimal(str(value)), "f")


def _float(value: Any, kind: str) -> Any:
    return None if value is None else str(np.float32(value) if kind == "float4" else np.float64(value))


def _instant(value: Any, kind: str) -> Any:
    """Return microseconds: an instant is a text in UTC, whatever `time.precision.mode` says."""
    if value is None:
        return None
    span = datetime.fromisoformat(value) - _EPOCH
    return (span.days * 86_400 + span.seconds) * 1_000_000 + span.microseconds


def _address(value: Any, kind: str) -> Any:
    """Return the text of a cast, which is what a source of ours reads: one host has its mask."""
    if value is None or "/" in value:
        return value
    return f"{value}/{128 if ':' in value else 32}"


def _listed(value: Any, kind: str) -> Any:
    """Return the text of an array: those of types that Arrow lacks are no lists with us."""
    return value if value is None else f"{{{','.join('NULL' if v is None else v for v in value)}}}"


def _is_unknown(value: Any) -> bool:
    return (isinstance(value, str) and value in UNKNOWN) or value == [PLACEHOLDER]


_READ: dict[str, Callable[[Any, str], Any]] = {
    "float4": _float,
    "float8": _float,
    "timestamptz": _instant,
    "inet": _address,
    "uuid[]": _listed,
    "numeric(12,2)": _number,
    "numeric(12,3)": _number,
    "numeric(8,2)": _number,
    "numeric(38,9)": _number,
    "numeric(4,0)": _number,
    "numeric(6,2)": _number,
    "{schema}.amount": _number,
}

__all__ = ["PLACEHOLDER", "Shape", "Told", "ours", "theirs"]
