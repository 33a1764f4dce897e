"""Which sources wait for which: rows that a node wants first, such as those of a lookup, are read before the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dataflare.plan import NodeKind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dataflare.plan import Plan

BOUNDED = frozenset({"full", "incremental"})


def turns(plan: Plan) -> dict[str, set[str]]:
    """Return the sources that each source waits for; those that wait for none are left out.

    A source that feeds both sides of a node waits for nobody there, nor does anybody wait for one that never ends, and
    no two wait for each other: the node holds the rows that come early.
    """
    behind = _sources(plan)
    waits: dict[str, set[str]] = {}
    for node in plan.topological():
        ports = node.traits.get("ports", ())
        sides: dict[bool, set[str]] = {True: set(), False: set()}
        for edge in plan.inputs_of(node.id) if ports else ():
            sides[bool(ports[edge.port]["first"])] |= behind[edge.source]
        for late in sorted(sides[False] - sides[True]):
            for early in sorted(sides[True]):
                if plan.node(early).traits.get("mode", "full") in BOUNDED and late not in _all_before(early, waits):
                    waits.setdefault(late, set()).add(early)
    return waits


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


__all__ = ["turns"]
