"""The examples for authors run, resume and are refused where they are wrong."""

import json
from pathlib import Path
from typing import Any

import pytest
from examples.custom.at_least import AtLeast
from examples.custom.dice import Dice
from examples.custom.dry_run import DryRun
from examples.custom.shelf import Shelf
from examples.custom.tally import Tally

from dataflare.component import Config, Registry
from dataflare.errors import WorkflowError
from dataflare.executor.contract import Outcome, RunContext, executor
from dataflare.executor.local import LocalExecutor
from dataflare.executor.runtime import LocalRuntime
from dataflare.monitoring.events import Event, Noticed
from dataflare.plan import Edge, Guarantee, Level, Mechanism, Node, NodeKind, Output, Plan
from dataflare.schema import Schema
from dataflare.testing.simulation.world import World, store_of

ROLLS = Output("", Schema.of({"die": "string", "roll": "int64", "value": "int64"}))
REGISTRY = Registry.of(Dice, AtLeast, Tally)


def _plan(folder: Path) -> Plan:
    nodes = (
        Node("dice", NodeKind.SOURCE, "dice", {"rolls": 50, "dice": 3, "seed": 7}, (ROLLS,), traits={"parallelism": 2}),
        Node("high", NodeKind.PROCESSOR, "at_least", {"field": "value", "at_least": 4}, (ROLLS,)),
        Node("out", NodeKind.DESTINATION, "tally", {"path": "out.jsonl"}),
    )
    edges = (Edge("dice", "", "high"), Edge("high", "", "out"))
    guarantees = {"out": Guarantee(Level.AT_LEAST_ONCE, Mechanism.APPEND, "appends")}
    return Plan("rolls", nodes, edges, guarantees, directory=str(folder))


async def _run(plan: Plan, kind: Any = LocalExecutor, registry: Registry = REGISTRY) -> tuple[Outcome, list[Event]]:
    events: list[Event] = []
    runtime = LocalRuntime(events.append)
    context = RunContext(registry=registry, runtime=runtime, store=store_of(World())(Config()))
    try:
        return await kind(Config()).execute(plan, context), events
    finally:
        runtime.close()


async def test_a_source_a_processor_and_a_destination_of_our_own_run_together(tmp_path: Path) -> None:
    outcome, _ = await _run(_plan(tmp_path))

    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert outcome.status == "succeeded", outcome.error
    assert outcome.nodes["dice"]["rows_out"] == 150
    assert outcome.nodes["high"]["rows_filtered"] == 150 - len(rows)
    assert outcome.nodes["out"]["rows_in"] == len(rows)
    assert all(r["value"] >= 4 for r in rows)
    assert len({(r["die"], r["roll"]) for r in rows}) == len(rows)


async def test_an_executor_of_our_own_touches_nothing(tmp_path: Path) -> None:
    outcome, events = await _run(_plan(tmp_path), DryRun)

    assert outcome.status == "succeeded"
    assert [e.node for e in events if isinstance(e, Noticed)] == ["dice", "high", "out"]
    assert not (tmp_path / "out.jsonl").exists()
    assert Registry.of(DryRun).find(executor, "dry_run") is DryRun


def test_a_component_is_found_by_a_python_path() -> None:
    from dataflare.component import source

    assert Registry.of().find(source, "python:examples.custom.dice:Dice") is Dice
    with pytest.raises(WorkflowError, match="cannot be imported"):
        Registry.of().find(source, "python:examples.custom.dice:Diice")
    with pytest.raises(WorkflowError, match="not a declared source"):
        Registry.of().find(source, "python:examples.custom.dice:DiceConfig")


async def test_the_failure_of_a_component_names_its_node(tmp_path: Path) -> None:
    plan = _plan(tmp_path / "missing")
    outcome, _ = await _run(plan)

    assert outcome.status == "failed"
    assert outcome.error is not None
    assert "out" in outcome.error.place.path
    assert outcome.error.exit_code == 3


@pytest.mark.parametrize("component", [Dice, AtLeast, Tally, Shelf, DryRun], ids=lambda c: c.spec.name)
def test_examples_of_a_spec_are_valid_settings(component: Any) -> None:
    for example in component.spec.examples:
        component.spec.config(**example)
    for setting in component.spec.schema().get("properties", {}).values():
        assert setting.get("description")


def test_a_source_that_declares_nothing_shows_its_columns_by_its_first_batch() -> None:
    class Plain(Dice):
        """Declares nothing."""

        def declared(self) -> None:  # type: ignore[override]
            return None

    class Empty(Plain):
        """Has nothing to show."""

        def splits(self, since: Any) -> list[Any]:
            return []

    config = Dice.spec.config()
    found: Any = Plain(config).streams()  # type: ignore[arg-type]
    assert str(found[""].schema) == "die string, roll int64, value int64"
    with pytest.raises(WorkflowError, match="does not tell its columns"):
        Empty(config).streams()  # type: ignore[arg-type]
