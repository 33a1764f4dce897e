"""What deduplication remembers, in tables of DuckDB's: exact, and on disk where memory does not hold it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from dataflare.component.processor import SEGMENTED
from dataflare.expression.fit import fit
from dataflare.expression.session import INPUT, Session, select
from dataflare.expression.streaming import Incoming, rows_of, streamed
from dataflare.processors.held import HeldRows, held_name, told_by
from dataflare.processors.ordering import NUMBER, numbered, with_numbers

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import pyarrow as pa

    from dataflare.component import StageContext

_SEEN, _FRESH, _HELD, _N, _AT, _FAR = "__seen", "__fresh", "held", "__n", "__at", "__far"
_HELD_SHARE = 8
"""The part of its memory that a task may fill with rows that wait."""
ROUNDS_MAX = 8
"""Rows of a batch that are far from those before of their key, but near to each other, are told apart in rounds."""
FORGET_ROWS = 1 << 16
MERGE_ROWS = 1 << 18


class SeenKeys:
    """The keys of rows that were let through; with a `width`, where they stood, as long as that matters.

    A row is new if no row of its key was let through, or none nearer to it than `width`. Rows that lie `width` behind
    the farthest one that came up to then do not count any more, whether they are still in the table or not. What is
    remembered stands in a log, too, from which it is in a checkpoint once.
    """

    def __init__(self, schema: pa.Schema, keys: Sequence[str], width: int | None, context: StageContext) -> None:
        """Remember nothing yet."""
        import pyarrow as pa

        self._keys, self._width, self._context = list(keys), width, context
        self.state_keys = [held_name(k) for k in self._keys]
        fields = [pa.field(k, schema.field(name).type) for k, name in zip(self.state_keys, self._keys, strict=True)]
        at = [pa.field(_AT, pa.int64())] if width is not None else []
        self._state = pa.schema([*fields, *at])
        self._whole = self._keys == schema.names
        self._log = _held(self._state, self.state_keys, context, whole=self._whole)
        self._session = Session(context.budget)
        self._session.register(self._state.empty_table(), _FRESH)
        self._session.execute(f"create or replace temp table {_SEEN} as select * from {_FRESH}")  # noqa: S608
        same = " and ".join(f"s.{k} is not distinct from i.{k}" for k in self.state_keys)
        near = f" and abs(s.{_AT} - i.{_AT}) < {width} and s.{_AT} > i.{_FAR} - {width}" if width is not None else ""
        firsts = [f"min(i.{_N}) as {_N}", *(f"i.{k}" for k in self.state_keys)]
        firsts += [f"arg_min(i.{_AT}, i.{_N}) as {_AT}"] if width is not None else []
        by = ", ".join(f"i.{k}" for k in self.state_keys)
        self._left = select(["i.*"], f"{INPUT} as i anti join {_SEEN} as s on {same}{near}", f"order by i.{_N}")
        self._firsts = select(firsts, f"({self._left}) as i", f"group by {by} order by 1")
        self._rows = self._fresh_rows = 0
        self._far: int | None = None

    def fresh(self, rows: pa.Table, times: pa.Array | pa.ChunkedArray | None) -> pa.Array:
        """Return the places of the rows that are new, in order, and remember them.

        `times` is where each row stands; None: where a width is a number of rows, they stand one behind the other.
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        places = pa.arange(0, rows.num_rows, 1)
        columns, names = [places, *(rows[k] for k in self._keys)], [_N, *self._state.names]
        if self._width is not None:
            at = times if times is not None else pc.add(places, pa.scalar(self._rows, pa.int64()))
            far = pc.cumulative_max(at, start=self._far)
            self._far = far[-1].as_py()
            columns, names = [*columns, at, far], [*names, _FAR]
        self._rows += rows.num_rows
        left = pa.Table.from_arrays(columns, names=names)
        kept = []
        for _ in range(1 if self._width is None else ROUNDS_MAX):
            found = self._asked(left, self._firsts)
            kept.append(found[_N])
            self._remember(found)
            if self._width is None or found.num_rows == left.num_rows:
                break
            others = left.filter(pc.invert(pc.is_in(left[_N], value_set=found[_N].combine_chunks())))
            left = self._asked(others, self._left)
            if not left.num_rows:
                break
        else:
            kept.append(self._one_by_one(left))
        self._forget()
        found_places = pa.chunked_array([c for k in kept for c in k.chunks], pa.int64()).combine_chunks()
        return found_places.take(pc.sort_indices(found_places))

    def state(self) -> dict[int, bytes]:
        """Return what is remembered, in segments, and beside it how far rows have come."""
        self._forget(now=True)
        if not self._rows:
            return {}
        return _told({"rows": self._rows, "far": self._far, _SEEN: self._log.told()})

    def segments(self) -> list[str]:
        """Return the names of the segments that the state refers to."""
        return self._log.segments()

    def restore(self, state: Mapping[int, bytes]) -> None:
        """Take back what was remembered, perhaps by several."""
        for told in told_by(state):
            if told["far"] is not None:
                self._far = max(told["far"], -(1 << 62) if self._far is None else self._far)
            self._rows = max(self._rows, told["rows"])
            self._log.restore(told[_SEEN])
        for rows in self._log.all():
            self._inserted(rows)
        if self._log.adopted:  # it is written anew: keys go to tasks by the columns that there are now
            log = _held(self._state, self.state_keys, self._context, whole=self._whole)
            for rows in self._log.take():
                log.add(rows)
            self._log = log

    def remembered(self) -> int:
        """Return how many rows are remembered."""
        ((count,),) = self._session.execute(f"select count(*) from {_SEEN}")  # noqa: S608 - a name of ours
        return int(count)

    def close(self) -> None:
        """Free the table."""
        self._session.close()
        self._log.close()

    def _asked(self, rows: pa.Table, query: str) -> pa.Table:
        self._session.register(rows)
        return self._session.fetch(query)

    def _remember(self, found: pa.Table) -> None:
        rows = fit(found.select(self._state.names), self._state)
        self._inserted(rows)
        self._log.add(rows)

    def _inserted(self, rows: pa.Table) -> None:
        self._session.register(rows, _FRESH)
        self._session.execute(f"insert into {_SEEN} select * from {_FRESH}")  # noqa: S608 - names of ours
        self._fresh_rows += rows.num_rows

    def _forget(self, *, now: bool = False) -> None:
        """Remove what does not count any more, now and then; begin the log anew when most of it is that."""
        if self._width is None or self._far is None or not (now or self._fresh_rows >= FORGET_ROWS):
            return
        self._fresh_rows = 0
        self._session.execute(f"delete from {_SEEN} where {_AT} <= {self._far - self._width}")  # noqa: S608
        if self._log.rows > FORGET_ROWS + 2 * self.remembered():
            self._log.close()
            for rows in self._session.stream(f"select * from {_SEEN}", FORGET_ROWS):  # noqa: S608 - a name of ours
                self._log.add(fit(rows, self._state))

    def _one_by_one(self, left: pa.Table) -> pa.ChunkedArray:
        """Tell the rest apart row by row: a key that comes again and again in one batch, each time from far."""
        import pyarrow as pa
        import pyarrow.compute as pc

        width = self._width
        assert width is not None
        places: list[int] = []
        known: dict[str, list[int]] = {}
        for row in left.to_pylist():
            place, at, far = row.pop(_N), row.pop(_AT), row.pop(_FAR)
            key = repr(row)
            before = known[key] = [other for other in known.get(key, ()) if other > far - width]
            if all(abs(at - other) >= width for other in before):
                before.append(at)
                places.append(place)
        found = pa.array(places, pa.int64())
        self._remember(left.filter(pc.is_in(left[_N], value_set=found)))
        return pa.chunked_array([found])


