"""Sends a few rows of each source through a plan, in place: no destination is opened, no state is kept.

Only sources that replay and end are read: to read from others takes something away, or waits.
"""

from __future__ import annotations

import asyncio
import inspect
from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, cast

from dataflare.component import source
from dataflare.errors import DataFlareError, Finding
from dataflare.executor.build import Built, build_task
from dataflare.executor.faults import located, told
from dataflare.executor.graph import task_graph
from dataflare.executor.job import EpochTime, Job
from dataflare.executor.runtime import LocalRuntime
from dataflare.executor.turns import is_first, wanted_first
from dataflare.plan import Node, NodeKind, Plan, Settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from dataflare.batch import Batch
    from dataflare.component import Registry, SourceConnector
    from dataflare.executor.graph import Exchange, Stage
    from dataflare.state.checkpoint import CheckpointManager

ROWS_MAX = 1000
LOOKUP_ROWS_MAX = 100_000
"""So many rows of each source behind a lookup: one that is not there rejects the row that asks for it."""
BATCHES_MAX = 100
SPLITS_MAX = 10
_MODES = ("full", "incremental")


@dataclass(slots=True)
class Sample:
    """What came of it: rows by node and output, and what went wrong. `left_out` are the sources that were not read."""

    rows: dict[tuple[str, str], int] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


def sample_rows(
    plan: Plan,
    registry: Registry,
    resolve: Callable[[Mapping[str, Any]], Mapping[str, Any]] = dict,
    rows_max: int = ROWS_MAX,
) -> Sample:
    """Read at most so many rows of each source and pass them on; blocking, never on an event loop."""
    runtime = LocalRuntime()
    try:
        return asyncio.run(Sampling(without_destinations(plan), registry, resolve, runtime).run(rows_max))
    finally:
        runtime.close()


class Sampling:
    """One pass of a few rows through a plan that is one task wide, and whose destinations may be opened."""

    def __init__(
        self, plan: Plan, registry: Registry, resolve: Callable[..., Mapping[str, Any]], runtime: LocalRuntime
    ) -> None:
        """Open nothing."""
        self._plan = plan
        nobody = cast("CheckpointManager", None)  # no state is kept
        graph = task_graph(self._plan, registry)
        self._job = Job(self._plan, graph, registry, runtime, nobody, attempt=0, resolve=resolve)
        self._time = EpochTime(runtime.clock.now())
        self._waiting: dict[int, deque[tuple[Exchange, Batch]]] = {s.index: deque() for s in graph.stages}
        self._sample = Sample()
        self._first = {node: first for node, (first, _) in wanted_first(plan).items()}
        self._cut: set[str] = set()

    async def run(self, rows_max: int) -> Sample:
        """Read at most so many rows of each source."""
        for stage in self._job.graph.stages:
            try:
                await self._stage(stage, rows_max)
            except DataFlareError as error:
                self._tell(told(error, self._job.plan), stage)
        return self._sample

    async def _stage(self, stage: Stage, rows_max: int) -> None:
        name = stage.source
        if name is not None and not self._may_read(self._plan.node(name)):
            self._sample.left_out.append(name)
            return
        built = build_task(self._job, stage, 0, self._time)
        try:
            for node, component in built.components:
                with located(node):
                    await _settled(component.open())
            if name is not None and built.source is not None:
                if any(name in first for first in self._first.values()):
                    rows_max = max(rows_max, LOOKUP_ROWS_MAX)
                async for batch in _rows_of(built.source, name, rows_max, self._cut):
                    self._pass_on(stage, built.pipeline.source_batch(name, batch))
            for exchange, batch in sorted(self._waiting[stage.index], key=self._comes_later):
                edge = f"{exchange.node}{'.' if exchange.output else ''}{exchange.output} -> {exchange.operator}"
                self._pass_on(stage, built.pipeline.incoming(exchange.operator, exchange.port, edge, batch))
            for left in built.pipeline.finish():
                self._pass_on(stage, left)
            self._count(built)
        finally:
            for chain in built.chains:
                chain.close()
            for node, component in built.components:
                with located(node):
                    await _settled(component.close())

    def _may_read(self, node: Node) -> bool:
        kind = self._job.registry.find(source, node.type)
        replays = kind.spec.traits.replay in ("exact", "from")
        return replays and not kind.waits and node.traits.get("mode", "full") in _MODES

    def _pass_on(self, stage: Stage, left: list[tuple[int, Batch]]) -> None:
        exchanges = self._job.graph.out_of(stage.index)
        for outlet, batch in left:
            self._waiting[exchanges[outlet].to_stage].append((exchanges[outlet], batch))

    def _comes_later(self, item: tuple[Exchange, Batch]) -> bool:
        exchange = item[0]
        return not (exchange.operator in self._first and is_first(self._plan.node(exchange.operator), exchange.port))

    def _count(self, built: Built) -> None:
        tally = built.pipeline.tally
        for name, counts in tally.counts.items():
            self._sample.rows[name, ""] = self._sample.rows.get((name, ""), 0) + counts.get("out", 0)
        for name, (rows, reason) in tally.rejected.items():
            node = self._plan.node(name)
            came = tally.counts.get(name, {}).get("in", 0)
            came -= sum(n for (at, port), n in tally.entered.items() if at == node.id and is_first(node, port))
            what = f"{name}: {rows} of {came} sampled rows are rejected; the first: {reason}{self._unsure(name)}"
            severity = "info" if self._unsure(name) else "warning"
            self._sample.findings.append(Finding(severity, "data.invalid", what, place=node.place))

    def _tell(self, error: DataFlareError, stage: Stage) -> None:
        names = [n for o in stage.operators for n in o.nodes]
        name = next((n for n in names if error.place.path.split("/")[0] == n), names[0])
        what = f"{error.place}: {error.what}" if error.place.file else error.what
        place = self._plan.node(name).place
        unsure = self._unsure(name)
        severity = "info" if unsure else "error"
        self._sample.findings.append(Finding(severity, error.code, f"{name}: {what}{unsure}", error.hint, place))

    def _unsure(self, node: str) -> str:
        """Return what is said where rows of a lookup were left out, one of which may be the one that is missing."""
        cut = self._first.get(node, set()) & {*self._cut, *self._sample.left_out}
        return f" (not all rows of {', '.join(sorted(cut))} were read)" if cut else ""


