"""Takes in the code of nodes as their files hold it now, while the workflow runs: the plan of the next attempt.

A run looks between two epochs. What it finds is planned, and tried with the state of the last epoch, before the
attempt ends: new code that is wrong keeps the old one running, and is told of once.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, cast

from dataflare.errors import DataFlareError, InvalidWorkflowError, WorkflowError
from dataflare.executor.dead_letters import with_dead_letters
from dataflare.executor.evolving import remembered
from dataflare.executor.reloading import Reloaded
from dataflare.executor.segments import TaskSegments
from dataflare.executor.snapshots import load_states
from dataflare.monitoring.events import Noticed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dataflare.component import Processor
    from dataflare.executor.job import Job
    from dataflare.plan import Node, Plan
    from dataflare.state.checkpoint import Proposal

CODE = "code"
"""The trait that tells the code of a node apart, where it may change."""


@dataclass(slots=True)
class CodeWatch:
    """Looks at the code of the nodes that may change. `refused`: what was found and did not do, by node."""

    refused: Mapping[str, str] = field(default_factory=dict)

    def look(self, job: Job, context: Any, base: Proposal) -> Reloaded | None:
        """Return the plan with the code that there is now; None where it is as it was, or does not do. Blocking."""
        nodes = coded(job.plan)
        changed = {n.id: code for n in nodes if (code := self._now(job, n)) not in ("", n.traits[CODE])}
        if not changed or changed == self.refused or context.replan is None:
            return None
        names = ", ".join(changed)
        try:
            found = self._planned(job, context, base)
        except DataFlareError as error:
            self.refused = changed
            told = _first(error)
            self._tell(job, "refused", names, f"the new code of {names} does not do, and the old one runs on: {told}")
            return None
        self._tell(job, "taken", names, f"the new code of {names} is taken in behind epoch {base.epoch}")
        return found

    @staticmethod
    def _now(job: Job, node: Node) -> str:
        """Return what the file of a node holds now; "" where there is none for a moment."""
        try:
            return cast("Processor[Any]", job.component(node, 0, 1, lambda: 0)).code()
        except DataFlareError:
            return ""

    def _planned(self, job: Job, context: Any, base: Proposal) -> Reloaded:
        written = context.replan(remembered(job.checkpoints) or {})
        found = with_dead_letters(written, context.registry)
        if without_code(found) != without_code(job.plan):
            raise WorkflowError(
                "its columns or its state are others than planned", hint="stop the workflow, and run it again"
            )
        self._try(replace(job, plan=found), base)
        return Reloaded(found, written, context)

    @staticmethod
    def _try(job: Job, base: Proposal) -> None:
        """Give the state that is all in one place to the new code; raise DataFlareError where it does not take it."""
        for node in coded(job.plan):
            together = any(port.get("together") for port in node.traits.get("ports", ()))
            if not together or node.id not in base.state:
                continue
            component = cast("Processor[Any]", job.component(node, 0, 1, lambda: base.epoch_time))
            segments = TaskSegments(job.checkpoints, node.id, 0)
            component.context = replace(component.context, segments=segments)
            states = load_states(job.checkpoints, {node.id: base.state[node.id]}, component.context.key_groups)
            try:
                component.open()
                component.restore(states.get(node.id, {}))
            finally:
                component.close()

    @staticmethod
    def _tell(job: Job, what: str, nodes: str, text: str) -> None:
        job.runtime.emit(Noticed(job.plan.workflow, f"code.{what}", text, nodes))


def coded(plan: Plan) -> list[Node]:
    """Return the nodes whose code may change while they run."""
    return [node for node in plan.nodes if CODE in node.traits]


def without_code(plan: Plan) -> Plan:
    """Return the plan, whatever the code of its nodes."""
    nodes = (replace(n, traits={k: v for k, v in n.traits.items() if k != CODE}) for n in plan.nodes)
    return replace(plan, nodes=tuple(nodes))


def _first(error: DataFlareError) -> str:
    if isinstance(error, InvalidWorkflowError):
        found = next(f for f in error.findings if f.severity == "error")
        return f"{found.place}: {found.message}" if str(found.place) else found.message
    return str(error)


__all__ = ["CODE", "CodeWatch", "coded", "without_code"]
