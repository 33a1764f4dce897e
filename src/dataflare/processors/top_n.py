"""Keeps the first rows by an order, over all or in each group."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from dataflare.batch import Batch
from dataflare.component import Config, Field, Processor, processor
from dataflare.component.processor import TwoPhaseProcessor
from dataflare.errors import WorkflowError
from dataflare.expression.session import select
from dataflare.expression.streaming import Incoming, rows_of, streamed
from dataflare.processors.bounded import TABLES
from dataflare.processors.columns import known, passed_on, same_columns
from dataflare.processors.held import HeldRows, held_name, restore_told, told_state
from dataflare.processors.ordering import NUMBER, OrderKey, numbered, order_by, ordered, places_of, with_numbers
from dataflare.schema import Column, Schema

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    import pyarrow as pa

    from dataflare.component import StageContext

MERGE_ROWS = 1 << 18
_HELD_SHARE = 16
"""The part of its memory that a task may fill with rows, before and while it drops some."""
_ROWS_BITS = 40
_RANK = "r"
"""No column has the name, as these are called as `held_name` does."""


class TopConfig(Config):
    """Which rows stay."""

    rows: int = Field(ge=1, description="How many rows stay, of all or of each group.")
    by: list[OrderKey] = Field(
        min_length=1, description="What they are put in order by, as with `sort`: such as `amount desc`."
    )
    per: list[str] = Field([], description="Columns whose values make a group; nulls are equal. None: one group.")
    ties: Literal["first", "all"] = Field(
        "first",
        description="Rows that are equal to the last one that stays: those that came first stay, or all, so that "
        "there may be more than `rows`.",
    )
    rank: str | None = Field(None, description="A column for the place of a row in its group: 1, 2, 3; ties share one.")


class _TopRows:
    """The rows that may still be among the first: whenever they have doubled, those that are not are dropped.

    They are sorted by group and order, on disk where memory does not hold them; what stands before a row then tells its
    place, so that neither the number of groups nor that of rows matters to memory.
    """

    def __init__(self, config: TopConfig, context: StageContext) -> None:
        """Hold nothing yet."""
        self._config, self._context = config, context
        schema = context.schemas["0"]
        self.planned = schema.to_arrow()
        self._names = [held_name(name) for name in schema.names]
        self._plain = numbered(self.planned, self._names)
        groups = [self._names[schema.names.index(c)] for c in config.per]
        self._groups = tuple(groups)
        terms = order_by(config.by, schema, self._names)
        values = places_of(config.by, schema, self._names)
        self._sorted = self._placed([*(f"{g} asc nulls last" for g in groups), *terms, NUMBER], groups, values)
        self.held = self._new()
        self._settled, self._number = 0, context.attempt << _ROWS_BITS

    def add(self, rows: pa.Table) -> None:
        """Take rows in."""
        for table in with_numbers([rows], self._plain, self._number):
            self.held.add(table)
        self._number += rows.num_rows
        if self.held.rows - self._settled > max(MERGE_ROWS, self._settled):
            self.settle()

    def settle(self) -> None:
        """Drop the rows that are not among the first."""
        if self.held.rows == self._settled:
            return
        kept = self._new()
        for table in self._asked([*self._names, NUMBER], self._plain):
            kept.add(table)
        self.held.close()
        self.held = kept
        self._settled = kept.rows

    def taken(self) -> Iterator[pa.Table]:
        """Yield the rows that may be among the first, and hold them no more."""
        import pyarrow as pa

        self.settle()
        self._settled = 0
        for table in self.held.take():
            yield pa.Table.from_arrays(table.columns[:-1], schema=self.planned)

    def results(self, output: pa.Schema) -> Iterator[pa.Table]:
        """Yield the first rows in order, with their places where they are wanted; nothing is held after that."""
        import pyarrow as pa

        self._settled = 0
        schema = self._plain.remove(len(self.planned)).append(pa.field(_RANK, pa.int64()))
        for table in self._asked([*self._names, _RANK], schema):
            yield pa.Table.from_arrays(table.columns[: len(output)], schema=output)
        self.held.close()

    def restore(self, state: Mapping[int, bytes]) -> None:
        """Take rows back; those that come now have higher numbers, as those of a later attempt do."""
        restore_told({"rows": self.held}, state)
        self._settled = self.held.rows

    def _placed(self, terms: Sequence[str], groups: Sequence[str], values: Sequence[str]) -> str:
        """Return the rows in order with their place in the group (p) and that of the first that is equal (r).

        Windows without an order of their own take rows as they come: they hold none of them.
        """
        new = " or ".join(["i = 1", *(f"lag({g}) over () is distinct from {g}" for g in groups)])
        moved = " or ".join([new, *(f"lag({v}) over () is distinct from {v}" for v in values)])
        ordered = select(["*"], "rows", f"order by {', '.join(terms)}")
        counted = select(["*", "row_number() over () as i"], f"({ordered})")
        marked = select(["*", f"case when {new} then i end as g", f"case when {moved} then i end as m"], f"({counted})")
        first, equal = (f"max({mark}) over (rows unbounded preceding)" for mark in ("g", "m"))
        return select(["*", f"i - {first} + 1 as p", f"{equal} - {first} + 1 as {_RANK}"], f"({marked})")

    def _asked(self, columns: Sequence[str], schema: pa.Schema) -> Iterator[pa.Table]:
        held = self.held
        if not held.rows:
            return
        place = "p" if self._config.ties == "first" else _RANK
        sql = select(columns, f"({self._sorted})", f"where {place} <= {self._config.rows}")
        incoming = Incoming(self._plain, held.all)
        yield from streamed(self._context.budget, {"rows": incoming}, sql, schema, rows_of(held.rows, held.bytes))

    def _new(self) -> HeldRows:
        memory = self._context.budget.memory_bytes_max // _HELD_SHARE
        return HeldRows(self._plain, memory, self._context, self._groups)


class _Half(Processor[TopConfig]):
    """What both halves do: take rows in, and know which of them may be among the first."""

    _top: _TopRows | None = None

    def open(self) -> None:
        """Hold nothing yet."""
        self._top = _TopRows(self.config, self.context)

    @property
    def top(self) -> _TopRows:
        """What is held."""
        assert self._top is not None, "it is not open"
        return self._top

    def process(self, batch: Batch, port: int = 0) -> Iterable[Batch]:
        """Take the rows in."""
        del port
        self.top.add(batch.rows)
        return ()

    def close(self) -> None:
        """Forget the rows."""
        if self._top is not None:
            self._top.held.close()


class PartialTop(_Half):
    """The first half: passes on the rows of its part that may be among the first."""

    def flush(self) -> Iterable[Batch]:
        """Pass on what is held."""
        for rows in self.top.taken():
            yield Batch(rows)

    def finish(self) -> Iterable[Batch]:
        """Pass on what is held."""
        return self.flush()


class FinalTop(_Half):
    """The second half: gathers them, and yields the first at the end."""

    def keys(self) -> tuple[str, ...]:
        """Return the columns that make a group."""
        return tuple(self.config.per)

    def finish(self) -> Iterable[Batch]:
        """Yield the first rows."""
        output = self.context.outputs.get("")
        planned = output.to_arrow() if output is not None else self.top.planned
        for rows in self.top.results(planned):
            yield Batch(rows)

    def snapshot(self) -> Mapping[int, bytes]:
        """Return the rows that may be among the first."""
        return told_state({"rows": self.top.held})

    def segments(self) -> Sequence[str]:
        """Return where they are."""
        return self.top.held.segments()

    def restore(self, state: Mapping[int, bytes]) -> None:
        """Take them back."""
        self.top.restore(state)


@processor(
    "top_n",
    status="beta",
    **TABLES,
    deterministic=False,
    examples=[
        {"rows": 10, "by": ["amount desc"]},
        {"rows": 1, "by": ["updated_at desc"], "per": ["customer_id"]},
        {"rows": 3, "by": ["points desc"], "per": ["league"], "ties": "all", "rank": "place"},
    ],
)
class TopN(TwoPhaseProcessor[TopConfig]):
    """Keeps the first rows by an order, over all or in each group.

    They come out when the input has ended, sorted by group and then in order. Each task keeps only what may be among
    the first, so memory grows with `rows` and the number of groups, not with the input. Of rows that are equal in all
    of `by`, those that came first stay; with `ties: all` every row stays that is equal to the last one.
    """

    def outputs(self, inputs: Sequence[Schema]) -> Mapping[str, Schema]:
        """Return the columns as they come, and the place."""
        schema, rank = same_columns(inputs), self.config.rank
        order_by(self.config.by, schema, schema.names)
        known(self.config.per, schema.names, "per")
        if rank is None:
            return {"": schema}
        if rank.lower() in (n.lower() for n in schema.names):
            raise WorkflowError(f"rank: there is a column {rank!r} already", hint="choose another name")
        return {"": Schema((*schema.columns, Column(rank, "int64", nullable=False)))}

    def reads(self, inputs: Sequence[Schema], wanted: AbstractSet[str] | None) -> Sequence[AbstractSet[str] | None]:
        """Return what is wanted, and what makes groups and their order."""
        return [passed_on(wanted, {*ordered(self.config.by, s), *self.config.per}) for s in inputs]

    def keys(self) -> tuple[str, ...]:
        """Return the columns that make a group."""
        return tuple(self.config.per)

    def partial(self) -> Processor[Any]:
        """Return the first half."""
        return PartialTop(self.config)

    def final(self) -> Processor[Any]:
        """Return the second half."""
        return FinalTop(self.config)


__all__ = ["FinalTop", "PartialTop", "TopConfig", "TopN"]
