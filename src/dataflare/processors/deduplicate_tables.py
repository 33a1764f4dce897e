"""What deduplication remembers, in tables of DuckDB's: exact, and on disk where memory does not hold it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dataflare.expression.fit import fit
from dataflare.expression.session import INPUT, Session, select
from dataflare.processors.held import by_key_group, packed, unpacked

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pyarrow as pa

    from dataflare.component import Budget

_SEEN, _FRESH, _HELD, _N, _AT, _FAR = "__seen", "__fresh", "__held", "__n", "__at", "__far"
ROUNDS_MAX = 8
"""Rows of a batch that are far from those before of their key, but near to each other, are told apart in rounds."""
FORGET_ROWS = 1 << 16
MERGE_ROWS = 1 << 18


class SeenKeys:
    """The keys of rows that were let through; with a `width`, where they stood, as long as that matters.

    A row is new if no row of its key was let through, or none nearer to it than `width`. Rows that lie `width` behind
    the farthest one that came up to then do not count any more, whether they are still in the table or not.
    """

    def __init__(self, schema: pa.Schema, keys: Sequence[str], width: int | None, budget: Budget) -> None:
        """Remember nothing yet."""
        import pyarrow as pa

        self._keys, self._width = list(keys), width
        self.state_keys = [f"k{n}" for n in range(len(self._keys))]
        fields = [pa.field(k, schema.field(name).type) for k, name in zip(self.state_keys, self._keys, strict=True)]
        at = [pa.field(_AT, pa.int64())] if width is not None else []
        self._state = pa.schema([*fields, *at])
        self._session = Session(budget)
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

    def state(self) -> pa.Table:
        """Return what is remembered, and beside it how far rows have come."""
        self._forget(now=True)
        rows = fit(self._session.fetch(f"select * from {_SEEN}"), self._state)  # noqa: S608 - a name of ours
        far = "" if self._far is None else str(self._far)
        return rows.replace_schema_metadata({"rows": str(self._rows), "far": far})

    def restore(self, rows: pa.Table) -> None:
        """Take back what was remembered, perhaps by several."""
        told = rows.schema.metadata or {}
        if told.get(b"far"):
            self._far = max(int(told[b"far"]), -(1 << 62) if self._far is None else self._far)
        self._rows = max(self._rows, int(told.get(b"rows", b"0")))
        self._remember(rows)

    def close(self) -> None:
        """Free the table."""
        self._session.close()

    def _asked(self, rows: pa.Table, query: str) -> pa.Table:
        self._session.register(rows)
        return self._session.fetch(query)

    def _remember(self, found: pa.Table) -> None:
        self._session.register(found.select(self._state.names), _FRESH)
        self._session.execute(f"insert into {_SEEN} select * from {_FRESH}")  # noqa: S608 - names of ours
        self._fresh_rows += found.num_rows

    def _forget(self, *, now: bool = False) -> None:
        """Remove what does not count any more, now and then."""
        if self._width is not None and self._far is not None and (now or self._fresh_rows >= FORGET_ROWS):
            self._fresh_rows = 0
            self._session.execute(f"delete from {_SEEN} where {_AT} <= {self._far - self._width}")  # noqa: S608

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
    """The last row of each key."""

    def __init__(self, schema: pa.Schema, keys: Sequence[str], budget: Budget) -> None:
        """Hold nothing yet."""
        import pyarrow as pa

        self._schema = schema
        names = [f"c{n}" for n in range(len(schema))]
        self.state_keys = [names[schema.get_field_index(k)] for k in keys]
        plain = [field.with_name(name) for field, name in zip(schema, names, strict=True)]
        self._state = pa.schema([*plain, pa.field(_N, pa.int64())])
        by = ", ".join(self.state_keys)
        self._merge = (
            f"create or replace temp table {_HELD} as select * from {_HELD} "  # noqa: S608 - names of ours
            f"qualify row_number() over (partition by {by} order by {_N} desc) = 1"
        )
        self._session = Session(budget)
        self._rows = self._held = self._fresh = 0
        self.clear()

    def take(self, rows: pa.Table) -> None:
        """Take rows in."""
        import pyarrow as pa
        import pyarrow.compute as pc

        places = pc.add(pa.arange(0, rows.num_rows, 1), pa.scalar(self._rows, pa.int64()))
        self._rows += rows.num_rows
        self._insert(pa.Table.from_arrays([*rows.columns, places], schema=self._state))
        if self._fresh > max(MERGE_ROWS, self._held):
            self._merged()

    def all(self) -> pa.Table:
        """Return the last row of each key, in the order in which they came."""
        import pyarrow as pa

        self._merged()
        rows = self._session.fetch(f"select * from {_HELD} order by {_N}")  # noqa: S608 - names of ours
        return pa.Table.from_arrays(fit(rows, self._state).columns[:-1], schema=self._schema)

    def state(self) -> pa.Table:
        """Return the rows with their numbers."""
        self._merged()
        return fit(self._session.fetch(f"select * from {_HELD}"), self._state)  # noqa: S608 - a name of ours

    def restore(self, rows: pa.Table) -> None:
        """Take rows back."""
        import pyarrow.compute as pc

        self._insert(rows)
        self._rows = max(self._rows, (pc.max(rows[_N]).as_py() or 0) + 1)

    def clear(self) -> None:
        """Forget everything."""
        self._session.register(self._state.empty_table(), _FRESH)
        self._session.execute(f"create or replace temp table {_HELD} as select * from {_FRESH}")  # noqa: S608

    def close(self) -> None:
        """Free the table."""
        self._session.close()

    def _insert(self, rows: pa.Table) -> None:
        self._session.register(rows, _FRESH)
        self._session.execute(f"insert into {_HELD} select * from {_FRESH}")  # noqa: S608 - names of ours
        self._fresh += rows.num_rows

    def _merged(self) -> None:
        self._session.execute(self._merge)
        ((self._held,),) = self._session.execute(f"select count(*) from {_HELD}")  # noqa: S608 - a name of ours
        self._fresh = 0


def saved(table: SeenKeys | NewestRows, key_group: int) -> dict[int, bytes]:
    """Return the state of a table by key group; what it knows besides its rows goes into `key_group`."""
    rows = table.state()
    state = by_key_group(rows, table.state_keys)
    if rows.schema.metadata and key_group not in state:  # how far rows have come counts without keys
        state[key_group] = packed(iter([rows.slice(0, 0)]), rows.schema)
    return state


def restored(table: SeenKeys | NewestRows, state: Mapping[int, bytes]) -> None:
    """Give a table its state back."""
    for group in sorted(state):
        for rows in unpacked(state[group]):
            table.restore(rows)


__all__ = ["NewestRows", "SeenKeys", "restored", "saved"]
