"""Takes in the text of a workflow as it is now, while it runs: the plan by which the next attempt goes on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from dataflare.errors import InvalidWorkflowError, WorkflowError
from dataflare.executor.dead_letters import with_dead_letters
from dataflare.executor.evolving import remembered
from dataflare.plan import NodeKind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dataflare.executor.contract import RunContext
    from dataflare.plan import Plan
    from dataflare.state.checkpoint import CheckpointManager

TABLES = ("table", "tables")
"""The settings that name tables."""


@dataclass(frozen=True, slots=True)
class Reloaded:
    """Another plan, and surroundings whose `replan` is of its text from now on.

    `written` is the plan without what every run adds.
    """

    plan: Plan
    written: Plan
    context: RunContext


def reloaded(plan: Plan, context: RunContext, checkpoints: CheckpointManager) -> Reloaded:
    """Plan the workflow anew, from its text as it is now. Blocking.

    Raises WorkflowError where the text is wrong, or differs in what a run cannot change on its way.
    """
    if context.reload is None or context.replay is not None:
        raise WorkflowError(
            f"this run of {plan.workflow} goes on by the text that it began with", hint="stop it, and run it again"
        )
    try:
        replan = context.reload()
        written = replan(remembered(checkpoints) or {})
    except InvalidWorkflowError as error:
        first = next(f for f in error.findings if f.severity == "error")
        raise WorkflowError(first.message, hint=first.hint, place=first.place) from error
    found = with_dead_letters(written, context.registry)
    for name, before, now in (
        ("id", plan.workflow, found.workflow),
        ("runtime", plan.settings, found.settings),
        ("secrets", plan.secrets, found.secrets),
    ):
        if before != now:
            raise WorkflowError(
                f"{name} of the file is not what it was when {plan.workflow} began to run, which a run cannot follow",
                hint="put it back as it was; or stop the workflow, and run it again",
            )
    return Reloaded(found, written, replace(context, replan=replan))


def followed(plan: Plan) -> dict[str, Any]:
    """Return the outputs of sources, as inputs call them, and what the settings of each source say of its tables."""
    told = {
        node.id: {name: node.config[name] for name in TABLES if node.config.get(name)}
        for node in plan.of_kind(NodeKind.SOURCE)
    }
    return {"outputs": list(_outputs(plan)), "sources": told}


def _outputs(plan: Plan) -> Iterator[str]:
    for node in plan.of_kind(NodeKind.SOURCE):
        for output in node.outputs:
            if output.name != "errors":
                yield f"{node.id}.{output.name}" if output.name else node.id


__all__ = ["TABLES", "Reloaded", "followed", "reloaded"]
