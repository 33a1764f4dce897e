"""What a command needs around a plan: the components, the plan of a file, where the state of a workflow is."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from dataflare.executor.surroundings import STATE, StateOf

if TYPE_CHECKING:
    from dataflare.component import Registry
    from dataflare.plan import Plan
    from dataflare.workflow import Written


def plan_of(
    file: Path | Written,
    registry: Registry,
    *,
    level: str = "sample",
    parallelism: int | None = None,
    state: Path | None = None,
) -> Plan:
    """Return the plan of a workflow file; raise InvalidWorkflowError with all findings.

    `parallelism` and `state`, the folder of the state, count more than what the file says.
    """
    from dataflare.workflow import plan_or_raise

    overrides: dict[str, object] = {} if parallelism is None else {"runtime.parallelism": parallelism}
    if state is not None:
        overrides["runtime.state.path"] = str(state.resolve())
    return plan_or_raise(file, registry=registry, environ=os.environ, level=level, overrides=overrides)


def state_named(workflow: str, state: Path | None) -> StateOf:
    """Tell where the state is from a workflow file, or from the name of a workflow and the folder of its state."""
    if workflow.endswith((".yaml", ".yml", ".json")) or Path(workflow).is_file():
        from dataflare.component import Registry

        found = StateOf.of_plan(plan_of(Path(workflow), Registry.installed(), level="static"))
        settings = {**found.settings, "path": str(state.resolve())} if state else found.settings
        return StateOf(found.workflow, settings, found.directory)
    return StateOf(workflow, {"type": "sqlite", "path": str(state or STATE)}, Path())
