"""Builds what one task runs: its components with their contexts, its operators, and the routes between them."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, cast

from dataflare.executor.edge_sums import EdgeSums
from dataflare.executor.graph import Operator, Role, Routing, Stage
from dataflare.executor.operators import (
    ChainOperator,
    FinalOperator,
    LaterWriteOperator,
    PartialOperator,
    ProcessorOperator,
    RunningOperator,
    WriteOperator,
)
from dataflare.executor.pipeline import Pipeline, Target
from dataflare.executor.rejected import EXPRESSION, FUNCTION, REFUSED, UNREADABLE, Origin
from dataflare.executor.segments import TaskSegments
from dataflare.plan import Action, Edge

if TYPE_CHECKING:
    from dataflare.batch import Batch
    from dataflare.component import DestinationConnector, Processor, SourceConnector
    from dataflare.component.contract import Component
    from dataflare.component.processor import TwoPhaseProcessor
    from dataflare.executor.job import EpochTime, Job
    from dataflare.executor.lines import Lines
    from dataflare.expression.chain import Chain
    from dataflare.expression.step import RowProcessor


_CODES = {Role.SOURCE: UNREADABLE, Role.CHAIN: EXPRESSION}


@dataclass(slots=True)
class Built:
    """One task's working parts. `components` are in the order in which they are opened."""

    pipeline: Pipeline
    source: SourceConnector[Any] | None
    destinations: dict[str, DestinationConnector[Any]]
    components: list[tuple[str, Component[Any]]]
    chains: list[Chain | Lines] = field(default_factory=list)
    later: list[tuple[str, Batch]] = field(default_factory=list)
    segments: list[TaskSegments] = field(default_factory=list)
    origin: Origin = field(default_factory=Origin)
    is_light: bool = False
    """Whether all that it does in `pipeline` are chains and hand-overs, so that a few rows need no worker thread."""


def build_task(job: Job, stage: Stage, index: int, epoch_time: EpochTime) -> Built:
    """Build the task `index` of a stage. Blocking; opens nothing."""
    return _Builder(job, stage, index, epoch_time).run()