def without_destinations(plan: Plan) -> Plan:
    """Return the plan up to its destinations, one task wide; rows come as tables."""
    gone = {n.id for n in plan.of_kind(NodeKind.DESTINATION)}
    apart = ("parallelism", "codec", "unjudged")
    nodes = tuple(
        replace(n, traits={k: v for k, v in n.traits.items() if k not in apart}) for n in plan.nodes if n.id not in gone
    )
    settings = Settings(memory_bytes_max=plan.settings.memory_bytes_max)
    edges = tuple(e for e in plan.edges if e.target not in gone)
    return replace(plan, nodes=nodes, edges=edges, guarantees={}, settings=settings)


async def _rows_of(connector: SourceConnector[Any], name: str, rows_max: int, cut: set[str]) -> AsyncIterator[Batch]:
    """Yield the first rows of each output of a source; add it to `cut` where there may be more."""
    rows: dict[str, int] = {}
    batches = splits = 0
    async for split in _each(connector.splits(None), name, SPLITS_MAX):
        splits += 1
        async for batch in _each(connector.read(split, None, None), name, BATCHES_MAX):
            batches += 1
            before = rows.get(batch.stream, 0)
            rows[batch.stream] = before + batch.num_rows
            if batch.num_rows and before < rows_max:
                yield batch.replace(batch.rows.slice(0, rows_max - before), batch.stream)
            if batches >= BATCHES_MAX or rows[batch.stream] >= rows_max:
                cut.add(name)
                break
        if batches >= BATCHES_MAX:
            return
    if splits >= SPLITS_MAX:
        cut.add(name)


async def _each(items: Any, name: str, number: int) -> AsyncIterator[Any]:
    """Yield at most so many items of a plain or an asynchronous iterable, and close it."""
    iterator: Any = aiter(items) if hasattr(items, "__aiter__") else iter(items)
    try:
        for _ in range(number):
            with located(name):
                if hasattr(iterator, "__anext__"):
                    item = await anext(iterator, None)
                else:
                    item = next(iterator, None)
            if item is None:
                return
            yield item
    finally:
        if hasattr(iterator, "aclose"):
            await iterator.aclose()
        elif hasattr(iterator, "close"):
            iterator.close()


async def _settled(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value


__all__ = ["BATCHES_MAX", "ROWS_MAX", "Sample", "Sampling", "sample_rows", "without_destinations"]
