"""Verifies a destination: both sides go through the real engine, into a comparison instead of a table."""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from dataflare.batch import RESERVED
from dataflare.clock import wait_blocking
from dataflare.component import Config, DestinationConnector, destination, source, state_store
from dataflare.errors import WorkflowError
from dataflare.executor.contract import RunContext, executor
from dataflare.executor.runtime import LocalRuntime
from dataflare.operate.verifying.comparison import SOURCE, WRITTEN, Comparison
from dataflare.operate.verifying.report import Report
from dataflare.plan import Action, Edge, Mechanism, Node, NodeKind, Output, Plan
from dataflare.schema import Schema

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from dataflare.batch import Batch
    from dataflare.component import Registry

_TAKER = "verification"
_BACK = "written"
WHOLE = "full"
"""The mode in which sources are read."""


@dataclass(frozen=True, slots=True)
class Options:
    """What is compared, and how often.

    `key`: columns, by default the key of the destination. `columns`: those that are compared (default: all that are
    written) but `leave_out`. `where`: an SQL condition on these columns. `share`: of the keys. `looks`: how often keys
    that differ are looked at; `pause_seconds` between looks, in which rows that are on their way may arrive.
    """

    key: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    leave_out: tuple[str, ...] = ()
    where: str = ""
    share: float = 1.0
    examples: int = 20
    looks: int = 2
    pause_seconds: float = 0.0