class _Builder:
    def __init__(self, job: Job, stage: Stage, index: int, epoch_time: EpochTime) -> None:
        self._job, self._stage, self._index, self._time = job, stage, index, epoch_time
        self._built = Built(Pipeline([], {}), None, {}, [])

    def run(self) -> Built:
        operators = [found for o in self._stage.operators if (found := self._operator(o)) is not None]
        nodes = [n for o in self._stage.operators for n in o.nodes]
        skips = frozenset(n for n in nodes if self._job.plan.node(n).on_error.action is Action.SKIP)
        source = self._built.source
        decode = source.decode if source is not None else None
        self._built.origin = self._origin()
        self._built.pipeline = Pipeline(operators, self._routes(), skips, self._ports(), (decode, self._built.origin))
        if self._job.plan.settings.ledger == "hash":
            self._built.pipeline.tally.sums = EdgeSums()
        self._built.is_light = all(isinstance(o, ChainOperator | LaterWriteOperator) for o in operators)
        return self._built

    def _origin(self) -> Origin:
        """Return what is known of rows that nodes of this task reject."""
        job, nodes = self._job, [n for o in self._stage.operators for n in o.nodes]
        inputs = {n: [_name_of(e) for e in job.plan.inputs_of(n)] for n in nodes}
        codes = {n: _CODES.get(o.role, REFUSED) for o in self._stage.operators for n in o.nodes}
        codes |= {n: FUNCTION for n in nodes if job.plan.node(n).type in ("python", "wasm") and codes[n] == REFUSED}
        return Origin(
            workflow=job.plan.workflow,
            task=f"{self._stage.index}.{self._index}",
            attempt=job.attempt,
            inputs=inputs,
            codes=codes,
            epoch=lambda: (self._time.number, self._time.microseconds),
            replays=job.replay.times if job.replay is not None else 0,
        )

    def _component(self, node: str) -> Component[Any]:
        component = self._made(node)
        self._built.components.append((node, component))
        return component

    def _made(self, node: str, operator: str = "") -> Component[Any]:
        job = self._job
        component = job.component(job.plan.node(node), self._index, self._stage.parallelism, self._time)
        segments = TaskSegments(job.checkpoints, operator or node, self._index)
        component.context = replace(component.context, segments=segments)
        self._built.segments.append(segments)
        return component

    def _operator(self, operator: Operator) -> RunningOperator | None:
        node = operator.nodes[0]
        if operator.role is Role.SOURCE:
            self._built.source = cast("SourceConnector[Any]", self._component(node))
            return None
        if operator.role is Role.CHAIN:
            return self._chain(operator)
        if operator.role in (Role.PARTIAL, Role.FINAL):
            return self._half(operator)
        if operator.role is Role.DESTINATION:
            connector = cast("DestinationConnector[Any]", self._component(node))
            self._built.destinations[node] = connector
            if inspect.iscoroutinefunction(connector.write):
                return LaterWriteOperator(node, connector, self._built.later)
            return WriteOperator(node, connector)
        return ProcessorOperator(node, cast("Processor[Any]", self._component(node)))

    def _half(self, operator: Operator) -> RunningOperator:
        node = operator.nodes[0]
        whole = cast("TwoPhaseProcessor[Any]", self._made(node, operator.id))
        half = whole.partial() if operator.role is Role.PARTIAL else whole.final()
        half.context = whole.context
        self._built.components.append((node, half))
        if operator.role is Role.PARTIAL:
            return PartialOperator(operator.id, node, half)
        return FinalOperator(node, half)

    def _chain(self, operator: Operator) -> RunningOperator:
        from dataflare.expression.chain import Chain

        job, plan = self._job, self._job.plan
        steps = []
        for node in operator.nodes:
            made = job.component(plan.node(node), self._index, self._stage.parallelism, self._time)
            component = cast("RowProcessor[Any]", made)
            steps.append(component.step(job.input_schemas(node)))
        schema = job.input_schemas(operator.nodes[0])[0]
        policies = [plan.node(n).on_error.action.value for n in operator.nodes]
        chain = Chain(steps, schema, policies=policies, budget=job.budget(), epoch_time=self._time)
        self._built.chains.append(chain)
        keeps = frozenset(n for n in operator.nodes if job.keeps_errors(n))
        lines = self._lines(operator)
        return ChainOperator(operator.id, operator.nodes, chain, keeps_errors=keeps, lines=lines)

    def _lines(self, operator: Operator) -> Lines | None:
        """Return the reader of a chain whose source, in the same task, hands it JSON lines; the task closes it."""
        edges = self._job.plan.inputs_of(operator.nodes[0])
        source = self._job.plan.node(edges[0].source)
        if source.traits.get("unjudged") != "jsonl":
            return None
        from dataflare.executor.lines import Lines

        schema = self._job.plan.input_outputs(operator.nodes[0])[0].schema
        lines = Lines(schema, self._job.budget().memory_bytes_max)
        self._built.chains.append(lines)
        return lines

    def _ports(self) -> dict[str, frozenset[int]]:
        ports: dict[str, set[int]] = {}
        inner = [(link.operator, link.port) for link in self._stage.links]
        outer = [(e.operator, e.port) for e in self._job.graph.into(self._stage.index)]
        for operator, port in (*inner, *outer):
            ports.setdefault(operator, set()).add(port)
        return {operator: frozenset(found) for operator, found in ports.items()}

    def _routes(self) -> dict[tuple[str, str], list[Target]]:
        routes: dict[tuple[str, str], list[Target]] = {}
        for link in self._stage.links:
            edge = str(Edge(link.node, link.output, link.operator))
            routes.setdefault((link.node, link.output), []).append(Target(edge, link.operator, link.port))
        for number, exchange in enumerate(self._job.graph.out_of(self._stage.index)):
            edge = str(Edge(exchange.node, exchange.output, exchange.operator))
            copies = (
                self._job.graph.stages[exchange.to_stage].parallelism if exchange.routing is Routing.BROADCAST else 1
            )
            routes.setdefault((exchange.node, exchange.output), []).append(
                Target(edge, exchange.operator, exchange.port, number, copies)
            )
        return routes


def _name_of(edge: Edge) -> str:
    return f"{edge.source}.{edge.output}" if edge.output else edge.source
