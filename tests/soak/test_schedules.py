"""Tens of thousands of random fault schedules against the real engine; a seed replays a failure."""

from __future__ import annotations

from collections import Counter

import pytest

from dataflare.testing.simulation import simulate
from dataflare.testing.simulation.scenario import scenario
from tests.soak.figures import amount, note

CHUNKS = 50
SCHEDULES = amount("SCHEDULES", 20_000)
SEED = amount("SEED", 1_000_000)

pytestmark = [pytest.mark.soak, pytest.mark.timeout(3600)]


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_no_schedule_loses_or_repeats_a_row(chunk: int) -> None:
    seeds = range(SEED + chunk, SEED + SCHEDULES, CHUNKS)
    results = [simulate(seed) for seed in seeds]
    broken = [r for r in results if r.violation]
    note(
        "schedules",
        schedules=len(results),
        broken=[r.seed for r in broken],
        processes=sum(r.processes for r in results),
        epochs=sum(r.epochs for r in results),
        faults=Counter(f.kind for seed in seeds for f in scenario(seed).faults),
    )
    assert broken == []
