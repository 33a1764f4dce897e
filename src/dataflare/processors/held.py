"""Rows that wait: in memory as far as they may, then in a file that has no name, and in a checkpoint as segments."""

from __future__ import annotations

import json
import re
import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dataflare.component.packed import packed, unpacked
from dataflare.component.processor import SEGMENTED
from dataflare.errors import StateError
from dataflare.expression.fit import fit

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from typing import IO

    import pyarrow as pa

    from dataflare.component import StageContext

PART_BYTES = 8 << 20
"""Rows of so many bytes become one segment."""


_BY_NAME, _BY_PLACE = re.compile(r"h_([0-9a-f]{2})+"), re.compile(r"[ck]\d+")
_MARK = ""
"""The name under which a state tells what its rows mean; nothing holds rows under it."""


def held_name(column: str) -> str:
    """Return a name for a column that needs no quotes in SQL and is the same wherever the column stands."""
    return f"h_{column.encode().hex()}"


@dataclass(slots=True)
class _Part:
    """Some of the rows: in memory, in the file, in a segment of the checkpoint, or in several of them.

    `groups` are the first and the last key group of whoever wrote the segment; of a `cut` one, only the rows of these
    groups count.
    """

    bytes: int
    count: int
    groups: tuple[int, int]
    rows: pa.Table | None = None
    place: tuple[int, int] | None = None
    segment: str = ""
    cut: bool = False

    def told(self) -> dict[str, Any]:
        """Return what a checkpoint says of it."""
        return {
            "segment": self.segment,
            "groups": self.groups,
            "cut": self.cut,
            "rows": self.count,
            "bytes": self.bytes,
        }


