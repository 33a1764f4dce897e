"""From plan to task graph: which nodes run fused in one task, how many tasks, and what flows between them.

A stage is a set of nodes that run in the same task, one task for each of its partitions. Nodes join the stage of
their input unless rows must meet (keys), the node cannot run in parallel, or its inputs come from several stages. A
destination that commits by transactions does not join a source: the next rows are read while the database takes these.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from dataflare.component import destination, processor
from dataflare.component.processor import Port, TwoPhaseProcessor
from dataflare.expression.step import RowProcessor
from dataflare.plan import Edge, EdgeKind, Mechanism, Node, NodeKind, Plan

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dataflare.component import Registry


class Role(StrEnum):
    """What an operator does in its task."""

    SOURCE = "source"
    CHAIN = "chain"
    PROCESSOR = "processor"
    PARTIAL = "partial"
    FINAL = "final"
    DESTINATION = "destination"


class Routing(StrEnum):
    """Which tasks of the next stage get a batch: the same partition, the first, by key, all, or each in turn."""

    FORWARD = "forward"
    MERGE = "merge"
    HASH = "hash"
    BROADCAST = "broadcast"
    REBALANCE = "rebalance"


@dataclass(frozen=True, slots=True)
class Operator:
    """One step of a task; a chain stands for several nodes."""

    id: str
    role: Role
    nodes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Link:
    """Rows of `node`'s `output` go into operator `operator` by `port`, in the same task."""

    node: str
    output: str
    operator: str
    port: int


@dataclass(frozen=True, slots=True)
class Exchange:
    """Rows of `node`'s `output` go to the tasks of stage `to_stage`."""

    node: str
    output: str
    from_stage: int
    to_stage: int
    operator: str
    port: int
    routing: Routing
    keys: tuple[str, ...] = ()


@dataclass(slots=True)
class Stage:
    """Operators that run fused, in topological order, and the number of tasks that run them."""

    index: int
    parallelism: int
    operators: list[Operator] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)

    @property
    def source(self) -> str | None:
        """The source node that this stage reads, if it does."""
        first = self.operators[0]
        return first.id if first.role is Role.SOURCE else None


@dataclass(frozen=True, slots=True)
class TaskGraph:
    """All stages and what flows between them."""

    stages: tuple[Stage, ...]
    exchanges: tuple[Exchange, ...]

    def stage_of(self, node: str) -> Stage:
        """Return the stage in which a node ends (a two-phase one: its second half)."""
        return next(s for s in reversed(self.stages) if any(node in o.nodes for o in s.operators))

    def into(self, stage: int) -> list[Exchange]:
        """Return the exchanges that feed a stage, in a fixed order."""
        return [e for e in self.exchanges if e.to_stage == stage]

    def channels_into(self, stage: int, index: int) -> list[tuple[Exchange, int]]:
        """Return (exchange, sending task) of every channel into task `index`, in the order of their numbers."""
        found: list[tuple[Exchange, int]] = []
        for exchange in self.into(stage):
            senders = range(self.stages[exchange.from_stage].parallelism)
            found += [(exchange, s) for s in ([index] if exchange.routing is Routing.FORWARD else senders)]
        return found

    def out_of(self, stage: int) -> list[Exchange]:
        """Return the exchanges that a stage feeds, in a fixed order."""
        return [e for e in self.exchanges if e.from_stage == stage]


def task_graph(plan: Plan, registry: Registry) -> TaskGraph:
    """Fuse a plan."""
    return _Fusion(plan, registry).run()


