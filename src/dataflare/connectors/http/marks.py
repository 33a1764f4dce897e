"""What earlier runs have read of an API that is asked for rows from a value on: the greatest value, and its rows.

A server is asked for rows from that value on, itself included, for rows may have come that have it too. Those that were
read already are told by their key and left out.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from dataflare.errors import WorkflowError
from dataflare.schema import arrow_type

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

DAY_SECONDS = 86_400
KEYS_MAX = 5000
"""Where more rows share the greatest value, it is taken as complete."""


@dataclass(frozen=True, slots=True)
class Mark:
    """The greatest value of the cursor, as a JSON value, and the keys of the rows that have it; None: all of them."""

    value: Any
    keys: tuple[str, ...] | None = ()

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any] | None) -> Mark | None:
        """Read what `to_json` wrote."""
        if value is None:
            return None
        return cls(value["value"], None if value["keys"] is None else tuple(value["keys"]))


class Cursor:
    """The column that grows."""

    def __init__(self, name: str, kind: str, key: Sequence[str], overlap_seconds: float = 0.0) -> None:
        """Raise WorkflowError for a column of a type that has no order, or where only times overlap."""
        self._name, self._type, self._key = name, arrow_type(kind), list(key)
        self._overlap = overlap_seconds
        t = pa.types
        self._number = t.is_timestamp(self._type) or t.is_date(self._type)
        if not (self._number or t.is_integer(self._type) or t.is_floating(self._type) or t.is_string(self._type)):
            raise WorkflowError(
                f"the cursor {name!r} is of type {kind}", hint="declare it as int64, float64, timestamp, date or string"
            )
        if overlap_seconds and not self._number:
            raise WorkflowError(f"the cursor {name!r} is no time, and only times overlap", hint="leave overlap out")

    def fresh(self, rows: pa.Table, low: Mark | None) -> pa.Table:
        """Return the rows behind a mark; those without a value are left out."""
        column = rows.column(self._name)
        if low is None:
            return rows.filter(pc.is_valid(column)) if column.null_count else rows
        bound = self._scalar(low.value)
        if self._overlap:
            return rows.filter(pc.greater_equal(column, self._earlier(bound)))
        behind = pc.greater(column, bound)
        if low.keys is not None:
            known = set(low.keys)
            at = pc.indices_nonzero(pc.equal(column, bound))
            fresh = [n for n, key in zip(at.to_pylist(), self._keys(rows.take(at)), strict=True) if key not in known]
            numbers = pa.array(range(rows.num_rows), pa.int64())
            behind = pc.or_(behind, pc.is_in(numbers, value_set=pa.array(fresh, pa.int64())))
        return rows.filter(behind)

    def raised(self, high: Mark | None, rows: pa.Table) -> Mark | None:
        """Return the mark after these rows too."""
        column = rows.column(self._name)
        most = pc.max(column)
        if not most.is_valid:
            return high
        if high is not None and self._scalar(high.value).as_py() > most.as_py():
            return high
        keys = self._keys(rows.filter(pc.equal(column, most)))
        value = self._json(most)
        if high is not None and high.value == value:
            if high.keys is None:
                return high
            keys = [*high.keys, *keys]
        unique = tuple(dict.fromkeys(keys))
        return Mark(value, unique if len(unique) <= KEYS_MAX else None)

    def written(self, mark: Mark, form: str) -> str | int | float:
        """Return the value of a mark as the server wants it."""
        if not self._number:
            plain: str | int | float = mark.value
            return plain
        moment = self._earlier(self._scalar(mark.value))
        if form in ("unix", "unix_ms"):
            seconds = moment.cast(pa.timestamp("us", getattr(self._type, "tz", None))).cast(pa.int64()).as_py() / 1e6
            return int(seconds * 1000) if form == "unix_ms" else int(seconds)
        if form == "iso" and pa.types.is_date(self._type):
            return str(moment.as_py())
        if form == "iso":
            text = str(moment.as_py().replace(tzinfo=None).isoformat(timespec="microseconds"))
            return f"{text}Z" if self._type.tz else text
        return str(moment.as_py().strftime(form))

    def _earlier(self, moment: pa.Scalar) -> pa.Scalar:
        """Return a time so much earlier that rows which came late are asked for again."""
        if not self._overlap:
            return moment
        days = pa.types.is_date(self._type)
        steps = math.ceil(self._overlap / DAY_SECONDS) if days else round(self._overlap * 1e6)
        return self._scalar(self._json(moment) - steps)

    def _scalar(self, value: Any) -> pa.Scalar:
        if not self._number:
            return pa.scalar(value, self._type)
        return pa.scalar(value, pa.int32() if pa.types.is_date32(self._type) else pa.int64()).cast(self._type)

    def _json(self, value: pa.Scalar) -> Any:
        if not self._number:
            return value.as_py()
        return value.cast(pa.int32() if pa.types.is_date32(self._type) else pa.int64()).as_py()

    def _keys(self, rows: pa.Table) -> list[str]:
        """Return what tells rows apart: a digest of the key, or of the whole row where there is none."""
        told = rows.select(self._key) if self._key else rows
        return [_digest(row) for row in told.to_pylist()]


def _digest(row: Mapping[str, Any]) -> str:
    return hashlib.blake2b(json.dumps(row, default=str).encode(), digest_size=12).hexdigest()


__all__ = ["Cursor", "Mark"]