class HeldRows:
    """Rows of one schema in the order in which they came.

    As many as `memory_bytes_max` allows are in memory, the others in a file, which is for this user alone and goes away
    with the process, however that ends. A checkpoint has them in segments: each row is written once, and the few behind
    the last full segment again and again until they fill one. With `keys`, rows go to whoever owns their keys after a
    restart; without, to whoever owns the first key group of who held them.
    `everywhere`: all hold the same rows, and each one gets them back.
    """

    def __init__(
        self,
        schema: pa.Schema,
        memory_bytes_max: int,
        context: StageContext,
        keys: Sequence[str] = (),
        *,
        everywhere: bool = False,
        whole: bool = False,
    ) -> None:
        """Hold nothing yet. `whole`: the keys are all columns that there are, so that they may be others in state."""
        self.schema, self._memory_bytes_max, self._context, self._keys = schema, memory_bytes_max, context, keys
        self._everywhere, self._whole = everywhere, whole
        self._part_bytes = min(PART_BYTES, max(1, memory_bytes_max // 2))
        own = context.key_groups
        self._groups = own[0], own[-1]
        self._parts: list[_Part] = []
        self._tail: list[pa.Table] = []
        self._kept_tail: _Part | None = None
        self._tail_bytes = self._bytes = self.bytes = 0
        self._file: IO[bytes] | None = None
        self.spilled_bytes = 0
        self.rows = 0
        self.adopted = False
        """Whether rows were read that were kept under other columns."""

    def add(self, rows: pa.Table) -> None:
        """Take rows in."""
        if not rows.num_rows:
            return
        self._tail.append(rows)
        self._tail_bytes += rows.nbytes
        self._bytes += rows.nbytes
        self.bytes += rows.nbytes
        self.rows += rows.num_rows
        if self._tail_bytes >= self._part_bytes:
            self._parts.append(self._closed())
        if self._bytes > self._memory_bytes_max:
            self._spill()

    def all(self) -> Iterator[pa.Table]:
        """Yield all rows, and go on holding them."""
        for part in self._parts:
            yield from self._rows_of(part)
        yield from self._tail

    def take(self) -> Iterator[pa.Table]:
        """Yield all rows, and hold them no more."""
        yield from self.all()
        self.close()

    def told(self) -> list[dict[str, Any]]:
        """Make segments of all rows that are in none yet, and return what a checkpoint says of them all."""
        segments = self._context.segments
        assert segments is not None, "no state is kept here"
        if self._everywhere and self._context.index:
            return []
        for part in self._parts:
            if not part.segment:
                part.segment = segments.put(self._packed(part))
        tail = self._kept_tail
        if self._tail and (tail is None or tail.count != sum(t.num_rows for t in self._tail)):
            tail = _Part(self._tail_bytes, sum(t.num_rows for t in self._tail), self._groups)
            tail.segment = segments.put(packed(iter(self._tail), self.schema))
        self._kept_tail = tail if self._tail else None
        return [p.told() for p in (*self._parts, self._kept_tail) if p is not None]

    def segments(self) -> list[str]:
        """Return the names of the segments that were told of."""
        return [p.segment for p in (*self._parts, self._kept_tail) if p is not None and p.segment]

    def restore(self, told: Iterable[Mapping[str, Any]]) -> None:
        """Take over from what was told the rows that belong here now; read nothing yet."""
        own = self._groups
        for each in told:
            first, last = each["groups"]
            cut = bool(each["cut"])
            if self._keys:
                mine = max(first, own[0]), min(last, own[1])
                if mine[0] > mine[1]:
                    continue
                cut = cut or mine != (first, last)
            elif self._everywhere or own[0] <= first <= own[1]:
                mine = first, last
            else:
                continue
            self._parts.append(_Part(each["bytes"], each["rows"], mine, segment=each["segment"], cut=cut))
            self.rows += each["rows"]
            self.bytes += each["bytes"]

    def close(self) -> None:
        """Forget everything."""
        if self._file is not None:
            self._file.close()
        self._file = None
        self._parts, self._tail, self._kept_tail = [], [], None
        self._tail_bytes = self._bytes = self.bytes = self.rows = 0

    def _closed(self) -> _Part:
        """Make one part of what came last."""
        import pyarrow as pa

        rows = pa.concat_tables(self._tail).combine_chunks()
        part = _Part(self._tail_bytes, rows.num_rows, self._groups, rows)
        self._tail, self._tail_bytes, self._kept_tail = [], 0, None
        return part

    def _spill(self) -> None:
        """Let memory go of the oldest parts until half of it is free; what no segment has is written to the file."""
        for part in self._parts:
            if self._bytes <= self._memory_bytes_max // 2:
                return
            if part.rows is None:
                continue
            if not part.segment:
                self._file = self._file or tempfile.TemporaryFile()  # noqa: SIM115 - closed by `close`
                data = packed(iter([part.rows]), self.schema)
                part.place = self._file.seek(0, 2), len(data)
                self._file.write(data)
                self.spilled_bytes += len(data)
            part.rows = None
            self._bytes -= part.bytes

    def _packed(self, part: _Part) -> bytes:
        return packed(iter([part.rows]), self.schema) if part.rows is not None else self._written(part)

    def _written(self, part: _Part) -> bytes:
        if part.place is None:
            assert self._context.segments is not None
            return self._context.segments.get(part.segment)
        assert self._file is not None
        self._file.seek(part.place[0])
        return self._file.read(part.place[1])

    def _rows_of(self, part: _Part) -> Iterator[pa.Table]:
        if part.rows is not None:
            yield part.rows
            return
        for written in unpacked(self._written(part)):
            rows = written if written.schema.equals(self.schema) else self._adopted(written)
            yield self._of_groups(rows, part.groups) if part.cut else rows

    def _adopted(self, rows: pa.Table) -> pa.Table:
        """Return rows that were kept under another plan: what has come since is null, what is gone is left out."""
        import pyarrow as pa

        if [(f.name, f.type) for f in rows.schema] == [(f.name, f.type) for f in self.schema]:
            return rows
        self.adopted = True
        former = {**self._context.former}
        former |= {held_name(was): held_name(now) for was, now in former.items()}
        there = set(rows.column_names)
        by_name = any(_BY_NAME.fullmatch(name) for name in self.schema.names)
        if by_name and any(_BY_PLACE.fullmatch(name) for name in there):
            raise StateError(
                "the checkpoint holds rows in the form of an earlier version, which does not tell their columns",
                hint="end the run with the version that began it, or start anew with another runtime.state.path",
            )
        rows = rows.rename_columns([n if former.get(n, n) in there else former[n] for n in rows.column_names])
        self._check_keys(rows)
        for field in self.schema:
            if field.name not in rows.column_names:
                if not field.nullable:
                    raise StateError(
                        f"the checkpoint holds rows of another plan, without {field.name}, which is never null",
                        hint="start anew with another runtime.state.path, or plan it as it was",
                    )
                rows = rows.append_column(field, pa.nulls(rows.num_rows, field.type))
        return fit(rows, self.schema)

    def _check_keys(self, rows: pa.Table) -> None:
        """Raise StateError where rows were told apart by other columns, or have gone to several tasks by others."""
        if set(rows.column_names).issuperset(self._keys):
            return
        if not self._whole:
            raise StateError(
                "the checkpoint holds rows by other keys",
                hint="let the node be as it was, or start anew with another runtime.state.path",
            )
        if self._context.parallelism > 1:
            raise StateError(
                "the checkpoint holds rows by the columns that there were, and they went to several tasks by them",
                hint="run it once with parallelism: 1, name keys, or start anew with another runtime.state.path",
            )

    def _of_groups(self, rows: pa.Table, groups: tuple[int, int]) -> pa.Table:
        import pyarrow as pa
        import pyarrow.compute as pc

        from dataflare.expression.keys import key_groups

        found = key_groups(rows, self._keys)
        first, last = (pa.scalar(g, pa.int32()) for g in groups)
        return rows.filter(pc.and_(pc.greater_equal(found, first), pc.less_equal(found, last)))


def told_state(held: Mapping[str, HeldRows], mark: str = "") -> dict[int, bytes]:
    """Return the state of an instance that holds rows under these names; nothing where it holds none.

    `mark` tells what columns mean that have names of ours: rows are not taken back under another one.
    """
    if not any(h.rows for h in held.values()):
        return {}
    told: dict[str, Any] = {name: h.told() for name, h in held.items()}
    return {SEGMENTED: json.dumps(told | ({_MARK: mark} if mark else {})).encode()}


def told_by(state: Mapping[int, bytes]) -> list[dict[str, Any]]:
    """Return what all instances said of their segments; raise StateError for a state of any other form."""
    if any(group >= 0 for group in state):
        raise StateError(
            "the checkpoint holds rows in the form of an earlier version",
            hint="end the run with the version that began it, or start anew with another runtime.state.path",
        )
    found: list[dict[str, Any]] = json.loads(state.get(SEGMENTED, b"[]"))
    return found


def restore_told(held: Mapping[str, HeldRows], state: Mapping[int, bytes], mark: str = "") -> None:
    """Give rows back to those that hold them, from what all instances said; raise StateError for any other state."""
    for told in told_by(state):
        parts: dict[str, Any] = dict(told)
        if parts.pop(_MARK, mark) != mark:
            raise StateError(
                "the checkpoint holds what other expressions have made of rows",
                hint="let the node be as it was, or start anew with another runtime.state.path",
            )
        for name, segments in parts.items():
            held[name].restore(segments)


__all__ = ["HeldRows", "held_name", "restore_told", "told_by", "told_state"]
