"""The next epoch starts as soon as its cost allows where it leaves nothing behind, else by the interval alone."""

from __future__ import annotations

import asyncio
import os
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from dataflare.actor.system import LocalActorSystem
from dataflare.batch import Batch
from dataflare.component import Config, Registry, SourceConnector, Stream, source
from dataflare.errors import WorkflowError
from dataflare.executor.contract import Outcome, RunContext
from dataflare.executor.coordinator import CoordinatorActor
from dataflare.executor.runtime import LocalRuntime
from dataflare.executor.workflow_actor.pace import FLOOR_SECONDS, SHARE_MAX, Pace
from dataflare.plan import Edge, Guarantee, Level, Mechanism, Node, NodeKind, Output, Plan, Settings
from dataflare.schema import Schema
from dataflare.state.memory import MemoryStore
from dataflare.testing.simulation import simulate
from dataflare.testing.simulation.components import SCHEMA
from dataflare.testing.simulation.scenario import Scenario
from dataflare.workflow import plan_or_raise

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

OUT = (Output("", SCHEMA),)
ROWS = 4000
INTERVAL = 120.0


def _plan(*mechanisms: Mechanism, interval: float = INTERVAL) -> Plan:
    nodes = [Node("s0", NodeKind.SOURCE, "sim_waiting", {"splits": 1, "rows": ROWS}, OUT, traits={"parallelism": 1})]
    edges, guarantees = [], {}
    for number, mechanism in enumerate(mechanisms):
        name = f"d{number}"
        nodes.append(Node(name, NodeKind.DESTINATION, "sim", {}, traits={"mechanism": str(mechanism)}))
        edges.append(Edge("s0", "", name))
        guarantees[name] = Guarantee(Level.EXACTLY_ONCE, mechanism, "")
    settings = Settings(checkpoint_interval_seconds=interval)
    return Plan("sim", tuple(nodes), tuple(edges), guarantees, settings)


def _scenario(mechanism: Mechanism, seed: int) -> Scenario:
    del seed
    return Scenario(_plan(mechanism), {"s0/0": ROWS}, {"d0": str(mechanism)}, ())


def test_sealing_takes_its_share_of_the_time_and_no_more() -> None:
    pace = Pace(_plan(Mechanism.DIRECT))
    pace.sealed(0.2)
    assert 0.2 / (0.2 + pace.seconds) == pytest.approx(SHARE_MAX)


def test_a_short_run_is_not_cut_up_to_learn_what_an_epoch_costs() -> None:
    assert 4.0 < Pace(_plan(Mechanism.DIRECT)).seconds < 10.0


def test_the_interval_is_the_longest_time_and_the_floor_the_shortest() -> None:
    pace = Pace(_plan(Mechanism.DIRECT))
    pace.sealed(100.0)
    assert pace.seconds == INTERVAL
    for _ in range(20):
        pace.sealed(0.001)
    assert pace.seconds == FLOOR_SECONDS
    assert Pace(_plan(Mechanism.DIRECT, interval=0.1)).seconds == 0.1


def test_a_dear_epoch_is_not_forgotten_with_the_next_cheap_one() -> None:
    pace = Pace(_plan(Mechanism.DIRECT))
    pace.sealed(1.0)
    pace.sealed(0.01)
    assert pace.seconds == pytest.approx(19 * 0.5)


@pytest.mark.parametrize("mechanism", [Mechanism.STAGED, Mechanism.TWO_PHASE])
def test_one_destination_that_keeps_a_part_of_each_epoch_holds_all_to_the_interval(mechanism: Mechanism) -> None:
    pace = Pace(_plan(Mechanism.DIRECT, mechanism))
    pace.sealed(0.001)
    assert pace.seconds == INTERVAL


def test_a_run_commits_more_often_into_a_table_and_not_into_files() -> None:
    table, files = (simulate(1, partial(_scenario, m)) for m in (Mechanism.DIRECT, Mechanism.TWO_PHASE))

    assert (table.violation, files.violation) == ("", "")
    assert files.epochs <= files.simulated_seconds / INTERVAL + 1
    assert table.epochs > 2 * files.epochs


@source("one_and_no_more", replay="exact", modes=("streaming",))
class _OneAndNoMore(SourceConnector[Config]):
    """Yields a row, then waits for ever."""

    def declared(self) -> dict[str, Stream]:
        return {"": Stream(Schema.of({"id": "int64"}))}

    async def read(self, split: Any, since: Any, until: Any) -> AsyncIterator[Batch]:  # type: ignore[override]
        if since is None:
            yield Batch.of([{"id": 1}], position={"row": 1})
        await asyncio.Event().wait()


def test_a_stream_that_rests_seals_nothing(tmp_path: Path) -> None:
    file = tmp_path / "w.yaml"
    file.write_text(
        "id: w\nruntime: {checkpoint: {interval: 10ms}}\n"
        "sources: {s: {type: one_and_no_more, mode: streaming}}\n"
        "destinations: {d: {type: memory, inputs: [s]}}\n"
    )
    registry, runtime = Registry.installed().including(_OneAndNoMore), LocalRuntime()
    plan = plan_or_raise(file, registry=registry, environ=os.environ, level="sample")
    outcome = asyncio.run(_asked_twice(plan, RunContext(registry, runtime, MemoryStore(Config()))))
    runtime.close()

    assert (outcome.status, outcome.nodes["d"]["rows_in"]) == ("stopped", 1)
    assert outcome.epochs == 3


async def _asked_twice(plan: Plan, context: RunContext) -> Outcome:
    """Run until the row is committed, ask for two epochs more, and stop after a while."""
    system = LocalActorSystem()
    coordinator = await system.spawn(CoordinatorActor, name="coordinator")
    run = asyncio.create_task(coordinator.ask("submit", plan, context))
    epoch = 0
    while epoch < 1:
        await asyncio.sleep(0.02)
        try:
            epoch = (await coordinator.ask("request", "w", "describe"))["epoch"]
        except (WorkflowError, AssertionError):
            continue
    for _ in range(2):
        await coordinator.ask("request", "w", "checkpoint")
    await asyncio.sleep(0.3)
    await coordinator.ask("request", "w", "stop")
    outcome: Outcome = await run
    await system.shutdown()
    return outcome