class NewestRows:
    """The last row of each key: rows wait as they come, and make way for newer ones whenever they have doubled."""

    def __init__(self, schema: pa.Schema, keys: Sequence[str], context: StageContext) -> None:
        """Hold nothing yet."""
        self._schema, self._context = schema, context
        self._names = [held_name(name) for name in schema.names]
        self._plain = numbered(schema, self._names)
        self._keys = [self._names[schema.get_field_index(k)] for k in keys]
        ordered = select(["*"], "rows", f"order by {', '.join([*self._keys, f'{NUMBER} desc'])}")
        counted = select(["*", "row_number() over () as i"], f"({ordered})")
        new = " or ".join(["i = 1", *(f"lag({k}) over () is distinct from {k}" for k in self._keys)])
        # Windows without an order of their own take rows as they come: they hold none of them.
        marked = select(["*", f"({new}) as f"], f"({counted})")
        self._newest = select([*self._names, NUMBER], f"({marked})", "where f")
        self._whole = list(keys) == schema.names
        self._rows = _held(self._plain, self._keys, context, whole=self._whole)
        self._number = self._settled = self._settled_bytes = 0

    def take(self, rows: pa.Table) -> None:
        """Take rows in."""
        for table in with_numbers([rows], self._plain, self._number):
            self._rows.add(table)
        self._number += rows.num_rows
        bytes_max = self._context.budget.memory_bytes_max
        many = self._rows.rows - self._settled > max(MERGE_ROWS, self._settled)
        if many or self._rows.bytes - self._settled_bytes > max(bytes_max, self._settled_bytes):
            self._settle()

    def taken(self) -> Iterator[pa.Table]:
        """Yield the last row of each key, in the order in which they came; hold nothing after that."""
        import pyarrow as pa

        self._settle()
        order = select(["*"], "rows", f"order by {NUMBER}")
        for table in self._asked(order) if self._rows.rows else ():
            yield pa.Table.from_arrays(table.columns[:-1], schema=self._schema)
        self.close()

    def state(self) -> dict[int, bytes]:
        """Return the rows, in segments."""
        return _told({"number": self._number, _HELD: self._rows.told()}) if self._rows.rows else {}

    def segments(self) -> list[str]:
        """Return the names of the segments that the state refers to."""
        return self._rows.segments()

    def restore(self, state: Mapping[int, bytes]) -> None:
        """Take rows back, perhaps of several."""
        for told in told_by(state):
            self._number = max(self._number, told["number"])
            self._rows.restore(told[_HELD])
        self._settled, self._settled_bytes = self._rows.rows, self._rows.bytes

    def close(self) -> None:
        """Forget everything."""
        self._rows.close()
        self._settled = self._settled_bytes = 0

    def _settle(self) -> None:
        """Drop the rows that are not the last of their key."""
        if not self._rows.rows:
            return
        kept = _held(self._plain, self._keys, self._context, whole=self._whole)
        for table in self._asked(self._newest):
            kept.add(table)
        self._rows.close()
        self._rows, self._settled, self._settled_bytes = kept, kept.rows, kept.bytes

    def _asked(self, sql: str) -> Iterator[pa.Table]:
        held = self._rows
        incoming = {"rows": Incoming(self._plain, held.all)}
        return streamed(self._context.budget, incoming, sql, self._plain, rows_of(held.rows, held.bytes))


def _held(schema: pa.Schema, keys: Sequence[str], context: StageContext, *, whole: bool) -> HeldRows:
    return HeldRows(schema, context.budget.memory_bytes_max // _HELD_SHARE, context, keys, whole=whole)


def _told(told: Mapping[str, Any]) -> dict[int, bytes]:
    return {SEGMENTED: json.dumps(told).encode()}


__all__ = ["NewestRows", "SeenKeys"]
