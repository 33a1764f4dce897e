"""A wall clock that jumps by hours, back and forth: runs complete, and epochs are numbered on."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any

import pytest

from dataflare.clock import SystemClock
from dataflare.component import Config, Registry, StageContext
from dataflare.errors import LeaseHeldError
from dataflare.executor.contract import Outcome, RunContext
from dataflare.executor.local import LocalExecutor
from dataflare.executor.runtime import LocalRuntime
from dataflare.monitoring.events import EpochCommitted, Event, SourceLagged
from dataflare.security.codec import Codec
from dataflare.state.checkpoint import CheckpointManager
from dataflare.state.lease import FileLease
from dataflare.state.sqlite import SqliteStore, SqliteStoreConfig
from dataflare.workflow import plan_or_raise
from tests.changes import KEYS, SETUP, Writer, difference, forget, logged
from tests.chaos.processes import lines
from tests.postgres import VARIABLE, place

if TYPE_CHECKING:
    from pathlib import Path

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
FOLLOWED = """
id: {name}
runtime: {{checkpoint: {{interval: 20ms, retain: 1000}}, state: {{type: sqlite, path: state}}}}
sources:
  shop:
    type: postgres
    mode: hybrid
    config:
      url: "${{{variable}}}"
      tables: [{name}.items, {name}.names, {name}.pairs]
      fetch_rows: 50
      cdc: {{slot_name: {name}, heartbeat: 100ms, slot_wait: 5s}}
destinations:
  items: {{type: file, inputs: [shop.items], config: {{path: items, format: jsonl}}}}
  names: {{type: file, inputs: [shop.names], config: {{path: names, format: jsonl}}}}
  pairs: {{type: file, inputs: [shop.pairs], config: {{path: pairs, format: jsonl}}}}
"""


class JumpingClock(SystemClock):
    """Tells the time of day some hours off, which change at every committed epoch; durations are not touched."""

    def __init__(self, hours: list[int]) -> None:
        self._hours = hours
        self.off = 0
        self.jumps = 0
        self.lags: list[float] = []
        self.jumps_max, self.stop = 1 << 30, lambda: None

    def now(self) -> int:
        return super().now() + self.off * HOUR

    def observe(self, event: Event) -> None:
        """Jump after each epoch."""
        if isinstance(event, SourceLagged):
            self.lags += [value for name, value in event.figures.items() if name != "bytes"]
        if isinstance(event, EpochCommitted):
            self.off = self._hours[self.jumps % len(self._hours)]
            self.jumps += 1
            if self.jumps == self.jumps_max:
                self.stop()


def run(
    folder: Path, clock: JumpingClock, *, deadline: float | None = None, catch_up: bool = False
) -> tuple[Outcome, list[Any]]:
    """Run with a clock; return the outcome and the proposals that are kept."""
    registry = Registry.installed()
    runtime = LocalRuntime(clock.observe, clock=clock)
    plan = plan_or_raise(folder / "workflow.yaml", registry=registry, environ=os.environ, level="sample")
    store = SqliteStore(SqliteStoreConfig(path="state"))
    store.context = StageContext(runtime, plan.workflow, "", directory=folder)
    store.open()
    try:
        context = RunContext(
            registry=registry, runtime=runtime, store=store, deadline_seconds=deadline, catch_up=catch_up
        )
        executor = LocalExecutor(Config())
        clock.stop = executor.drain
        outcome = asyncio.run(executor.execute(plan, context))
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


class HeldClock(JumpingClock):
    """Tries, at each jump, to take the lease of the workflow that runs by it."""

    def __init__(self, hours: list[int], folder: Path, workflow: str) -> None:
        super().__init__(hours)
        self._folder, self._workflow = folder, workflow
        self.held = 0

    def observe(self, event: Event) -> None:
        super().observe(event)
        if isinstance(event, EpochCommitted):
            try:
                FileLease.take(self._folder / "state", f"default/{self._workflow}", self).release()
            except LeaseHeldError:
                self.held += 1


@pytest.mark.postgres
@pytest.mark.parametrize("hours", [[-1, 1], [24 * 400, 0, -24 * 400]], ids=str)
def test_changes_are_followed_over_jumps_of_the_clock(tmp_path: Path, hours: list[int]) -> None:
    with place() as spot:
        for statement in SETUP.format(schema=spot.schema, rows=400).split(";"):
            spot.run(statement) if statement.strip() else None
        (tmp_path / "workflow.yaml").write_text(FOLLOWED.format(name=spot.schema, variable=VARIABLE))
        writer = Writer(spot.url, spot.schema, 400, 1)
        try:
            writer.start()
            clocks = [HeldClock(h, tmp_path, spot.schema) for h in (hours, [-h for h in hours], hours)]
            for clock in clocks[:2]:  # at first tables are read, then they are followed
                clock.jumps_max = 6
                outcome, _ = run(tmp_path, clock)
                assert outcome.status == "stopped", outcome.error
                assert clock.jumps >= 6
            writer.stop()
            outcome, _ = run(tmp_path, clocks[2], catch_up=True)
            assert outcome.status == "succeeded", outcome.error
            assert all(clock.held == clock.jumps for clock in clocks)
            lags = [seconds for clock in clocks for seconds in clock.lags]
            assert lags
            assert all(0 <= seconds < 60 for seconds in lags)
            logs = {name: logged(tmp_path / name) for name in KEYS}
            assert {c["_op"] for log in logs.values() for c in log} >= {"read", "insert", "update", "delete"}
            assert {n: difference(log, spot.url, spot.schema, n) for n, log in logs.items()} == {n: [] for n in KEYS}
        finally:
            forget(spot, spot.schema)
