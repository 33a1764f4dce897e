"""Compares what left with what came, by the hashes of rows, before an epoch is sealed (invariant 5)."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from dataflare.executor.graph import Routing
from dataflare.plan import Edge
from dataflare.state.ledger import BESIDE, RowSum, add_ends, check_sums

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from dataflare.executor.graph import Exchange, Link, Operator, TaskGraph
    from dataflare.executor.report import Report
    from dataflare.plan import Plan
    from dataflare.state.ledger import Counts, Ends

ERRORS = "errors"
_NOTHING = (RowSum(), RowSum())


def gathered_sums(reports: Iterable[Report]) -> Ends:
    """Return the sums of all tasks at both ends of each edge."""
    ends: Ends = {}
    for report in reports:
        add_ends(ends, report.sums)
    return ends


def compare_sums(plan: Plan, graph: TaskGraph, epoch: int, counts: Counts, ends: Ends) -> None:
    """Raise AlteredError where an edge, or a node that passes rows on as they came, gave others than it was given."""
    for edge, (left, came) in ends.items():
        check_sums(f"edge {edge}", epoch, left, came)
    for stage in graph.stages if ends else ():
        for operator in stage.operators:
            _compare_node(plan, graph, operator, epoch, (counts, ends))


def _compare_node(plan: Plan, graph: TaskGraph, operator: Operator, epoch: int, told: tuple[Counts, Ends]) -> None:
    counts, ends = told
    kinds = {k for node in operator.nodes for k, rows in counts.get(node, {}).items() if rows}
    if any(k not in ("in", "out") and not k.startswith(BESIDE) for k in kinds):
        return
    if not all(plan.node(node).traits.get("keeps_rows") for node in operator.nodes):
        return
    before, behind = _edges(graph, operator)
    node = plan.node(operator.nodes[-1])
    one_edge = {way.output: _name(way) for way in behind}
    if one_edge.keys() != {o.name for o in node.outputs if o.name != ERRORS}:
        return  # rows of an output that leads nowhere are not hashed
    came = sum((ends.get(edge, _NOTHING)[1] for edge in {_name(way) for way in before}), RowSum())
    went = sum((ends.get(edge, _NOTHING)[0] for edge in one_edge.values()), RowSum())
    check_sums(f"node {node.id}, which passes rows on as they come", epoch, came, went)


def _edges(graph: TaskGraph, operator: Operator) -> tuple[list[Link | Exchange], list[Link | Exchange]]:
    """Return the edges into an operator, and those out of it; none out of it whose rows leave several times."""
    ways: list[Link | Exchange] = [*graph.exchanges, *(link for stage in graph.stages for link in stage.links)]
    names = Counter(_name(way) for way in ways)
    behind = [way for way in ways if way.node == operator.nodes[-1] and way.output != ERRORS]
    once = [way for way in behind if names[_name(way)] == 1 and getattr(way, "routing", None) is not Routing.BROADCAST]
    return [way for way in ways if way.operator == operator.id], once


def _name(way: Link | Exchange) -> str:
    return str(Edge(way.node, way.output, way.operator))


def told_edges(ends: Ends, before: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return rows and hash of each edge in plain values, in the epoch and since the beginning of the run."""
    told = {}
    for edge in dict.fromkeys([*before, *ends]):
        here = ends.get(edge, _NOTHING)[0]
        total = RowSum.told(before[edge], "_total") + here if edge in before else here
        told[edge] = {**here.as_json(), **total.as_json("_total")}
    return told


__all__ = ["compare_sums", "gathered_sums", "told_edges"]
