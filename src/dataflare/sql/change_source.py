"""What sources share that read tables first and then follow their changes: parts of tables, and the stream behind them.

A connector says what a snapshot is and how it is taken, and how the log is read (decisions 0031 and 0035).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import numpy as np
import pyarrow as pa

from dataflare.batch import Batch
from dataflare.changes import COMMIT_TS, OP, TX, Op
from dataflare.component import Split
from dataflare.component.bad_rows import with_bad_rows
from dataflare.errors import StateError, UnavailableError
from dataflare.sql.first_reading import Reading, ReadUnder

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from dataflare.batch import Position
    from dataflare.component import StageContext
    from dataflare.schema import Schema

CHANGES = "/changes"
"""The split of the stream."""
SNAPSHOT_SECONDS = 60.0
"""How long one snapshot is held: the server keeps all that it sees meanwhile."""


class Followable(Protocol):
    """A table that is followed; `whole`: its rows are told apart by all their columns, for want of a key."""

    @property
    def table(self) -> Any:
        """What it is called."""
        ...

    @property
    def whole(self) -> bool:
        """Tell whether all columns are the key."""
        ...

    def number_range(self) -> tuple[int, int] | None:
        """Return the least and the greatest key that there may be, where it is one column of whole numbers."""
        ...


class Rows(Protocol):
    """The source, as far as it reads tables."""

    context: StageContext

    def ranges(self, name: str, number: int, since: Position | None) -> Iterator[Split]:
        """Yield the parts of a table."""
        ...

    def rows(self, split: Split, since: Position | None, until: Position | None) -> Iterator[Batch]:
        """Yield the rows of a part."""
        ...


S = TypeVar("S", bound=ReadUnder)
T = TypeVar("T", bound=Followable)


class Following(ABC, Generic[T, S]):
    """Belongs to one source, which is open."""

    anew = "begin anew, with another id of the workflow"
    """How somebody reads all tables once more."""

    def __init__(self, source: Rows, tables: Mapping[str, T]) -> None:
        """Know the tables by output; raise UnavailableError where pyarrow does without numpy."""
        try:
            pa.array(np.zeros(1, np.int64))
        except pa.ArrowInvalid as error:
            raise UnavailableError(
                "pyarrow was started without numpy", hint="say mode: cdc or mode: hybrid in the workflow file itself"
            ) from error
        self.tables = tables
        self._rows = source
        self._snapshot: S | None = None
        self._until = 0.0

    # ---- what a connector says ----------------------------------------------------------------------------------

    @abstractmethod
    def taken(self, table: T) -> S:
        """Begin a transaction that sees one snapshot of a table until it ends."""

    @abstractmethod
    def released(self) -> None:
        """End the transaction of a snapshot."""

    @abstractmethod
    def renews(self, table: T) -> bool:
        """Tell whether reading may go on under another snapshot, between two batches."""

    @abstractmethod
    def snapshot(self, told: Any) -> S:
        """Read what a snapshot wrote."""

    def resumes(self, table: T) -> bool:
        """Tell whether a part that is read to its middle can go on there."""
        return not table.whole

    # ---- splits -------------------------------------------------------------------------------------------------

    def parts(
        self, since: Position | None, told: Mapping[str, Any], begin: Mapping[str, Any], names: list[str]
    ) -> Iterator[Split]:
        """Yield the parts of all tables; their data has what is `told`, enumeration goes on from what is `begin`.

        What is told has `tx`: the place of the log behind which all changes come, which is the `_tx` of what is read.
        `names` are the tables with which enumeration began; in it "" stands for one that is followed no more.
        """
        start = since["table"] if since else 0
        for number in range(start, len(names)):
            if (name := names[number]) not in self.tables:
                names[number] = ""
                continue
            going_on = since if since and number == start and "low" in since else None
            splits = list(self._rows.ranges(name, number, going_on)) or [Split(name, {"stream": name})]
            for split in splits:
                first, last = going_on is None and split is splits[0], split is splits[-1]
                data = {**split.data, **told, **self._widened(name, split, first=first, last=last)}
                resume = {"table": number + 1} if last else dict(split.resume or {})
                yield Split(f"table {split.id}", data, {**resume, **begin, "names": [*names]}, before=CHANGES)

    def _widened(self, name: str, split: Split, *, first: bool, last: bool) -> dict[str, Any]:
        """Return the range of a part: together they hold every number that there may be, also of rows that are gone."""
        found = self.tables[name].number_range()
        if found is None:
            return {}
        least, greatest = found
        low, high = split.data.get("keys", (least, greatest))
        return {"keys": [least if first else low, greatest if last else high]}

    def refuse_new_tables(self, split: Split, left: Collection[str]) -> None:
        """Refuse tables that the stream was not begun with, or that were left out: of them rows, or changes, lack."""
        new = [name for name in self.tables if name not in split.data["tables"]]
        if new and self._rows.context.mode == "hybrid":
            raise StateError(
                f"{self.tables[new[0]].table} is new in the workflow, and its rows were not read with the others",
                hint="leave it out of `tables`, and read it by a workflow of its own",
            )
        back = [name for name in self.tables if name in left]
        if back and self._rows.context.mode == "hybrid":
            raise StateError(
                f"{self.tables[back[0]].table} was left out of the workflow, and its changes were not followed",
                hint=f"leave it out of `tables`, and read it by a workflow of its own; or {self.anew}",
            )

    # ---- the first reading --------------------------------------------------------------------------------------

    def part(self, split: Split, since: Position | None) -> Iterator[Batch]:
        """Yield the rows of a part; its position tells what each range of it was read under."""
        source, name = self._rows, split.data["stream"]
        if name not in self.tables:  # it was taken out of the workflow meanwhile
            other, position = next(iter(self.tables)), since or Reading(name, split.data.get("keys")).position()
            empty = source.context.schemas[other].to_arrow().empty_table()
            yield Batch(empty, other, {**position, "left": True})
            return
        self._table, schema = self.tables[name], source.context.schemas[name]
        reading: Reading[S]
        if since is not None:
            reading = Reading.from_json(since, self.snapshot)
        else:
            reading = Reading(name, split.data.get("keys"))
        if reading.rows and not self.resumes(self._table):
            raise self._unfinished()
        clock = source.context.runtime.clock
        self.take()
        try:
            for batch in with_bad_rows(lambda a, b: source.rows(split, a, b), reading.reached, None):
                assert batch.position is not None
                reading.under(self._seen)
                reading.reached, reading.rows = batch.position, reading.rows + batch.num_rows
                if batch.stream == "errors":
                    yield Batch(batch.rows, "errors", reading.position())
                    continue
                rows = as_read(batch.rows, schema, split.data["tx"])
                yield Batch(rows, name, reading.position())
                if clock.monotonic() > self._until and self.renews(self._table):
                    self.released()
                    self.take()
            if reading.under(self._seen):  # where nothing was, nothing is left to come but what it has not seen
                yield Batch(schema.to_arrow().empty_table(), name, reading.position())
            self.released()
        finally:
            self._snapshot = None

    def take(self) -> None:
        """Read what comes next under a new snapshot."""
        self._snapshot = self.taken(self._table)
        self._until = self._rows.context.runtime.clock.monotonic() + SNAPSHOT_SECONDS

    @property
    def reads(self) -> bool:
        """Tell whether a table is being read."""
        return self._snapshot is not None

    @property
    def _seen(self) -> S:
        assert self._snapshot is not None, "nothing is being read"
        return self._snapshot

    def _unfinished(self) -> StateError:
        why = "without a key" if self._table.whole else "with such a key"
        return StateError(
            f"the first reading of {self._table.table} was interrupted, and {why} it cannot go on",
            hint=f"add a key of whole numbers or texts to the table; or {self.anew}",
        )


def as_read(rows: pa.Table, schema: Schema, tx: str) -> pa.Table:
    """Return rows as those that were there before any change behind the place `tx` of the log."""
    told, arrow = {OP: Op.READ.value, TX: tx}, schema.to_arrow()
    arrays = [
        rows.column(f.name)
        if f.name in rows.column_names
        else pa.repeat(pa.scalar(told.get(f.name), f.type), len(rows))
        for f in arrow
    ]
    return pa.Table.from_arrays(arrays, schema=arrow)


def emptied(schema: Schema, commit_time: Any, tx: str) -> pa.Table:
    """Return the row that says that a table was emptied."""
    arrow = schema.to_arrow()
    row = {OP: Op.TRUNCATE.value, COMMIT_TS: commit_time, TX: tx}
    return pa.Table.from_arrays([pa.array([row.get(f.name)], f.type) for f in arrow], schema=arrow)


__all__ = ["CHANGES", "Followable", "Following", "Rows", "as_read", "emptied"]
