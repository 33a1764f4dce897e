"""The two sides of a verification as plans that the real engine runs: rows go to a taker instead of a table."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from dataflare.batch import RESERVED
from dataflare.component import Config, DestinationConnector, destination, source, state_store
from dataflare.errors import WorkflowError
from dataflare.executor.contract import RunContext, executor
from dataflare.executor.runtime import LocalRuntime
from dataflare.expression.check import Checker
from dataflare.expression.predicate import predicate_of
from dataflare.plan import Action, Edge, Mechanism, Node, NodeKind, Output, Plan
from dataflare.schema import Column, Schema

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import pyarrow as pa

    from dataflare.batch import Batch
    from dataflare.component import Registry
    from dataflare.sql.predicate import Form

_TAKER = "verification"
_BACK, _CURRENT = "written", "current"
READ_BACK = (_BACK, _CURRENT)
"""What nodes are called that stand for a destination that is read back."""
WHOLE = "full"
"""The mode in which sources are read."""


class Takes(Protocol):
    """Takes the rows of a side, from several threads."""

    def take(self, side: str, rows: pa.Table) -> None:
        """Take rows."""
        ...


@dataclass(frozen=True, slots=True)
class Engine:
    """What runs plans: components, and how references to secrets are resolved."""

    registry: Registry
    resolve: Callable[[Mapping[str, Any]], Mapping[str, Any]] = dict

    def read(self, plan: Plan, side: str, into: Takes) -> None:
        """Run a plan that ends in a taker; blocking, never on an event loop. Raises what the run raises."""
        taker = type("Taker", (_Taker,), {"into": into, "side": side, "__doc__": _Taker.__doc__})
        kind = destination(_TAKER, mechanisms=(Mechanism.TWO_PHASE,), parallel=True)(taker)
        asyncio.run(self._run(plan, self.registry.including(kind)))

    async def _run(self, plan: Plan, registry: Registry) -> None:
        kind = registry.find(state_store, "memory")
        store = kind(kind.spec.config())
        store.open()
        runtime = LocalRuntime()
        try:
            chosen = registry.find(executor, "local")(Config())
            outcome = await chosen.execute(plan, RunContext(registry, runtime, store, resolve=self.resolve))
        finally:
            await asyncio.to_thread(runtime.close)
            store.close()
        if outcome.error is not None:
            raise outcome.error
        if outcome.status != "succeeded":
            raise KeyboardInterrupt


class _Taker(DestinationConnector[Config]):
    """Hands rows to whoever compares."""

    into: ClassVar[Takes]
    side: ClassVar[str]

    def write(self, batch: Batch) -> None:
        """Take the rows."""
        self.into.take(self.side, batch.rows)


def destination_of(plan: Plan, name: str) -> Node:
    """Return a destination; raise WorkflowError for a name that is none."""
    known = {n.id: n for n in plan.of_kind(NodeKind.DESTINATION)}
    if name not in known:
        raise WorkflowError(f"there is no destination {name!r}", hint=f"there are: {', '.join(known)}")
    return known[name]


def compared_schema(
    plan: Plan, node: Node, chosen: Sequence[str], leave_out: Sequence[str], key: Sequence[str]
) -> Schema:
    """Return the columns that are compared: those that are chosen (all by default) but some, and the key."""
    outputs = plan.input_outputs(node.id)
    names = [n for n in outputs[0].schema.names if all(n in o.schema for o in outputs) and n not in RESERVED]
    unknown = [n for n in (*chosen, *leave_out) if n not in names]
    if unknown:
        what = f"{node.id} gets no column {unknown[0]}"
        raise WorkflowError(what, hint=f"it gets {', '.join(names)}")
    wanted = [n for n in chosen or names if n not in leave_out]
    columns = [n for n in names if n in wanted or n in key]
    return Schema(tuple(replace(outputs[0].schema[n], nullable=True) for n in columns))


def up_to(plan: Plan, node: Node) -> Plan:
    """Return the plan with a taker in the place of a destination, and without the others."""
    edges = [e for e in plan.edges if e.target == node.id]
    needed = {e.source for e in edges}
    while more := {e.source for e in plan.edges if e.target in needed} - needed:
        needed |= more
    edges = [e for e in plan.edges if e.target in needed] + edges
    read = {(e.source, e.output) for e in edges}
    nodes = [_quiet(n, read) for n in plan.nodes if n.id in needed]
    return _bare(plan, (*nodes, _taker(node.id)), tuple(edges))


def read_back(plan: Plan, registry: Registry, node: Node, schema: Schema) -> Plan:
    """Return the plan that reads what a destination has written; raise WorkflowError where nothing can."""
    kind = registry.find(destination, node.type)
    mode = node.traits.get("write_mode", "append")
    if mode == "append" and node.config.get("changes"):
        what = f"{node.id} keeps a log of changes, which is not compared with the rows of the source"
        raise WorkflowError(what, hint="verify a destination that applies the changes")
    current = kind.current_rows(node.config, mode)
    if current is not None:
        schema = Schema((*schema, *(Column(n, k) for n, k in current[1].items() if n not in schema)))
    found = kind.read_back(node.config, schema)
    if found is None:
        what = f"{node.id}: what a destination of type {node.type} has written cannot be read back"
        raise WorkflowError(what, hint="databases and files can be verified")
    type_, config = found
    registry.find(source, type_)
    outputs = (Output("", schema),)
    back = Node(_BACK, NodeKind.SOURCE, type_, config, outputs, traits={"mode": WHOLE, "columns": schema.names})
    if current is None:
        return _bare(plan, (back, _taker(node.id)), (Edge(_BACK, "", node.id),))
    told = {**back.traits, "predicate": form_of_condition(current[0], schema)}
    only = Node(_CURRENT, NodeKind.PROCESSOR, "filter", {"condition": current[0]}, outputs)
    edges = (Edge(_BACK, "", _CURRENT), Edge(_CURRENT, "", node.id))
    return _bare(plan, (replace(back, traits=told), only, _taker(node.id)), edges)


def only_source(plan: Plan) -> tuple[Node, str] | None:
    """Return the source of a side and its stream, where rows come from it as they are and from nowhere else.

    Where not all of its rows count, its `predicate` says which.
    """
    others = [n for n in plan.nodes if n.id != _CURRENT]
    edges = [e for e in plan.edges if e.source != _CURRENT]
    if len(others) != len(("source", "taker")) or len(edges) != 1:
        return None
    found = plan.node(edges[0].source)
    if len(others) < len(plan.nodes) and found.traits.get("predicate") is None:
        return None
    return found, edges[0].output


def hinted(plan: Plan, **hints: Any) -> Plan:
    """Return the plan of a side whose one source is told what is wanted; others are left as they are."""
    found = only_source(plan)
    if found is None:
        return plan
    hints["predicate"] = both(found[0].traits.get("predicate"), hints.get("predicate"))
    told = replace(found[0], traits={**found[0].traits, **{k: v for k, v in hints.items() if v is not None}})
    return replace(plan, nodes=tuple(told if n.id == told.id else n for n in plan.nodes))


def both(one: Form | None, other: Form | None) -> Form | None:
    """Return the form of two conditions together."""
    if one is None or other is None:
        return other if one is None else one
    return ["and", one, other]


def form_of_condition(condition: str, schema: Schema) -> Form | None:
    """Return a condition in a form that databases can be asked for; None where it has none."""
    if not condition:
        return None
    try:
        return predicate_of(Checker().tree(condition, schema.names), schema, lambda _, __: True)
    except WorkflowError:
        return None  # the engine tells what is wrong with it


def _taker(name: str) -> Node:
    traits = {"write_mode": "append", "key": [], "mechanism": Mechanism.TWO_PHASE.value}
    return Node(name, NodeKind.DESTINATION, _TAKER, {}, traits=traits)


def _quiet(node: Node, read: set[tuple[str, str]]) -> Node:
    """Let a node leave out rejected rows that led elsewhere; rows come as tables."""
    traits = {k: v for k, v in node.traits.items() if k not in ("codec", "unjudged")}
    skips = node.on_error.action is Action.DEAD_LETTER and (node.id, "errors") not in read
    on_error = replace(node.on_error, action=Action.SKIP) if skips else node.on_error
    return replace(node, traits=traits, on_error=on_error)


def _bare(plan: Plan, nodes: tuple[Node, ...], edges: tuple[Edge, ...]) -> Plan:
    settings = replace(plan.settings, restart={**plan.settings.restart, "attempts": 0}, state={"type": "memory"})
    return replace(plan, nodes=nodes, edges=edges, guarantees={}, settings=settings, schedule={})


__all__ = [
    "READ_BACK",
    "WHOLE",
    "Engine",
    "Takes",
    "both",
    "compared_schema",
    "destination_of",
    "form_of_condition",
    "hinted",
    "only_source",
    "read_back",
    "up_to",
]
