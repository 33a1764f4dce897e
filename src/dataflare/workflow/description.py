"""Writes a plan as text for people: its nodes, what flows between them, and what it promises."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dataflare.plan import EdgeKind, NodeKind
from dataflare.sql.predicate import shown
from dataflare.workflow.wiring import ERRORS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from dataflare.plan import Node, Output, Plan
    from dataflare.schema import Column

_COLUMNS_SHOWN = 8


def describe(plan: Plan, stages: Iterable[Sequence[str]] = ()) -> str:
    """Return tables of nodes, columns, stages and guarantees; settings and secrets are not in them.

    `stages` are rows of (tasks, nodes, what is one statement), as the executor will run it.
    """
    title = f"workflow {plan.workflow}{f' {plan.version}' if plan.version else ''}"
    parts = [title, "", *_table(("node", "is", "type", "reads", "puts out"), list(_nodes(plan)))]
    for node in plan.topological():
        for output in node.outputs:
            if len(output.schema.columns) > _COLUMNS_SHOWN:
                name = f"{node.id}{'.' if output.name else ''}{output.name}"
                columns = [(c.name, c.type, "" if c.nullable else "not null", _tags(c)) for c in output.schema]
                parts += ["", *_table((f"column of {name}", "type", "null", "tags"), columns)]
    if read_less := list(_pushed_down(plan)):
        parts += ["", *_table(("source", "reads only"), read_less)]
    if granted := [(n.id, what) for n in plan.topological() for what in n.traits.get("granted", ())]:
        parts += ["", *_table(("plugin of", "is granted"), granted)]
    if together := [tuple(row) for row in stages]:
        parts += ["", *_table(("tasks", "run together", "one statement"), together)]
    if plan.guarantees:
        rows = [(n, g.level.value, g.mechanism.value, g.reason) for n, g in plan.guarantees.items()]
        parts += ["", *_table(("destination", "guarantee", "mechanism", "because"), rows)]
    return "\n".join(parts) + "\n"


def described(column: Column) -> str:
    """Return a column in words, such as `email string not null #pii.email`."""
    words = [column.name, column.type, "" if column.nullable else "not null", _tags(column)]
    return " ".join(filter(None, words))


def _tags(column: Column) -> str:
    return " ".join(f"#{t}" for t in column.tags)


def _pushed_down(plan: Plan) -> Iterator[tuple[str, str]]:
    """Yield what sources are asked to leave out."""
    for node in plan.of_kind(NodeKind.SOURCE):
        asked = []
        if node.traits.get("columns") is not None:
            asked.append(f"columns {', '.join(node.traits['columns'])}")
        if node.traits.get("predicate"):
            asked.append(f"rows where {shown(node.traits['predicate'])}")
        if node.traits.get("limit") is not None:
            asked.append(f"the first {node.traits['limit']:,} rows of each split")
        if asked:
            yield node.id, "; ".join(asked)


def _nodes(plan: Plan) -> Iterator[tuple[str, ...]]:
    for node in plan.topological():
        reads = ", ".join(f"{e.source}{'.' if e.output else ''}{e.output}" for e in plan.inputs_of(node.id))
        outputs = [_output(o) for o in node.outputs] or [_write(node)]
        yield node.id, _what(node), node.type, reads or "-", outputs[0]
        for output in outputs[1:]:
            yield "", "", "", "", output


def _what(node: Node) -> str:
    return f"{node.kind.value} ({node.traits.get('mode', 'full')})" if node.kind is NodeKind.SOURCE else node.kind.value


def _write(node: Node) -> str:
    key = ", ".join(node.traits.get("key", ()))
    passes = f", passes {node.traits['codec']} through" if "codec" in node.traits else ""
    if "unjudged" in node.traits:
        passes = f", {node.traits['unjudged']} is read by the node behind it"
    return f"{node.traits.get('write_mode', '')}{f' by {key}' if key else ''}{passes}" or "-"


def _output(output: Output) -> str:
    columns = [described(c) for c in output.schema]
    more = len(columns) - _COLUMNS_SHOWN
    shown = ", ".join(columns[:_COLUMNS_SHOWN]) + (f", and {more} more" if more > 0 else "")
    key = f" by {', '.join(output.key)}" if output.key and output.kind is not EdgeKind.APPEND else ""
    name = f".{output.name} " if output.name else ""
    kind = f" [{output.kind.value}{key}]" if output.name != ERRORS else ""
    return f"{name}{shown or '?'}{kind}"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(r[i]) for r in [heads, *rows]) for i in range(len(heads))]
    lines = [heads, ["-" * w for w in widths], *rows]
    return ["  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip() for line in lines]
