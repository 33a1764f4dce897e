"""Which sources wait for which: rows that a node wants first, such as those of a lookup, are read before the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dataflare.plan import NodeKind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dataflare.plan import Node, Plan

BOUNDED = frozenset({"full", "incremental"})


def turns(plan: Plan) -> dict[str, set[str]]:
    """Return the sources that each source waits for; those that wait for none are left out.

    A source that feeds both sides of a node waits for nobody there, nor does anybody wait for one that never ends, and
    no two wait for each other: the node holds the rows that come early.
    """
    waits: dict[str, set[str]] = {}
    for first, others in wanted_first(plan).values():
        for late in sorted(others - first):
            for early in sorted(first):
                if plan.node(early).traits.get("mode", "full") in BOUNDED and late not in _all_before(early, waits):
                    waits.setdefault(late, set()).add(early)
    return waits


def wanted_first(plan: Plan) -> dict[str, tuple[set[str], set[str]]]:
    """Return the sources behind the inputs that a node wants first, and those behind its others, by node.

    Nodes that want no input first are left out; they come in the order of the flow.
    """
    behind = _sources(plan)
    found: dict[str, tuple[set[str], set[str]]] = {}
    for node in plan.topological():
        first: set[str] = set()
        others: set[str] = set()
        for edge in plan.inputs_of(node.id):
            side = first if is_first(node, edge.port) else others
            side |= behind[edge.source]
        if first:
            found[node.id] = first, others
    return found


def is_first(node: Node, port: int) -> bool:
    """Tell whether a node wants the rows of an input before those of others."""
    ports = node.traits.get("ports", ())
    return bool(ports and ports[port]["first"])


def _sources(plan: Plan) -> Mapping[str, set[str]]:
    """Return the sources behind each node, itself where it is one."""
    found: dict[str, set[str]] = {}
    for node in plan.topological():
        before = (found[e.source] for e in plan.inputs_of(node.id))
        found[node.id] = {node.id} if node.kind is NodeKind.SOURCE else set().union(*before)
    return found


def _all_before(name: str, waits: Mapping[str, set[str]]) -> set[str]:
    found: set[str] = set()
    left = [name]
    while left:
        one = left.pop()
        if one not in found:
            found.add(one)
            left += waits.get(one, ())
    return found


__all__ = ["is_first", "turns", "wanted_first"]
