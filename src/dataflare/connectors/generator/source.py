"""Makes rows up: the same rows for the same seed, at any pace, with faults where the workflow asks for them."""

from __future__ import annotations

import os
import signal
from itertools import chain
from typing import TYPE_CHECKING, Any, ClassVar

import pyarrow as pa

from dataflare.batch import Batch, Position
from dataflare.component import SourceConnector, Split, Stream, source
from dataflare.connectors.generator.settings import FaultConfig, GeneratorConfig, microseconds
from dataflare.connectors.generator.values import column
from dataflare.errors import ExternalError, WorkflowError
from dataflare.schema import Schema

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping, Sequence

SALTS_PER_COLUMN = 2
BATCHES_PER_SECOND = 20


@source(
    "generator",
    status="beta",
    replay="exact",
    modes=("full", "streaming"),
    pushdown=("columns",),
    examples=[{"rows": 10, "columns": {"id": "sequence", "city": ["Berlin", "Oslo"], "price": {"kind": "float"}}}],
)
class GeneratorSource(SourceConnector[GeneratorConfig]):
    """Makes rows up, for trials, load tests and rehearsed failures.

    Row `n` of a column depends on the seed, the column's place and `n` alone, so every run and every resume makes the
    same rows. Partition `p` of `P` makes rows p, p + P, p + 2P and so on. Without `rows` it never ends; with `rate`
    and `begin` it stands, at each moment, where a stream would that began then: `--until now` reads up to there.
    """

    failed: ClassVar[set[tuple[str, str, int]]] = set()
    """Faults that this process has had: (workflow, node, row)."""

    def declared(self) -> Mapping[str, Stream]:
        """Return the columns of the settings."""
        return {"": Stream(Schema.of({n: c.type() for n, c in self.config.columns.items()}))}

    @property
    def waits(self) -> bool:  # type: ignore[override]
        """Waiting happens where there is a pace or a delay."""
        return self.config.rate is not None or any(f.kind == "delay" for f in self.config.faults)

    def ends(self) -> Mapping[str, Position]:
        """Return how many rows each partition has by now; nothing where the number of rows is given."""
        config = self.config
        if config.rows is not None and config.begin is None:
            return {}
        if config.begin is None:
            raise WorkflowError(
                "a generator without end cannot tell where it stands now", hint="give it a rate and a begin"
            )
        if self.context.mode == "full":
            raise WorkflowError(
                "a source in mode full begins anew in each run, so it cannot catch up", hint="set mode: streaming"
            )
        return {split.id: {"row": self._due(split.data["partition"])} for split in self.splits(None)}

    def remembers(self, key: Sequence[str]) -> Sequence[str]:
        """Return none: positions are numbers of rows."""
        del key
        return ()

    def splits(self, since: Position | None) -> list[Split]:
        """Return one split a partition."""
        del since
        return [Split(f"partition-{p}", {"partition": p}) for p in range(self.config.partitions)]

    def read(
        self, split: Split, since: Position | None, until: Position | None
    ) -> Iterator[Batch] | AsyncIterator[Batch]:
        """Yield batches; the position is the number of rows that the partition has made."""
        start, end = since["row"] if since else 0, until["row"] if until else None
        if self.waits:
            return self._paced(split.data["partition"], start, end)
        return self._at_once(split.data["partition"], start, end)

    def _at_once(self, partition: int, start: int, until: int | None) -> Iterator[Batch]:
        for low, high, fault in self._steps(partition, start, until, self.config.batch_rows):
            if fault is not None:
                self._fail(fault)
            if high > low:
                yield self._batch(partition, low, high)

    def _due(self, partition: int) -> int:
        """Return how many rows of a partition have come by now, at `rate` since `begin`."""
        assert self.config.begin is not None
        assert self.config.rate is not None
        passed = self.context.runtime.clock.now() - microseconds(self.config.begin)
        due = max(0, int(passed * self.config.rate / 1_000_000))
        return self._share(due if self.config.rows is None else min(due, self.config.rows), partition)

    def _share(self, rows: int, partition: int) -> int:
        """Return how many of the first rows are those of a partition."""
        return max(0, -(-(rows - partition) // self.config.partitions))

    async def _paced(self, partition: int, start: int, until: int | None) -> AsyncIterator[Batch]:
        clock, config = self.context.runtime.clock, self.config
        rate = config.rate / config.partitions if config.rate else None
        rows = config.batch_rows if rate is None else max(1, min(config.batch_rows, int(rate / BATCHES_PER_SECOND)))
        begun, due = clock.monotonic(), start if config.begin is None else max(start, self._due(partition))
        there = due if until is None else min(due, until)
        steps = self._steps(partition, start, there, config.batch_rows), self._steps(partition, there, until, rows)
        for low, high, fault in chain(*steps):
            if fault is not None and fault.kind == "delay":
                await clock.sleep(fault.seconds)
            elif fault is not None:
                self._fail(fault)
            if high > low:
                if rate is not None and high > there:
                    await clock.sleep(max(0.0, begun + (high - there) / rate - clock.monotonic()))
                yield await self.context.runtime.call(self._batch, partition, low, high)

    def _steps(
        self, partition: int, start: int, until: int | None, rows: int
    ) -> Iterator[tuple[int, int, FaultConfig | None]]:
        """Yield runs of rows (numbered within the partition), each with the fault that comes before it."""
        config = self.config
        end = until
        if config.rows is not None:
            mine = self._share(config.rows, partition)
            end = mine if until is None else min(until, mine)
        faults = {
            (f.at_row - partition) // config.partitions: f
            for f in config.faults
            if f.at_row % config.partitions == partition and self._is_due(f)
        }
        while end is None or start < end:
            high = start + rows if end is None else min(end, start + rows)
            high = min([n for n in faults if start < n < high], default=high)
            yield start, high, faults.get(start)
            start = high

    def _is_due(self, fault: FaultConfig) -> bool:
        if fault.kind == "abort":
            return self.context.attempt == 1
        return fault.kind == "delay" or (self.context.workflow, self.context.node, fault.at_row) not in self.failed

    def _fail(self, fault: FaultConfig) -> None:
        if fault.kind == "abort":
            os.kill(os.getpid(), signal.SIGKILL)
        self.failed.add((self.context.workflow, self.context.node, fault.at_row))
        raise ExternalError(f"row {fault.at_row} fails on purpose", hint="it is rehearsed by `faults` of this source")

    def _batch(self, partition: int, low: int, high: int) -> Batch:
        """Return rows `low` to below `high` of a partition."""
        config = self.config
        stride = config.partitions
        rows = pa.arange(low * stride + partition, (high - 1) * stride + partition + 1, stride).cast(pa.uint64())
        wanted = self.context.hints.columns
        schema = self.declared()[""].schema
        names = [n for n in schema.names if wanted is None or n in wanted] or schema.names[:1]
        places = {n: place for place, n in enumerate(schema.names)}
        target = schema.select(names).to_arrow()
        made: list[Any] = []
        for name, field in zip(names, target, strict=True):
            salt = (config.seed << 16) + SALTS_PER_COLUMN * places[name]
            made.append(column(config.columns[name], rows, salt).cast(field.type))
        return Batch(pa.Table.from_arrays(made, schema=target), position={"row": high})


__all__ = ["GeneratorConfig", "GeneratorSource"]
