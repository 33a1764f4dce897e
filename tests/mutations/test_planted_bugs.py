"""Every planted bug of the protocol must be found by the simulator within 2,000 seeds."""

import pytest

from dataflare.testing.simulation import simulate
from tests.mutations.planted import PLANTED, Mutation
from tests.soak.figures import note

SEEDS_MAX = 2000


@pytest.mark.parametrize("mutation", PLANTED, ids=lambda m: m.name)
def test_the_simulator_finds_a_planted_bug(mutation: Mutation) -> None:
    with mutation.plant():
        found = next((r for seed in range(SEEDS_MAX) if (r := simulate(seed)).violation), None)

    assert found is not None, f"{mutation.name}: not found within {SEEDS_MAX} seeds"
    note("planted", name=mutation.name, seed=found.seed)
