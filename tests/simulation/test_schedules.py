"""Random fault schedules against the real engine; a seed replays a failure."""

import os
from dataclasses import replace

import pytest

from dataflare.plan import Edge, Node, NodeKind, Output
from dataflare.testing.simulation import simulate
from dataflare.testing.simulation.components import SCHEMA
from dataflare.testing.simulation.scenario import Scenario, scenario

SEEDS = int(os.environ.get("DATAFLARE_SEEDS", "400"))
CHUNKS = 8


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_no_schedule_loses_or_repeats_a_row(chunk: int) -> None:
    results = [simulate(seed) for seed in range(chunk, SEEDS, CHUNKS)]

    assert [r for r in results if r.violation] == []
    assert sum(r.processes for r in results) > len(results), "no schedule killed anything"
    assert sum(r.epochs for r in results) > len(results), "hardly an epoch was committed"


def test_a_seed_replays_the_same_run() -> None:
    assert [simulate(seed) for seed in range(20)] == [simulate(seed) for seed in range(20)]


def test_an_epoch_that_needs_more_than_its_time_out_is_sealed_with_a_longer_one() -> None:
    def impatient(seed: int) -> Scenario:
        case = scenario(seed)
        settings = replace(case.plan.settings, checkpoint_timeout_seconds=0.001)
        return replace(case, plan=replace(case.plan, settings=settings), faults=())

    result = simulate(22, impatient)
    assert result.violation == ""
    assert result.processes == 2
    assert result.epochs > 0


def slowed(seed: int) -> Scenario:
    """Draw a scenario and let the rows wait before each of its destinations but the dead-letter one."""
    case = scenario(seed)
    nodes, edges = [], []
    port = {"keys": [], "everywhere": False, "first": False, "together": True, "eased": True}
    ports = {"ports": [port] * 8}
    for node in case.plan.nodes:
        if node.id.startswith("d") and node.id != "dead":
            nodes.append(
                Node(f"slow-{node.id}", NodeKind.PROCESSOR, "sim_slow", {}, (Output("", SCHEMA),), traits=ports)
            )
        nodes.append(node)
    for edge in case.plan.edges:
        if f"slow-{edge.target}" in [n.id for n in nodes]:
            edges.append(replace(edge, target=f"slow-{edge.target}"))
        else:
            edges.append(edge)
    edges += [Edge(n.id, "", n.id.removeprefix("slow-")) for n in nodes if n.id.startswith("slow-")]
    return replace(case, plan=replace(case.plan, nodes=tuple(nodes), edges=tuple(edges)))


@pytest.mark.parametrize("chunk", range(2))
def test_rows_that_wait_are_neither_lost_nor_repeated(chunk: int) -> None:
    results = [simulate(seed, slowed) for seed in range(chunk, SEEDS // 4, 2)]

    assert [r for r in results if r.violation] == []
    assert sum(r.processes for r in results) > len(results), "no schedule killed anything"
    assert sum(r.simulated_seconds for r in results) > sum(simulate(r.seed).simulated_seconds for r in results)