def verify(
    plan: Plan,
    registry: Registry,
    name: str,
    options: Options,
    resolve: Callable[[Mapping[str, Any]], Mapping[str, Any]] = dict,
) -> Report:
    """Read what a workflow would write and what is written, and compare; blocking, never on an event loop.

    `plan` reads its sources as a whole. Rows that differ are read again, `options.looks` - 1 times at most; only what
    differs each time counts. Raises WorkflowError where the destination cannot be read back, and the errors of runs.
    """
    node = _destination(plan, name)
    schema = _compared(plan, node, options)
    key = options.key or tuple(node.traits.get("key") or ())
    back = _read_back(plan, registry, node, schema)
    with tempfile.TemporaryDirectory(prefix="dataflare-verify-") as folder:
        comparison = Comparison(schema, key, Path(folder), plan.settings.memory_bytes_max // 2)
        try:
            comparison.narrow(options.where, options.share)
            sides = {SOURCE: _up_to(plan, node), WRITTEN: back}
            looks = _Looks(sides, comparison, registry, resolve)
            return looks.report(plan.workflow, name, options)
        finally:
            comparison.close()


class _Looks:
    def __init__(self, sides: Mapping[str, Plan], comparison: Comparison, registry: Registry, resolve: Any) -> None:
        self._sides, self._comparison, self._registry, self._resolve = sides, comparison, registry, resolve

    def report(self, workflow: str, name: str, options: Options) -> Report:
        comparison = self._comparison
        self._look()
        counts, settled, looks = comparison.counts(), 0, 1
        while counts and looks < options.looks:
            if options.pause_seconds:
                wait_blocking(options.pause_seconds)
            comparison.look_again()
            self._look()
            settled += comparison.settle()
            looks += 1
            counts = comparison.differences()
        examples = comparison.examples(options.examples) if counts else []
        return Report(
            workflow,
            name,
            comparison.key,
            tuple(comparison.columns),
            comparison.side(SOURCE),
            comparison.side(WRITTEN),
            counts,
            settled,
            looks,
            tuple(examples),
        )

    def _look(self) -> None:
        for side, plan in self._sides.items():
            taker = type("Taker", (_Taker,), {"comparison": self._comparison, "side": side, "__doc__": _Taker.__doc__})
            kind = destination(_TAKER, mechanisms=(Mechanism.TWO_PHASE,), parallel=True)(taker)
            asyncio.run(self._run(plan, self._registry.including(kind)))

    async def _run(self, plan: Plan, registry: Registry) -> None:
        kind = registry.find(state_store, "memory")
        store = kind(kind.spec.config())
        store.open()
        runtime = LocalRuntime()
        try:
            chosen = registry.find(executor, "local")(Config())
            outcome = await chosen.execute(plan, RunContext(registry, runtime, store, resolve=self._resolve))
        finally:
            await asyncio.to_thread(runtime.close)
            store.close()
        if outcome.error is not None:
            raise outcome.error
        if outcome.status != "succeeded":
            raise KeyboardInterrupt


class _Taker(DestinationConnector[Config]):
    """Hands rows to a comparison."""

    comparison: ClassVar[Comparison]
    side: ClassVar[str]

    def write(self, batch: Batch) -> None:
        """Take the rows."""
        self.comparison.take(self.side, batch.rows)


def _destination(plan: Plan, name: str) -> Node:
    known = {n.id: n for n in plan.of_kind(NodeKind.DESTINATION)}
    if name not in known:
        raise WorkflowError(f"there is no destination {name!r}", hint=f"there are: {', '.join(known)}")
    return known[name]


def _compared(plan: Plan, node: Node, options: Options) -> Schema:
    """Return the columns that are compared."""
    outputs = plan.input_outputs(node.id)
    names = [n for n in outputs[0].schema.names if all(n in o.schema for o in outputs) and n not in RESERVED]
    unknown = [n for n in (*options.columns, *options.leave_out) if n not in names]
    if unknown:
        what = f"{node.id} gets no column {unknown[0]}"
        raise WorkflowError(what, hint=f"it gets {', '.join(names)}")
    wanted = [n for n in options.columns or names if n not in options.leave_out]
    columns = [n for n in names if n in wanted or n in (options.key or node.traits.get("key") or ())]
    return Schema(tuple(replace(outputs[0].schema[n], nullable=True) for n in columns))


def _taker(name: str) -> Node:
    traits = {"write_mode": "append", "key": [], "mechanism": Mechanism.TWO_PHASE.value}
    return Node(name, NodeKind.DESTINATION, _TAKER, {}, traits=traits)


def _up_to(plan: Plan, node: Node) -> Plan:
    """Return the plan with the comparison in the place of a destination, and without the others."""
    edges = [e for e in plan.edges if e.target == node.id]
    needed = {e.source for e in edges}
    while more := {e.source for e in plan.edges if e.target in needed} - needed:
        needed |= more
    edges = [e for e in plan.edges if e.target in needed] + edges
    read = {(e.source, e.output) for e in edges}
    nodes = [_quiet(n, read) for n in plan.nodes if n.id in needed]
    return _bare(plan, (*nodes, _taker(node.id)), tuple(edges))


def _quiet(node: Node, read: set[tuple[str, str]]) -> Node:
    """Let a node leave out rejected rows that led elsewhere; rows come as tables."""
    traits = {k: v for k, v in node.traits.items() if k not in ("codec", "unjudged")}
    skips = node.on_error.action is Action.DEAD_LETTER and (node.id, "errors") not in read
    on_error = replace(node.on_error, action=Action.SKIP) if skips else node.on_error
    return replace(node, traits=traits, on_error=on_error)


def _read_back(plan: Plan, registry: Registry, node: Node, schema: Schema) -> Plan:
    kind = registry.find(destination, node.type)
    found = kind.read_back(node.config, schema)
    if found is None:
        what = f"{node.id}: what a destination of type {node.type} has written cannot be read back"
        raise WorkflowError(what, hint="databases and files can be verified")
    type_, config = found
    registry.find(source, type_)
    traits = {"mode": WHOLE, "columns": schema.names}
    back = Node(_BACK, NodeKind.SOURCE, type_, config, (Output("", schema),), traits=traits)
    return _bare(plan, (back, _taker(node.id)), (Edge(_BACK, "", node.id),))


def _bare(plan: Plan, nodes: tuple[Node, ...], edges: tuple[Edge, ...]) -> Plan:
    settings = replace(plan.settings, restart={**plan.settings.restart, "attempts": 0}, state={"type": "memory"})
    return replace(plan, nodes=nodes, edges=edges, guarantees={}, settings=settings, schedule={})


__all__ = ["Options", "verify"]
