"""Rows of changes out of the inserts, updates and deletes of one table."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dataflare.changes import BEFORE, COMMIT_TS, OP, TX, UNCHANGED, Op, changing
from dataflare.component.bad_rows import converted
from dataflare.connectors.postgres.replication.messages import Point, malformed
from dataflare.connectors.postgres.replication.parsing import parsed
from dataflare.connectors.postgres.replication.spans import NULL, SAME, TEXT, Flags, Span, walk
from dataflare.errors import DataError, WorkflowError
from dataflare.sql.misfits import Misfit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dataflare.connectors.postgres.replication.frames import Bytes, Frames, Integers
    from dataflare.connectors.postgres.replication.messages import Relation, TablePlan

INSERT, UPDATE, DELETE = b"IUD"
NEW, OLD_KEY, OLD_ROW = b"NKO"
_KINDS = {16: "bool", 869: "inet", 1000: "_bool", 1041: "_inet"}
"""Types of which PostgreSQL makes other texts where they are cast to text than where they are shown."""
_INSERTED, _UPDATED, _DELETED = range(3)
_OPS = pa.array([Op.INSERT.value, Op.UPDATE.value, Op.DELETE.value])
_BY_KIND = np.full(256, _DELETED, np.int8)
_BY_KIND[[INSERT, UPDATE]] = _INSERTED, _UPDATED
_CURE = "alter table ... replica identity full tells them from then on"


@dataclass(frozen=True, slots=True)
class Commits:
    """Of each message of a run: the LSN of the commit of its transaction, its time, its number among the changes."""

    lsns: Integers
    times: Integers
    numbers: Integers


@dataclass(frozen=True, slots=True)
class _Tuples:
    """The tuples of messages: which have a former one, and of which kind; the columns of both, for those that have it.

    `new_row` and `old_row` are their rows in those columns.
    """

    marks: Bytes
    has_old: Flags
    new: list[Span]
    old: list[Span]
    new_row: Integers
    old_row: Integers


class Table:
    """A relation that is planned; makes rows of its changes."""

    def __init__(self, relation: Relation, plan: TablePlan) -> None:
        """Look for the columns; raise WorkflowError where one is missing."""
        self.relation, self.plan = relation, plan
        at = {c.name: n for n, c in enumerate(relation.columns)}
        at |= {now: at.pop(was) for was, now in plan.former.items() if was in at and now not in at}
        lost = [c.name for c in plan.schema if c.name not in at and c.name not in plan.absent]
        if lost:
            raise WorkflowError(
                f"{relation} has no column {lost[0]} at this place of the log",
                hint="was it dropped, renamed or left out of the publication? read the table anew",
            )
        self._at = [at.get(c.name) for c in plan.schema]
        self._key = [at[k] for k in plan.key if k in at]
        self._tells_key = bool(plan.key) and all(relation.columns[n].key for n in self._key)
        whole = changing(plan.schema, plan.key, unchanged=plan.unchanged, before=plan.before)
        self._schema = whole.to_arrow()

    def rows(
        self, frames: Frames, chosen: Integers, head: int, commits: Commits
    ) -> tuple[pa.Table, Integers, dict[int, Misfit]]:
        """Return the changes of the chosen messages as rows, of each row its message, and the rows that do not fit.

        `head` bytes stand between the kind of a message and its relation. A change of the key gives two rows.
        """
        kinds = frames.kinds[chosen]
        tuples = self._tuples(frames, chosen, kinds, head)
        moved = self._moved(frames, tuples, kinds)
        origin, ops = np.arange(len(chosen)), _BY_KIND[kinds]
        if moved.any():
            origin = np.repeat(origin, 1 + moved)
            ops = ops[origin]
            first = np.flatnonzero(moved[origin] & np.diff(origin, prepend=-1).astype(bool))
            ops[first], ops[first + 1] = _DELETED, _INSERTED
        spans = [None if n is None else self._composed(tuples, n, origin, ops == _DELETED) for n in self._at]
        bad = [list[int]() for _ in spans]
        arrays = [self._values(frames, n, span, len(origin), bad[n]) for n, span in enumerate(spans)]
        arrays += [_OPS.take(pa.array(ops)), _times(commits.times[chosen[origin]]), _hex(commits.lsns[chosen[origin]])]
        left_out = [(n, s.kinds == SAME) for n, s in enumerate(spans) if s is not None and (s.kinds == SAME).any()]
        self._refuse_unknown([n for n, _ in left_out])
        if self.plan.unchanged:
            arrays.append(self._unchanged([flags for _, flags in left_out], [n for n, _ in left_out], len(origin)))
        if self.plan.before:
            arrays.append(self._before(frames, tuples, origin, ops))
        misfits = self._misfits(frames, bad, spans, ops) if any(bad) else {}
        found = {n: self._told(commits, int(chosen[origin[n]]), int(ops[n]), *why) for n, why in misfits.items()}
        return pa.Table.from_arrays(arrays, schema=self._schema), chosen[origin], found

    def _tuples(self, frames: Frames, chosen: Integers, kinds: Bytes, head: int) -> _Tuples:
        octets, count = frames.octets, len(self.relation.columns)
        at = frames.starts[chosen] + 5 + head
        marks = octets[at]
        has_old, has_new = marks != NEW, kinds != DELETE
        at, ends = at + 1, frames.ends[chosen]
        old: list[Span] = []
        if has_old.any():
            known = (marks == OLD_KEY) | (marks == OLD_ROW)
            if not (known | ~has_old).all() or (has_old & (kinds == INSERT)).any():
                raise malformed("a row has a former one of an unknown kind")
            old, end = walk(frames, at[has_old], count)
            at[has_old] = end
            if (end > ends[has_old]).any() or (octets[end[has_new[has_old]]] != NEW).any():
                raise malformed("the former row of an update is longer than its message")
            at[has_old & has_new] += 1
        if not (has_old | has_new).all():
            raise malformed("a deleted row is not told")
        new, at[has_new] = walk(frames, at[has_new], count)
        if not (at == ends).all():
            raise malformed("a row has another length than its message")
        return _Tuples(marks, has_old, new, old, np.cumsum(has_new) - 1, np.cumsum(has_old) - 1)

    def _moved(self, frames: Frames, tuples: _Tuples, kinds: Bytes) -> Flags:
        """Tell which messages change the key."""
        moved = np.zeros(len(kinds), bool)
        changes = kinds != INSERT
        if self.plan.key and changes.any() and not self._tells_key:
            raise DataError(
                f"{self.relation}: changed and deleted rows come without their key {', '.join(self.plan.key)}",
                hint="alter table ... replica identity full, or let the key be that of its replica identity; "
                "changes that were logged before need the table to be read anew",
            )
        both = np.flatnonzero(tuples.has_old & (kinds == UPDATE))
        for column in self._key if len(both) else ():
            new, old = tuples.new[column].take(tuples.new_row[both]), tuples.old[column].take(tuples.old_row[both])
            differs = pc.fill_null(pc.not_equal(new.gathered(frames), old.gathered(frames)), fill_value=False)
            moved[both] |= differs.to_numpy(zero_copy_only=False) & (new.kinds == TEXT)
            moved[both] |= (new.kinds == NULL) != (old.kinds == NULL)
        return moved

    def _composed(self, tuples: _Tuples, column: int, origin: Integers, deleted: Flags) -> Span:
        """Return the values of a column by row of the result: what is after the change, or before where it deletes."""
        if not tuples.old:
            return tuples.new[column]
        rows = len(origin)
        found = Span(np.full(rows, NULL, np.uint8), np.zeros(rows, np.int64), np.zeros(rows, np.int64))
        found = found.put(deleted, tuples.old[column].take(tuples.old_row[origin[deleted]]))
        found = found.put(~deleted, tuples.new[column].take(tuples.new_row[origin[~deleted]]))
        tells = tuples.marks != NEW if self.relation.columns[column].key else tuples.marks == OLD_ROW
        filled = (found.kinds == SAME) & tells[origin]
        if filled.any():
            found = found.put(filled, tuples.old[column].take(tuples.old_row[origin[filled]]))
        return found

    def _values(self, frames: Frames, number: int, span: Span | None, count: int, bad: list[int]) -> pa.Array:
        """Return the values of a column, null for one that does not fit, where that may be.

        It is `bad` where the whole row is put aside for it.
        """
        column = self.plan.schema.columns[number]
        if span is None:
            return pa.nulls(count, self._schema.field(number).type)
        at = self._at[number]
        assert at is not None
        kind = _KINDS.get(self.relation.columns[at].type) or self.plan.kinds.get(column.name, "")
        if column.name in self.plan.key and ((span.kinds == NULL).any()):
            raise DataError(
                f"{self.relation}: a row has no {column.name}, which is of its key",
                hint="let its key be columns that are never null",
            )
        parse = partial(parsed, kind=column.type, source=kind, name=f"{self.relation}.{column.name}")
        texts = span.gathered(frames)
        empties = self.plan.emptied if column.name not in self.plan.key else None
        if not self.plan.aside and empties is None:
            return parse(texts)
        found: list[int] = []
        values = converted(texts, self._schema.field(number).type, parse, found).combine_chunks()
        if empties is not None:
            empties(column.name, column.type, len(found))
        else:
            bad += found
        return values

    def _misfits(
        self, frames: Frames, bad: Sequence[list[int]], spans: Sequence[Span | None], ops: np.ndarray
    ) -> dict[int, tuple[str, dict[str, Any]]]:
        """Return the reason and the texts of each row that does not fit; of a deleted one only its key must."""
        reasons: dict[int, str] = {}
        for column, numbers in zip(self.plan.schema, bad, strict=True):
            for n in numbers:
                if ops[n] != _DELETED or column.name in self.plan.key:
                    reasons.setdefault(n, f"column {column.name!r} is not {column.type}")
        return {n: (reason, self._texts(frames, spans, n)) for n, reason in sorted(reasons.items())}

    def _texts(self, frames: Frames, spans: Sequence[Span | None], row: int) -> dict[str, Any]:
        named = [(c.name, s) for c, s in zip(self.plan.schema, spans, strict=True) if s is not None]
        found: dict[str, Any] = {
            name: frames.data[s.starts[row] : s.ends[row]].decode("utf-8", "replace") if s.kinds[row] == TEXT else None
            for name, s in named
            if s.kinds[row] != SAME
        }
        unchanged = [name for name, s in named if s.kinds[row] == SAME]
        return {**found, UNCHANGED: unchanged} if unchanged else found

    @staticmethod
    def _told(commits: Commits, message: int, op: int, error: str, row: Mapping[str, Any]) -> Misfit:
        lsn, time = int(commits.lsns[message]), int(commits.times[message])
        when = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=time)
        told = {OP: _OPS[op].as_py(), TX: f"{lsn:016x}", COMMIT_TS: when.isoformat()}
        return Misfit(Point(lsn, int(commits.numbers[message])), error, {**told, **row})

    def _refuse_unknown(self, left_out: Sequence[int]) -> None:
        """Refuse values that were not sent where nothing could say so, or where the key needs them (invariant 6)."""
        names = [self.plan.schema.columns[n].name for n in left_out]
        wrong = [n for n in names if n in self.plan.key or not self.plan.unchanged]
        if wrong:
            raise DataError(f"{self.relation}: unchanged values of {wrong[0]} were not sent", hint=_CURE)

    def _unchanged(self, flags: Sequence[Flags], numbers: Sequence[int], count: int) -> pa.Array:
        """Return the names of the columns that were not sent, by row; null where there are none."""
        kind = pa.list_(pa.string())
        if not flags:
            return pa.nulls(count, kind)
        told = np.stack(flags, axis=1)
        counts, (_, which) = told.sum(axis=1), np.nonzero(told)
        names = pa.array([self.plan.schema.columns[n].name for n in numbers]).take(pa.array(which))
        offsets = np.zeros(count + 1, np.int32)
        np.cumsum(counts, out=offsets[1:])
        return pa.ListArray.from_arrays(pa.array(offsets), names, type=kind, mask=pa.array(counts == 0))

    def _before(self, frames: Frames, tuples: _Tuples, origin: Integers, ops: np.ndarray) -> pa.Array:
        """Return the former rows, where they were sent whole."""
        kind = self._schema.field(BEFORE).type
        has = (tuples.marks == OLD_ROW)[origin] & (ops != _INSERTED)
        if not has.any():
            return pa.nulls(len(origin), kind)
        old = tuples.old_row[origin[has]]
        spans = [None if n is None else tuples.old[n].take(old) for n in self._at]
        bad: list[int] = []
        values = [self._values(frames, n, span, len(old), bad) for n, span in enumerate(spans)]
        lost = pa.array(np.isin(np.arange(len(old)), bad)) if bad else None
        packed = pa.StructArray.from_arrays(values, fields=list(kind), mask=lost)
        return packed.take(pa.array(np.cumsum(has) - 1, mask=~has))


def _times(times: Integers) -> pa.Array:
    return pa.array(times).cast(pa.timestamp("us", "UTC"))


def _hex(lsns: Integers) -> pa.Array:
    """Return LSNs as 16 hexadecimal digits: texts that sort as they do."""
    digits = np.frombuffer(b"0123456789abcdef", np.uint8)
    nibbles = (lsns[:, None] >> np.arange(60, -1, -4)) & 15
    offsets = np.arange(0, 16 * len(lsns) + 1, 16, dtype=np.int32)
    return pa.Array.from_buffers(
        pa.string(), len(lsns), [None, pa.py_buffer(offsets), pa.py_buffer(np.ascontiguousarray(digits[nibbles]))]
    )


__all__ = ["DELETE", "INSERT", "UPDATE", "Commits", "Table"]
