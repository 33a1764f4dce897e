"""Shows the first rows that come out of nodes or into destinations: nothing is written, and no state is kept."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar

from dataflare.component import Config, DestinationConnector, destination
from dataflare.errors import InvalidWorkflowError, WorkflowError
from dataflare.executor.runtime import LocalRuntime
from dataflare.executor.sampling import ROWS_MAX, Sampling, without_destinations
from dataflare.plan import Edge, Mechanism, Node, NodeKind, Plan
from dataflare.security.veil import veiled

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import pyarrow as pa

    from dataflare.batch import Batch
    from dataflare.component import Registry
    from dataflare.errors import Finding

_WATCH = "preview"


@dataclass(slots=True)
class Preview:
    """The first rows by the name that was asked for, tagged values hidden, and what went wrong on the way.

    `left_out` are sources that cannot be looked into without taking rows away, or waiting for them.
    """

    rows: dict[str, pa.Table] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


def preview_rows(
    plan: Plan,
    registry: Registry,
    names: Sequence[str],
    rows: int,
    resolve: Callable[[Mapping[str, Any]], Mapping[str, Any]] = dict,
) -> Preview:
    """Read the first thousand rows of each source (of those behind lookups, far more); return `rows` of each name.

    A name is a node, `node.output` or a destination. Blocking; never on an event loop. Raises WorkflowError for a name
    that is not there.
    """
    watched = {name: _edges(plan, name) for name in names}
    kept: dict[str, list[pa.Table]] = {name: [] for name in names}
    watch = type("Watch", (_Watch,), {"kept": kept, "rows_max": rows, "__doc__": _Watch.__doc__})
    cut = _whole(_cut(plan, watched), {node for outputs in watched.values() for node, _ in outputs})
    runtime = LocalRuntime()
    try:
        known = registry.including(destination(_WATCH, mechanisms=(Mechanism.TWO_PHASE,))(watch))
        sample = asyncio.run(Sampling(cut, known, resolve, runtime).run(max(rows, ROWS_MAX)))
    finally:
        runtime.close()
    found = {name: _shown(plan, watched[name], tables, rows) for name, tables in kept.items()}
    return Preview(found, sample.findings, sample.left_out)


def _whole(plan: Plan, names: set[str]) -> Plan:
    """Return a plan in which sources of these names leave out no row, though a filter behind them would."""
    apart = ("predicate", "limit")
    nodes = (
        replace(n, traits={k: v for k, v in n.traits.items() if k not in apart}) if n.id in names else n
        for n in plan.nodes
    )
    return replace(plan, nodes=tuple(nodes))


def first_rows(plan: Plan, registry: Registry, name: str, rows: int, resolve: Any = dict) -> pa.Table:
    """Return the first rows at one name; raise InvalidWorkflowError with all that went wrong."""
    preview = preview_rows(plan, registry, [name], rows, resolve)
    if preview.left_out:
        what = f"{', '.join(preview.left_out)} cannot be looked into without taking rows away, or waiting for them"
        raise WorkflowError(what, hint="preview a node behind other sources, or run the workflow")
    if any(f.severity == "error" for f in preview.findings):
        raise InvalidWorkflowError(preview.findings)
    return preview.rows[name]


class _Watch(DestinationConnector[Config]):
    """Keeps the first rows that come."""

    kept: ClassVar[dict[str, list[Any]]]
    rows_max: ClassVar[int]

    def write(self, batch: Batch) -> None:
        """Keep what is still wanted."""
        tables = self.kept[self.context.node.removeprefix(_PREFIX)]
        wanted = self.rows_max - sum(t.num_rows for t in tables)
        if wanted > 0:
            tables.append(batch.rows.slice(0, wanted))


_PREFIX = "preview of "


def _edges(plan: Plan, name: str) -> list[tuple[str, str]]:
    """Return the outputs that are meant by a name."""
    nodes = {node.id: node for node in plan.nodes}
    owner, _, output = name.partition(".")
    node = nodes.get(owner)
    if node is not None and node.kind is NodeKind.DESTINATION and not output:
        return [(e.source, e.output) for e in plan.inputs_of(owner)]
    if node is None or node.kind is NodeKind.DESTINATION:
        raise WorkflowError(f"there is no node {owner!r}", hint=f"there are: {', '.join(nodes)}")
    outputs = [o.name for o in node.outputs]
    plain = [o for o in outputs if o != "errors"]
    meant = [o for o in outputs if o == output] or [o for o in plain if output and o.endswith(f".{output}")]
    if not output and not meant and len(plain) == 1:
        meant = plain
    if len(meant) != 1:
        listed = ", ".join(f"{owner}.{o}" if o else owner for o in outputs)
        raise WorkflowError(f"{name!r} does not name one output of {owner!r}", hint=f"name one of {listed}")
    return [(owner, meant[0])]


def _cut(plan: Plan, watched: Mapping[str, Sequence[tuple[str, str]]]) -> Plan:
    """Return the plan up to what is watched."""
    bare = without_destinations(plan)
    needed = {node for outputs in watched.values() for node, _ in outputs}
    while more := {e.source for e in bare.edges if e.target in needed} - needed:
        needed |= more
    traits = {"write_mode": "append", "key": [], "mechanism": Mechanism.TWO_PHASE.value}
    ends = [Node(_PREFIX + name, NodeKind.DESTINATION, _WATCH, {}, traits=traits) for name in watched]
    edges = [e for e in bare.edges if e.target in needed]
    for name, outputs in watched.items():
        edges += [Edge(node, output, _PREFIX + name, port) for port, (node, output) in enumerate(outputs)]
    nodes = (*(n for n in bare.nodes if n.id in needed), *ends)
    return replace(bare, nodes=nodes, edges=tuple(edges))


def _shown(plan: Plan, outputs: Sequence[tuple[str, str]], tables: list[pa.Table], rows: int) -> pa.Table:
    import pyarrow as pa

    schemas = [plan.node(node).output(output).schema for node, output in outputs]
    hidden = [_veiled(table, schemas) for table in tables]
    empty = [schemas[0].to_arrow().empty_table()] if not hidden else []
    return pa.concat_tables([*hidden, *empty], promote_options="permissive").slice(0, rows)


def _veiled(rows: pa.Table, schemas: Sequence[Any]) -> pa.Table:
    """Hide what any of the outputs that these rows may come from has tagged."""
    for schema in schemas:
        if set(schema.names) == set(rows.schema.names) or len(schemas) == 1:
            rows = veiled(rows, schema)
    return rows


__all__ = ["Preview", "first_rows", "preview_rows"]
