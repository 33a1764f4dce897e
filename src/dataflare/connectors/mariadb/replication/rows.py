"""Rows of changes out of the inserts, updates and deletes of one table."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dataflare.changes import BEFORE, COMMIT_TS, OP, TX, Op, changing
from dataflare.component.bad_rows import converted
from dataflare.connectors.mariadb.replication.places import malformed
from dataflare.connectors.mariadb.replication.table_maps import Reading
from dataflare.connectors.mariadb.replication.values import Wanted, decoded
from dataflare.connectors.mariadb.replication.walking import PADDING, Spans, walk
from dataflare.errors import DataError
from dataflare.sql.misfits import Misfit
from dataflare.sql.spans import gathered, hex_texts

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from dataflare.connectors.mariadb.replication.table_maps import TableMap
    from dataflare.connectors.mariadb.replication.values import Server
    from dataflare.schema import Schema
    from dataflare.sql.spans import Bytes, Flags, Integers

WRITTEN, UPDATED, DELETED = 23, 24, 25
COMPRESSED = 143
"""The kinds of events whose rows are compressed are so much greater."""
_INSERT, _UPDATE, _DELETE = range(3)
_OPS = pa.array([Op.INSERT.value, Op.UPDATE.value, Op.DELETE.value])
_HEAD = 8
"""Before the rows of an event: the number of the table, and flags."""
_FULL = (
    "set global binlog_row_image = 'FULL', and in no session another one; what was logged before needs a new reading"
)


@dataclass(frozen=True, slots=True)
class TablePlan:
    """What becomes of a table's changes: `schema` has the columns that are wanted, in order.

    `kinds` are their hidden types, where they have one. `before` asks for `_before`. `zero_is_null`: days that no
    calendar has become null. `aside`: a value that does not fit is told as a `Misfit`, not raised. `emptied`:
    null stands for one that is not of the key; it is told of their column, its type and their number.
    """

    stream: str
    key: tuple[str, ...]
    schema: Schema
    kinds: Mapping[str, str] = field(default_factory=dict)
    before: bool = False
    zero_is_null: bool = False
    aside: bool = False
    emptied: Callable[[str, str, int], None] | None = None


@dataclass(frozen=True, slots=True)
class RowsEvent:
    """Rows of one kind: by image the columns that it has, and the bytes of the rows.

    `number` is that of the transaction, `when` its second.
    """

    kind: int
    present: tuple[tuple[int, ...], ...]
    data: bytes
    number: int
    when: int


@dataclass(frozen=True, slots=True)
class Changes:
    """Rows of changes; `numbers` are those of their transactions. `last`: how many rows of the last one came so far.

    `misfits` are rows by their number that do not fit: such values are null in `rows`, in the key as well. A delete is
    one only by its key; of what else it tells, and of `_before`, nothing is left where it does not fit.
    """

    rows: pa.Table
    numbers: Integers
    last: tuple[int, int]
    misfits: Mapping[int, Misfit] = field(default_factory=dict)


def read_rows(kind: int, body: bytes, number: int, when: int) -> RowsEvent:
    """Read an event of rows."""
    reading = Reading(body, _HEAD)
    count = reading.packed()
    plain = kind - COMPRESSED if kind > COMPRESSED else kind
    images = 2 if plain == UPDATED else 1
    present = tuple(_numbers(reading.raw((count + 7) // 8), count) for _ in range(images))
    data = body[reading.at :]
    return RowsEvent(plain, present, inflated(data) if kind > COMPRESSED else data, number, when)


def inflated(data: bytes) -> bytes:
    """Return what was compressed: behind a byte that says how long the length is, and the length."""
    try:
        return zlib.decompress(data[1 + (data[0] & 7) :])
    except (zlib.error, IndexError):
        raise malformed("what is compressed cannot be read") from None


@lru_cache(maxsize=1024)
def _numbers(bitmap: bytes, count: int) -> tuple[int, ...]:
    return tuple(n for n in range(count) if bitmap[n >> 3] >> (n & 7) & 1)


@dataclass(frozen=True, slots=True)
class _Images:
    """The values of all rows, by column, before and after; `lanes`: the event of each row, `kinds`: what happened."""

    octets: Bytes
    lanes: Integers
    kinds: Integers
    old: dict[int, Spans]
    new: dict[int, Spans]


class Table:
    """A table as the log describes it, which is planned; makes rows of its changes, in order, once they are taken."""

    def __init__(self, described: TableMap, plan: TablePlan, server: Server) -> None:
        """Look for the columns; those that the log does not have at this place are null."""
        self.described, self.plan, self._server = described, plan, server
        at = {c.name: n for n, c in enumerate(described.columns)}
        self._at = [at.get(c.name) for c in plan.schema]
        self._key = [at[k] for k in plan.key if k in at]
        self._wanted = [Wanted(c.name, c.type, plan.kinds.get(c.name, ""), plan.zero_is_null) for c in plan.schema]
        self._needed = {n for n in (*self._at, *self._key) if n is not None}
        self._schema = changing(plan.schema, plan.key, before=plan.before).to_arrow()

    def rows(self, events: Sequence[RowsEvent], passed: tuple[int, int], before: tuple[int, int]) -> Changes:
        """Return the changes of some events.

        `before`: a transaction, and how many rows of it came before these events; `passed`: one, and how many of its
        rows are to be left out, as are those of all transactions before it. A change of the key gives two rows.
        """
        images = self._images(events)
        numbers = np.array([e.number for e in events], np.int64)[images.lanes]
        places = _places(numbers, before)
        last = (int(numbers[-1]), int(places[-1]) + 1) if len(numbers) else before
        kept = (numbers > passed[0]) | ((numbers == passed[0]) & (places >= passed[1]))
        chosen = np.flatnonzero(kept)
        moved = self._moved(images)[chosen]
        origin, ops = np.arange(len(chosen)), images.kinds[chosen]
        if moved.any():
            origin = np.repeat(origin, 1 + moved)
            ops = ops[origin]
            first = np.flatnonzero(moved[origin] & np.diff(origin, prepend=-1).astype(bool))
            ops[first], ops[first + 1] = _DELETE, _INSERT
        rows = chosen[origin]
        when = np.array([e.when for e in events], np.int64)[images.lanes[rows]]
        spans = [None if at is None else _composed(images, at, rows, ops) for at in self._at]
        bad = [list[int]() for _ in spans]
        arrays = [self._values(images, n, span, len(rows), bad[n]) for n, span in enumerate(spans)]
        arrays += [_OPS.take(pa.array(ops)), _times(when), hex_texts(numbers[rows])]
        if self.plan.before:
            arrays.append(self._before(images, rows, ops))
        found = pa.Table.from_arrays(arrays, schema=self._schema)
        misfits = {}
        for n, why in sorted(self._reasons(bad, ops).items()):
            point = (int(numbers[rows[n]]), int(places[rows[n]]) + 1)
            misfits[n] = Misfit(point, why, _told(found, n) | self._texts(images, spans, n))
        return Changes(found, numbers[rows], last, misfits)

    def _images(self, events: Sequence[RowsEvent]) -> _Images:
        """Walk the events; those that look alike side by side."""
        octets = np.frombuffer(b"".join([*(e.data for e in events), PADDING]), np.uint8)
        ends = np.cumsum([len(e.data) for e in events])
        starts = ends - np.array([len(e.data) for e in events])
        alike: dict[tuple[int, tuple[tuple[int, ...], ...]], list[int]] = {}
        for number, event in enumerate(events):
            alike.setdefault((event.kind, event.present), []).append(number)
        walked = []
        for (kind, present), chosen_events in alike.items():
            self._refuse_holes(present)
            chosen = np.array(chosen_events)
            found = walk(octets, starts[chosen], ends[chosen], self.described.columns, present)
            walked.append((kind, chosen[found.lanes], found.images))
        lanes_of_all = np.concatenate([lanes for _, lanes, _ in walked])
        order = np.argsort(lanes_of_all, kind="stable")
        spots = np.empty_like(order)
        spots[order] = np.arange(len(order))
        old, new = self._blank(len(order)), self._blank(len(order))
        kinds, begin = np.empty(len(order), np.int64), 0
        for kind, lanes, images in walked:
            at = spots[begin : begin + len(lanes)]
            begin += len(lanes)
            kinds[at] = kind - WRITTEN
            for image, target in zip(images, (new,) if kind == WRITTEN else (old, new), strict=False):
                for column in self._needed:
                    spans = image[column]
                    target[column].starts[at], target[column].ends[at] = spans.starts, spans.ends
                    target[column].valid[at] = spans.valid
        return _Images(octets, lanes_of_all[order], kinds, old, new)

    def _blank(self, count: int) -> dict[int, Spans]:
        return {
            c: Spans(np.zeros(count, np.int64), np.zeros(count, np.int64), np.zeros(count, bool)) for c in self._needed
        }

    def _refuse_holes(self, present: tuple[tuple[int, ...], ...]) -> None:
        """Refuse rows of which not all is told (invariant 6)."""
        for numbers in present:
            lost = sorted(self._needed - set(numbers))
            if lost:
                raise DataError(
                    f"{self.described}: the log does not tell {self.described.columns[lost[0]].name} of a changed row",
                    hint=_FULL,
                )

    def _moved(self, images: _Images) -> Flags:
        """Tell which changes change the key."""
        moved = np.zeros(len(images.kinds), bool)
        both = np.flatnonzero(images.kinds == _UPDATE)
        for column in self._key if len(both) else ():
            old, new = images.old[column].take(both), images.new[column].take(both)
            values = [gathered(pa.py_buffer(images.octets), s.starts, s.ends, s.valid) for s in (old, new)]
            differs = pc.fill_null(pc.not_equal(*values), fill_value=False)
            moved[both] |= differs.to_numpy(zero_copy_only=False) | (old.valid != new.valid)
        return moved

    def _values(self, images: _Images, number: int, spans: Spans | None, count: int, bad: list[int]) -> pa.Array:
        """Return the values of a column; `bad` gets the numbers of those that do not fit, where they are put aside."""
        at, wanted, kind = self._at[number], self._wanted[number], self._schema.field(number).type
        if at is None or spans is None:
            return pa.nulls(count, kind)
        column, name = self.described.columns[at], f"{self.described}.{wanted.name}"
        if wanted.name in self.plan.key and not spans.valid.all():
            raise DataError(
                f"{self.described}: a row has no {wanted.name}, which is of its key",
                hint="let its key be columns that are never null",
            )
        told = replace(wanted, name=name)
        empties = self.plan.emptied if wanted.name not in self.plan.key else None
        if not self.plan.aside and empties is None:
            return decoded(images.octets, spans, column, told, self._server)

        def some(rows: Integers) -> pa.Array:
            return decoded(images.octets, spans.take(rows), column, told, self._server)

        found: list[int] = []
        values = converted(np.arange(count), kind, some, found).combine_chunks()
        if empties is not None:
            empties(wanted.name, wanted.type, len(found))
        else:
            bad += found
        return values

    def _reasons(self, bad: Sequence[list[int]], ops: Integers) -> dict[int, str]:
        """Return why rows do not fit; of a deleted one only its key must."""
        reasons: dict[int, str] = {}
        for column, numbers in zip(self.plan.schema, bad, strict=True):
            for n in numbers:
                if ops[n] != _DELETE or column.name in self.plan.key:
                    reasons.setdefault(n, f"column {column.name!r} is not {column.type}")
        return reasons

    def _texts(self, images: _Images, spans: Sequence[Spans | None], row: int) -> dict[str, str | None]:
        """Return the values of a row as texts, the digits of bytes where they are none."""
        found: dict[str, str | None] = {}
        for at, wanted, span in zip(self._at, self._wanted, spans, strict=True):
            if at is None or span is None:
                continue
            one, told = span.take(np.array([row])), replace(wanted, type="string", zero_is_null=False)
            try:
                value = decoded(images.octets, one, self.described.columns[at], told, self._server)[0].as_py()
            except DataError:
                value = images.octets[one.starts[0] : one.ends[0]].tobytes().hex()
            found[wanted.name] = value
        return found

    def _before(self, images: _Images, rows: Integers, ops: Integers) -> pa.Array:
        """Return the former rows."""
        kind = self._schema.field(BEFORE).type
        has = (ops != _INSERT) & (images.kinds[rows] != _INSERT)
        if not has.any():
            return pa.nulls(len(rows), kind)
        old, bad = rows[has], list[int]()
        spans = [None if at is None else images.old[at].take(old) for at in self._at]
        values = [self._values(images, n, span, len(old), bad) for n, span in enumerate(spans)]
        lost = pa.array(np.isin(np.arange(len(old)), bad)) if bad else None
        packed = pa.StructArray.from_arrays(values, fields=list(kind), mask=lost)
        return packed.take(pa.array(np.cumsum(has) - 1, mask=~has))


def _composed(images: _Images, at: int, rows: Integers, ops: Integers) -> Spans:
    """Return the values of a column: those behind a change, of a delete those before it."""
    old, new, deleted = images.old[at].take(rows), images.new[at].take(rows), ops == _DELETE
    if not deleted.any():
        return new
    return Spans(
        np.where(deleted, old.starts, new.starts),
        np.where(deleted, old.ends, new.ends),
        np.where(deleted, old.valid, new.valid),
    )


def _told(rows: pa.Table, row: int) -> dict[str, Any]:
    return {name: rows.column(name)[row].as_py() for name in (OP, TX)} | {
        COMMIT_TS: rows.column(COMMIT_TS)[row].as_py().isoformat()
    }


def _places(numbers: Integers, before: tuple[int, int]) -> Integers:
    """Return the place of each row in its transaction, counted from 0."""
    rows = np.arange(len(numbers))
    first = np.concatenate([[True], np.diff(numbers) != 0]) if len(numbers) else np.zeros(0, bool)
    begins = np.maximum.accumulate(np.where(first, rows, 0))
    return rows - begins + np.where(numbers == before[0], before[1], 0)


def _times(seconds: Integers) -> pa.Array:
    return pa.array(seconds * 1_000_000).cast(pa.timestamp("us", "UTC"))


__all__ = ["COMPRESSED", "DELETED", "UPDATED", "WRITTEN", "Changes", "RowsEvent", "Table", "TablePlan", "inflated"]
