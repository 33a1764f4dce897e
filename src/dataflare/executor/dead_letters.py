"""Gives rejected rows that lead nowhere a place in the folder of the state, so that none is lost."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from dataflare.component import destination
from dataflare.executor.surroundings import StateOf
from dataflare.plan import Action, Edge, Mechanism, Node, NodeKind, Plan

if TYPE_CHECKING:
    from pathlib import Path

    from dataflare.component import Registry

TYPE = "dead_letters"
ERRORS = "errors"
FOLDER = "dead-letters"


def letters_folder(where: StateOf) -> Path | None:
    """Return the folder of the rejected rows of a workflow; None where the state is in no folder."""
    return (where.folder / FOLDER / where.workflow).absolute() if where.folder is not None else None


def with_dead_letters(plan: Plan, registry: Registry) -> Plan:
    """Return the plan with a destination for the rejected rows that lead nowhere; as it is where there are none.

    Destinations of that type that the workflow has are told their folder.
    """
    folder = letters_folder(StateOf.of_plan(plan))
    if folder is None or TYPE not in registry.names(destination):
        return plan
    nodes = [_placed(n, folder) for n in plan.nodes]
    edges = [*plan.edges]
    taken = {e.source for e in edges if e.output == ERRORS}
    lost = [n for n in plan.nodes if n.on_error.action is Action.DEAD_LETTER and n.id not in taken and _has_errors(n)]
    if lost:
        name = TYPE
        while any(n.id == name for n in plan.nodes):
            name += "_"
        hidden = [n.id for n in lost if any(c.tags for c in n.output(ERRORS).schema)]
        traits = {"write_mode": "append", "key": [], "mechanism": Mechanism.TWO_PHASE.value}
        config = {"path": str(folder), "hidden": hidden}
        nodes.append(Node(name, NodeKind.DESTINATION, TYPE, config, traits=traits))
        edges += [Edge(n.id, ERRORS, name, port) for port, n in enumerate(lost)]
    return replace(plan, nodes=tuple(nodes), edges=tuple(edges))


def _placed(node: Node, folder: Path) -> Node:
    if node.type != TYPE or node.kind is not NodeKind.DESTINATION or node.config.get("path"):
        return node
    return replace(node, config={**node.config, "path": str(folder)})


def _has_errors(node: Node) -> bool:
    return node.kind is not NodeKind.DESTINATION and any(o.name == ERRORS for o in node.outputs)


__all__ = ["letters_folder", "with_dead_letters"]
