"""Goes on under another plan where columns have changed: what is remembered of columns, and the plan made anew.

The state holds what the last plan that was opened knew of columns (`workflow.evolving` has its form). It is written
once all destinations are open, so whoever is killed before that finds the same changes again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dataflare.errors import ExternalError, WorkflowError
from dataflare.executor.dead_letters import with_dead_letters
from dataflare.monitoring.events import Noticed
from dataflare.plan import NodeKind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dataflare.executor.contract import RunContext
    from dataflare.plan import Plan
    from dataflare.state.checkpoint import CheckpointManager

COLUMNS = "columns"
"""The key of the record in the state."""


def memory_of(plan: Plan) -> dict[str, Any]:
    """Return what is to be remembered of columns and tables of a plan; nothing where none of its sources may change."""
    sources = {n.id: n.traits["known"] for n in plan.of_kind(NodeKind.SOURCE) if "known" in n.traits}
    reached = {n.id: n.traits["reached"] for n in plan.of_kind(NodeKind.DESTINATION) if "reached" in n.traits}
    tables = {n.id: n.traits["tables"] for n in plan.of_kind(NodeKind.SOURCE) if "tables" in n.traits}
    known = {"sources": sources, "destinations": reached} if sources else {}
    return {**known, **({"tables": tables} if tables else {})}


def remembered(checkpoints: CheckpointManager) -> dict[str, Any] | None:
    """Return what the state holds; None where no plan with such sources was ever opened."""
    return checkpoints.records.get(COLUMNS)


def remember(checkpoints: CheckpointManager, plan: Plan) -> None:
    """Write what is to be remembered, if it is not there already. All destinations have followed."""
    memory = memory_of(plan)
    if remembered(checkpoints) != memory:
        checkpoints.records.put(COLUMNS, memory)


def evolved(plan: Plan, context: RunContext, checkpoints: CheckpointManager, *, changed: bool) -> Plan:
    """Return the plan by which an attempt runs: this one, unless columns are not as they were; tells what changed.

    `changed`: a source has said so in the attempt before. Raises InvalidWorkflowError where the workflow does not go
    with the columns that there are now, ExternalError where they are as planned after all, which is tried again.
    """
    memory = memory_of(plan) if context.replay is None else {}
    before = remembered(checkpoints) if memory else None
    if not changed and before in (None, memory):
        _tell(plan, context)  # of tables that cannot be read
        return plan
    if context.replan is None:
        raise WorkflowError("columns of a source have changed since the workflow was planned", hint="run it again")
    found = with_dead_letters(context.replan(before or {}), context.registry)
    if changed and memory_of(found) == memory:
        raise ExternalError("columns of a source have changed, and back again")
    _tell(found, context)
    return found


def _tell(plan: Plan, context: RunContext) -> None:
    for node in plan.of_kind(NodeKind.SOURCE):
        for text in node.traits.get("changed", ()):
            context.runtime.emit(Noticed(plan.workflow, "schema.changed", text, node.id))


def known_columns(traits: Mapping[str, Any]) -> dict[str, Any]:
    """Return the columns that a source was planned with, by stream."""
    if "known" not in traits:
        return {}
    from dataflare.component.known import KnownColumn

    return {name: tuple(KnownColumn.from_json(c) for c in columns) for name, columns in traits["known"].items()}


__all__ = ["evolved", "known_columns", "memory_of", "remember", "remembered"]