class _Fusion:
    def __init__(self, plan: Plan, registry: Registry) -> None:
        self._plan, self._registry = plan, registry
        self._stages: list[Stage] = []
        self._exchanges: list[Exchange] = []
        self._home: dict[str, Stage] = {}
        self._chain: dict[str, str] = {}

    def run(self) -> TaskGraph:
        for node in self._plan.topological():
            if node.kind is NodeKind.SOURCE:
                self._home[node.id] = self._new(self._parallelism(node))
                self._home[node.id].operators.append(Operator(node.id, Role.SOURCE, (node.id,)))
            elif node.kind is NodeKind.DESTINATION:
                self._place_destination(node)
            else:
                self._place_processor(node)
        return TaskGraph(tuple(self._stages), tuple(self._exchanges))

    def _parallelism(self, node: Node) -> int:
        return max(1, int(node.traits.get("parallelism") or self._plan.settings.parallelism))

    def _new(self, parallelism: int) -> Stage:
        stage = Stage(len(self._stages), parallelism)
        self._stages.append(stage)
        return stage

    def _place_destination(self, node: Node) -> None:
        traits = self._registry.find(destination, node.type).spec.traits
        parallel = traits.parallel and node.traits.get("mechanism") != Mechanism.DIRECT
        parallel = parallel and bool(node.traits.get("parallel", True))
        apart = node.traits.get("mechanism") in (Mechanism.DIRECT, Mechanism.STAGED)
        self._attach(node, Operator(node.id, Role.DESTINATION, (node.id,)), parallel=parallel, apart=apart)

    def _place_processor(self, node: Node) -> None:
        kind = self._registry.find(processor, node.type)
        if issubclass(kind, TwoPhaseProcessor):
            self._place_two_phases(node)
            return
        if issubclass(kind, RowProcessor):
            self._place_row_step(node)
            return
        ports = [Port(**port) for port in node.traits.get("ports", ())]
        operator = Operator(node.id, Role.PROCESSOR, (node.id,))
        parallel = kind.spec.traits.parallel and not any(port.together for port in ports)
        self._attach(node, operator, parallel=parallel, ports=ports)

    def _place_row_step(self, node: Node) -> None:
        edges = self._plan.inputs_of(node.id)
        before = self._chain.get(edges[0].source)
        alone = [e for e in self._plan.outputs_of(edges[0].source) if not e.output]
        if before is not None and len(edges) == 1 and len(alone) == 1 and not edges[0].output:
            stage = self._home[edges[0].source]
            at = next(i for i, o in enumerate(stage.operators) if o.id == before)
            chain = stage.operators[at]
            stage.operators[at] = Operator(chain.id, Role.CHAIN, (*chain.nodes, node.id))
            self._home[node.id], self._chain[node.id] = stage, before
            return
        self._attach(node, Operator(node.id, Role.CHAIN, (node.id,)), parallel=True)
        self._chain[node.id] = node.id

    def _place_two_phases(self, node: Node) -> None:
        partial = Operator(f"{node.id}/partial", Role.PARTIAL, (node.id,))
        self._attach(node, partial, parallel=True)
        first = self._home[node.id]
        keys = tuple(node.traits.get("keys", ()))
        if first.parallelism == 1:
            stage = first
            stage.links.append(Link(node.id, "/partial", node.id, 0))
        else:
            stage = self._new(first.parallelism if keys else 1)
            routing = Routing.HASH if keys else Routing.MERGE
            self._exchanges.append(Exchange(node.id, "/partial", first.index, stage.index, node.id, 0, routing, keys))
        stage.operators.append(Operator(node.id, Role.FINAL, (node.id,)))
        self._home[node.id] = stage

    def _attach(
        self, node: Node, operator: Operator, *, parallel: bool, ports: Sequence[Port] = (), apart: bool = False
    ) -> None:
        """Let the operator join the stage of its inputs, or open one behind exchanges."""
        edges = self._plan.inputs_of(node.id)
        homes = {self._home[e.source].index: self._home[e.source] for e in edges}
        ways = {e.port: ports[e.port] if ports else Port() for e in edges}
        meet = any(way.keys for way in ways.values())
        widest = max(s.parallelism for s in homes.values())
        shared = [self._home[e.source].parallelism for e in edges if not ways[e.port].everywhere]
        mixed = meet or len(shared) < len(edges)
        single = len(homes) == 1 and (widest == 1 or (parallel and not mixed))
        apart = (apart and bool(next(iter(homes.values())).source)) or any(way.eased for way in ways.values())
        if single and not apart:
            stage = next(iter(homes.values()))
            stage.operators.append(operator)
            stage.links += [Link(e.source, e.output, operator.id, e.port) for e in edges]
        else:
            stage = self._new(max(shared or [widest]) if parallel or meet else 1)
            stage.operators.append(operator)
            self._exchanges += [self._exchange(e, stage, operator, ways[e.port]) for e in edges]
        self._home[node.id] = stage

    def _exchange(self, edge: Edge, stage: Stage, operator: Operator, way: Port) -> Exchange:
        before = self._home[edge.source]
        keys = tuple(way.keys) or self._order_of(edge, before.parallelism, stage.parallelism)
        if stage.parallelism == 1:
            routing = Routing.MERGE
        elif way.everywhere:
            routing = Routing.BROADCAST
        elif keys:
            routing = Routing.HASH
        else:
            routing = Routing.FORWARD if before.parallelism == stage.parallelism else Routing.REBALANCE
        return Exchange(edge.source, edge.output, before.index, stage.index, operator.id, edge.port, routing, keys)

    def _order_of(self, edge: Edge, before: int, after: int) -> tuple[str, ...]:
        """Return the key whose changes must stay in order where their number of tasks becomes another one."""
        output = self._plan.node(edge.source).output(edge.output)
        return output.key if output.kind is EdgeKind.UPSERT and before != after else ()


def told_stages(graph: TaskGraph) -> list[dict[str, Any]]:
    """Return each stage in plain values: its tasks, its nodes in order, and those of them that are one statement."""
    return [
        {
            "tasks": stage.parallelism,
            "nodes": list(dict.fromkeys(n for o in stage.operators for n in o.nodes)),
            "statements": [list(o.nodes) for o in stage.operators if o.role is Role.CHAIN],
        }
        for stage in graph.stages
    ]


def eased_stages(plan: Plan, graph: TaskGraph) -> list[int]:
    """Return the stages in which rows may have to wait."""
    eased = [n.id for n in plan.nodes if any(port.get("eased") for port in n.traits.get("ports", ()))]
    return [graph.stage_of(node).index for node in eased]


def source_stages(graph: TaskGraph) -> list[Stage]:
    """Return the stages that read a source."""
    return [s for s in graph.stages if s.source is not None]


__all__ = [
    "Exchange",
    "Link",
    "Operator",
    "Role",
    "Routing",
    "Stage",
    "TaskGraph",
    "eased_stages",
    "source_stages",
    "task_graph",
    "told_stages",
]
