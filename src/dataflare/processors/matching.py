"""Finds rows of a table by the values of key columns, by Arrow alone: built once, asked for every batch.

Nulls match nothing. Each key column is turned into numbers of its distinct values, several columns into numbers of the
pairs of those. How a number is found depends on the values: whole numbers that lie close together are places in an
array; up to a few hundred thousand others are hashed; of more than that, a hash would cost more to build than a batch
does, so they are sorted and searched (12 instead of 178 ms for 64 Ki rows in two million).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dataflare.schema import arrow_type

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

HASHED_MAX = 1 << 18
SPREAD_MAX = 8
_DIGITS_MAX = 38
_DIGITS_OF_INTEGERS = 20


def shared_type(one: str, other: str) -> pa.DataType | None:
    """Return the type in which keys of two types are compared, exactly; None where they cannot be."""
    import pyarrow as pa

    kinds = [arrow_type(one), arrow_type(other)]
    t = pa.types
    if any(t.is_nested(k) or t.is_interval(k) for k in kinds):
        return None
    if any(t.is_null(k) for k in kinds):
        return next((k for k in kinds if not t.is_null(k)), pa.string())
    if all(t.is_integer(k) or t.is_decimal(k) for k in kinds):
        return _shared_integer(kinds) if all(map(t.is_integer, kinds)) else _shared_decimal(kinds)
    if all(map(t.is_floating, kinds)):
        return pa.float64()
    return kinds[0] if kinds[0].equals(kinds[1]) else None


def _shared_integer(kinds: Sequence[pa.DataType]) -> pa.DataType:
    import pyarrow as pa

    signed = [pa.types.is_signed_integer(k) for k in kinds]
    if all(signed) or not any(str(k) == "uint64" for k in kinds):
        return pa.int64()
    return pa.decimal128(_DIGITS_OF_INTEGERS, 0) if any(signed) else pa.uint64()


def _shared_decimal(kinds: Sequence[pa.DataType]) -> pa.DataType | None:
    import pyarrow as pa

    scales = [k.scale if pa.types.is_decimal(k) else 0 for k in kinds]
    whole = [k.precision - k.scale if pa.types.is_decimal(k) else _DIGITS_OF_INTEGERS for k in kinds]
    digits = max(whole) + max(scales)
    return pa.decimal128(digits, max(scales)) if digits <= _DIGITS_MAX else None


def as_key(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    """Return a column in the type in which keys are compared; -0.0 is 0.0."""
    import pyarrow as pa
    import pyarrow.compute as pc

    column = column if column.type.equals(kind) else column.cast(kind)
    return pc.add(column, pa.scalar(0.0)) if pa.types.is_floating(kind) else column


@dataclass(frozen=True, slots=True)
class Match:
    """Which row of a table each row of a batch goes with: null where none does.

    `parents` are the rows of the batch, in order, where one may go with several; None: each goes with one at most.
    """

    rows: pa.Array
    parents: pa.Array | None = None


class KeyIndex:
    """The rows of a table by its key columns."""

    def __init__(self, keys: Sequence[pa.ChunkedArray]) -> None:
        """Take the key columns of all rows, one at least, each in the type of `shared_type`."""
        import pyarrow as pa
        import pyarrow.compute as pc

        columns = [_whole(k) for k in keys]
        self._values = [_values(c) for c in columns]
        self._pairs: list[_Values] = []
        numbers = self._values[0].numbers(columns[0])
        for column, values in zip(columns[1:], self._values[1:], strict=True):
            pair = _paired(numbers, values, column)
            self._pairs.append(_values(pair))
            numbers = self._pairs[-1].numbers(pair)
        places = pa.arange(0, len(numbers), 1)
        known = pa.table([numbers, places], names=["key", "row"]).filter(pc.is_valid(numbers))
        wanted = [("row", "min"), ("row", "max"), ("row", "count")]
        grouped = known.group_by("key", use_threads=False).aggregate(wanted).sort_by("key")
        self._first = _whole(grouped["row_min"])
        self._last = _whole(grouped["row_max"])
        self._counts = _whole(grouped["row_count"])
        self.repeated = len(self._counts) - (pc.sum(pc.equal(self._counts, 1)).as_py() or 0)
        self._lists: pa.Array | None = None
        self._known = known

    def __len__(self) -> int:
        """Count the different keys."""
        return len(self._first)

    def first(self, keys: Sequence[pa.ChunkedArray]) -> pa.Array:
        """Return the first row of each key; null where there is none."""
        return self._first.take(self._groups(keys))

    def last_rows(self) -> pa.Array:
        """Return the last row of each key, in their order."""
        import pyarrow.compute as pc

        return pc.take(self._last, pc.sort_indices(self._last))

    def all(self, keys: Sequence[pa.ChunkedArray]) -> Match:
        """Return all rows of each key, in their order."""
        import pyarrow as pa
        import pyarrow.compute as pc

        groups = self._groups(keys)
        if not self.repeated:
            return Match(self._first.take(groups))
        if self._lists is None:  # the rows of each key, and one more list that holds a null, for what has no key
            order = pc.sort_indices(self._known, sort_keys=[("key", "ascending"), ("row", "ascending")])
            rows = pa.concat_arrays([_whole(self._known["row"].take(order)), pa.nulls(1, pa.int64())])
            ends = pc.cumulative_sum(self._counts)
            offsets = pa.concat_arrays([pa.array([0], pa.int64()), _whole(ends), pa.array([len(rows)], pa.int64())])
            self._lists = pa.LargeListArray.from_arrays(offsets, rows)
        found = self._lists.take(pc.fill_null(groups, len(self)))
        return Match(pc.list_flatten(found), pc.list_parent_indices(found))

    def _groups(self, keys: Sequence[pa.ChunkedArray]) -> pa.Array:
        columns = [_whole(k) for k in keys]
        numbers = self._values[0].numbers(columns[0])
        for column, values, pairs in zip(columns[1:], self._values[1:], self._pairs, strict=True):
            numbers = pairs.numbers(_paired(numbers, values, column))
        return numbers


def _whole(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    import pyarrow as pa

    if isinstance(column, pa.Array):
        return column
    return (
        column.chunk(0)
        if column.num_chunks == 1
        else pa.concat_arrays(column.chunks)
        if column.chunks
        else (pa.array([], column.type))
    )


def _paired(numbers: pa.Array, values: _Values, column: pa.Array) -> pa.Array:
    """Return one number for two; null where either is."""
    import pyarrow as pa
    import pyarrow.compute as pc

    wide = pc.multiply(numbers.cast(pa.int64()), pa.scalar(max(1, values.count), pa.int64()))
    return pc.add(wide, values.numbers(column).cast(pa.int64()))


class _Values(ABC):
    """Different values, none of them null, each with a number from 0 on."""

    count: int

    @abstractmethod
    def numbers(self, column: pa.Array) -> pa.Array:
        """Return the number of each value; null where it is none of them."""


class _Hashed(_Values):
    def __init__(self, distinct: pa.Array) -> None:
        self.count, self._distinct = len(distinct), distinct

    def numbers(self, column: pa.Array) -> pa.Array:
        import pyarrow.compute as pc

        return pc.index_in(column, value_set=self._distinct)


class _Close(_Values):
    """Whole numbers that lie close together."""

    def __init__(self, distinct: pa.Array, low: int, high: int) -> None:
        import pyarrow as pa
        import pyarrow.compute as pc

        self.count, self._low, self._high = len(distinct), low, high
        places = pc.subtract(distinct, pa.scalar(low, distinct.type)).cast(pa.int64())
        numbers = pa.arange(0, len(distinct), 1).cast(pa.int32())
        self._numbers = pc.scatter(numbers, places, max_index=high - low)

    def numbers(self, column: pa.Array) -> pa.Array:
        import pyarrow as pa
        import pyarrow.compute as pc

        low, high = (pa.scalar(v, column.type) for v in (self._low, self._high))
        inside = pc.and_(pc.greater_equal(column, low), pc.less_equal(column, high))
        nothing: Any = pa.scalar(None, column.type)
        return self._numbers.take(pc.subtract(pc.if_else(inside, column, nothing), low))


class _Sorted(_Values):
    def __init__(self, distinct: pa.Array) -> None:
        import pyarrow.compute as pc

        self.count = len(distinct)
        self._sorted = distinct.take(pc.sort_indices(distinct))

    def numbers(self, column: pa.Array) -> pa.Array:
        import pyarrow as pa
        import pyarrow.compute as pc

        nothing: Any = pa.scalar(None, pa.uint64())
        places = pc.search_sorted(self._sorted, column)
        places = pc.if_else(pc.less(places, pa.scalar(self.count, pa.uint64())), places, nothing)
        same = pc.equal(self._sorted.take(places), column)
        return pc.if_else(same, places, nothing).cast(pa.int32())


def _values(column: pa.Array) -> _Values:
    import pyarrow as pa
    import pyarrow.compute as pc

    distinct = pc.unique(column.drop_null())
    if len(distinct) and pa.types.is_integer(column.type):
        ends = pc.min_max(distinct).as_py()
        if ends["max"] - ends["min"] < SPREAD_MAX * max(len(distinct), 1 << 10):
            return _Close(distinct, ends["min"], ends["max"])
    t = pa.types
    searched = t.is_integer(column.type) or t.is_string(column.type) or t.is_temporal(column.type)
    return _Sorted(distinct) if searched and len(distinct) > HASHED_MAX else _Hashed(distinct)


__all__ = ["KeyIndex", "Match", "as_key", "shared_type"]
