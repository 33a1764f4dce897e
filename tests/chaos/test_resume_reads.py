"""A run that was killed reads, when it goes on, what no decided epoch covers, and not a byte more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from dataflare.cli.running import RunOptions, run_plan
from dataflare.cli.surroundings import plan_of
from dataflare.component import Registry
from dataflare.executor.runtime import LocalRuntime
from dataflare.executor.surroundings import StateOf
from dataflare.monitoring.events import Event, NodeProgressed
from dataflare.security.codec import Codec
from dataflare.state.checkpoint import CheckpointManager
from tests.chaos.conftest import HEAD, ROWS, Case

if TYPE_CHECKING:
    from dataflare.plan import Plan

ROWS_OUT = """
  rows: {type: file, inputs: [big], config: {path: out/rows, format: parquet}}
"""


def _positions(plan: Plan, registry: Registry) -> dict[str, Any]:
    """Return where the newest decided epoch left the source: without a direct destination the log decides."""
    runtime = LocalRuntime()
    with StateOf.of_plan(plan).existing_store(registry, runtime) as store:
        found = CheckpointManager(store, Codec(), plan.workflow).newest(None, has_decider=False)
    runtime.close()
    assert found is not None
    position: dict[str, Any] = found.positions["orders"]
    return position


def _left(case: Case, at: dict[str, Any]) -> int:
    """Return the bytes behind a position: of splits that were open, and of what was not handed out."""
    size = (case.folder / "in.csv").stat().st_size
    opened = sum(s["data"]["end"] - (s["position"] or {"offset": s["data"]["start"]})["offset"] for s in at["open"])
    return opened + (0 if at["since"].get("done") else size - at["since"]["offset"])


@pytest.mark.parametrize("step", ["after:mark_committed:1", "before:seal:2", "after:seal:1"])
def test_a_resume_reads_what_is_left(case: Case, step: str) -> None:
    case.file.write_text(HEAD.replace("15kB", "3kB") + ROWS_OUT)
    assert case.run(kill=step).returncode < 0
    registry = Registry.installed()
    plan = plan_of(case.file, registry)
    left = _left(case, _positions(plan, registry))
    read: list[int] = []

    def watch(event: Event) -> None:
        if isinstance(event, NodeProgressed) and event.node == "orders":
            read.append(event.bytes_read)

    outcome, _ = run_plan(plan, registry, RunOptions(as_json=True, run_id="chaos", observers=(watch,)))

    assert outcome is not None
    assert outcome.status == "succeeded"
    assert outcome.nodes["orders"]["rows_in"] == ROWS
    assert 0 < left < (case.folder / "in.csv").stat().st_size - len("id,name,qty,note\n")
    assert sum(read) == left
