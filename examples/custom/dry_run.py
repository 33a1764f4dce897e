"""An executor in fifteen lines: says what would run and touches nothing."""

from dataflare import Config, Plan
from dataflare.executor.contract import Outcome, RunContext, WorkflowExecutor, executor
from dataflare.monitoring.events import Noticed


@executor("dry_run", examples=[{}])
class DryRun(WorkflowExecutor[Config]):
    """Describes every node of the plan and touches nothing."""

    async def execute(self, plan: Plan, context: RunContext) -> Outcome:
        for node in plan.topological():
            schema = ", ".join(str(output.schema) for output in node.outputs)
            context.runtime.emit(Noticed(plan.workflow, "dry_run", f"{node.type}: {schema}", node.id))
        return Outcome("succeeded")
