"""kill -9 a hundred times on each path of changes, and where changes are applied: equal by checksum, time and again."""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING

import pytest

from tests.chaos.conftest import Case
from tests.chaos.paths import FIRST, PATH_STEPS, PATHS, change_path
from tests.chaos.test_kill_applied import APPLIED, applied, expected, prepare, schema
from tests.soak.attacking import ROUNDS, SEED, Tally
from tests.soak.figures import note

if TYPE_CHECKING:
    from pathlib import Path

ROWS, CALLS = 600, 4
pytestmark = [pytest.mark.soak, pytest.mark.timeout(3600)]


@pytest.mark.parametrize("round_number", range(ROUNDS))
@pytest.mark.parametrize(("source", "destination"), PATHS)
def test_kills_lose_and_repeat_no_change(tmp_path: Path, source: str, destination: str, round_number: int) -> None:
    seed = f"{SEED}/{source}/{destination}/{round_number}"
    tally, results = Tally(random.Random(seed), steps=(FIRST, *PATH_STEPS), calls=CALLS), 0
    with change_path(source, destination, tmp_path, ROWS) as path:
        writer = path.writer(round_number)
        while True:
            writer.write(tally.rng.randint(1, 15))
            complete = tally.complete
            if tally.run(path.case):
                results += 1
                path.settle()
                assert path.found() == path.wanted(), f"they differ; seed {seed}"
                if complete:
                    break
        tally.compared(path.case, path.name, results)
    note("change kills", path=f"{source} to {destination}", **tally.figures())


@pytest.mark.postgres
@pytest.mark.skipif("DATAFLARE_TEST_POSTGRES" not in os.environ, reason="DATAFLARE_TEST_POSTGRES names no server")
@pytest.mark.parametrize("round_number", range(ROUNDS))
@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_kills_change_nothing_of_what_is_applied(tmp_path: Path, schema: str, kind: str, round_number: int) -> None:
    seed = f"{SEED}/applied/{kind}/{round_number}"
    tally = Tally(random.Random(seed))
    while not tally.complete:
        case = Case(tmp_path / str(tally.results))
        case.folder.mkdir()
        prepare(case, kind, f"{schema}_{tally.results}", tally.rng.sample(list(APPLIED), len(APPLIED)))
        while not tally.run(case):
            pass
        assert applied(case, kind, f"{schema}_{tally.results}") == expected(), f"they differ; seed {seed}"
        tally.compared(case, "changes")
    note("change kills", path=f"applied in {kind}", **tally.figures())


__all__ = ["schema"]
