"""A wall clock that jumps by hours, back and forth: runs complete, and epochs are numbered on."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from dataflare.clock import SystemClock
from dataflare.component import Config, Registry, StageContext
from dataflare.executor.contract import Outcome, RunContext
from dataflare.executor.local import LocalExecutor
from dataflare.executor.runtime import LocalRuntime
from dataflare.monitoring.events import EpochCommitted, Event
from dataflare.security.codec import Codec
from dataflare.state.checkpoint import CheckpointManager
from dataflare.state.sqlite import SqliteStore, SqliteStoreConfig
from dataflare.workflow import plan_or_raise
from tests.chaos.processes import lines

ROWS = 800
HOUR = 3_600_000_000
WORKFLOW = f"""
id: jumping
runtime: {{checkpoint: {{interval: 20ms, retain: 100}}, state: {{type: sqlite, path: state}}}}
sources:
  made: {{type: generator, config: {{rows: {ROWS}, rate: 2000, columns: {{id: sequence}}}}}}
transformations:
  stamped: {{type: mapping, inputs: [made], config: {{set: {{at: now()}}}}}}
destinations:
  kept: {{type: file, inputs: [stamped], config: {{path: out, format: jsonl}}}}
"""


class JumpingClock(SystemClock):
    """Tells the time of day some hours off, which change at every committed epoch; durations are not touched."""

    def __init__(self, hours: list[int]) -> None:
        self._hours = hours
        self.off = 0
        self.jumps = 0

    def now(self) -> int:
        return super().now() + self.off * HOUR

    def observe(self, event: Event) -> None:
        """Jump after each epoch."""
        if isinstance(event, EpochCommitted):
            self.off = self._hours[self.jumps % len(self._hours)]
            self.jumps += 1


def run(folder: Path, clock: JumpingClock, *, deadline: float | None = None) -> tuple[Outcome, list[Any]]:
    """Run with a clock; return the outcome and the proposals that are kept."""
    registry = Registry.installed()
    runtime = LocalRuntime(clock.observe, clock=clock)
    plan = plan_or_raise(folder / "workflow.yaml", registry=registry, environ={})
    store = SqliteStore(SqliteStoreConfig(path="state"))
    store.context = StageContext(runtime, plan.workflow, "", directory=folder)
    store.open()
    try:
        context = RunContext(registry=registry, runtime=runtime, store=store, deadline_seconds=deadline)
        outcome = asyncio.run(LocalExecutor(Config()).execute(plan, context))
        return outcome, CheckpointManager(store, Codec(), plan.workflow).proposals()
    finally:
        store.close()
        runtime.close()


@pytest.mark.parametrize("hours", [[-1], [1], [-1, 1], [0, -24, 24 * 400]], ids=str)
def test_a_jump_of_the_clock_does_not_disturb_a_run(tmp_path: Path, hours: list[int]) -> None:
    (tmp_path / "workflow.yaml").write_text(WORKFLOW)
    clock = JumpingClock(hours)
    outcome, proposals = run(tmp_path, clock)

    assert outcome.status == "succeeded", outcome.error
    assert clock.jumps > 3
    assert [p.epoch for p in proposals] == list(range(1, len(proposals) + 1))
    assert 0 < outcome.elapsed_seconds < 60
    assert [r["id"] for r in lines(tmp_path / "out")] == list(range(ROWS))


def test_a_run_goes_on_where_the_last_one_stood_though_the_clock_went_back_between(tmp_path: Path) -> None:
    (tmp_path / "workflow.yaml").write_text(WORKFLOW)
    first, before = run(tmp_path, JumpingClock([2]), deadline=0.15)
    assert (first.status, first.more) == ("stopped", True)

    second, after = run(tmp_path, JumpingClock([-2]))
    assert second.status == "succeeded"
    assert [p.epoch for p in after] == list(range(1, len(after) + 1))
    assert [p.attempt for p in after] == [1] * len(before) + [2] * (len(after) - len(before))
    assert [r["id"] for r in lines(tmp_path / "out")] == list(range(ROWS))
