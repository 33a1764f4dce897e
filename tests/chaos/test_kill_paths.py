"""kill -9 at each step of the epoch protocol, on each path of changes: equal by checksum, none lost, none repeated."""

from __future__ import annotations

import random
import signal
from typing import TYPE_CHECKING

import pytest

from tests.chaos.paths import FIRST, PATH_STEPS, PATHS, change_path

if TYPE_CHECKING:
    from pathlib import Path

ROWS, BURST = 300, 5
SEED = 4


@pytest.mark.parametrize(("source", "destination"), PATHS)
def test_kills_at_each_step_lose_and_repeat_no_change(tmp_path: Path, source: str, destination: str) -> None:
    rng, missed = random.Random(f"{SEED}/{source}/{destination}"), []
    with change_path(source, destination, tmp_path, ROWS) as path:
        writer = path.writer(SEED)
        for when, step in [FIRST, *rng.sample(PATH_STEPS, len(PATH_STEPS))]:
            writer.write(BURST)
            done = path.case.run(f"{when}:{step}:{rng.choice((1, 1, 2))}", seed=rng.randrange(1 << 30))
            if done.returncode == 0:  # it was not called as often
                writer.write(BURST)
                done = path.case.run(f"{when}:{step}:1", seed=rng.randrange(1 << 30))
            assert done.returncode in (0, -signal.SIGKILL), f"{when} {step}: {done.stderr}"
            missed += [f"{when} {step}"] if done.returncode == 0 else []
        writer.write(BURST)
        path.settle()
        assert path.found() == path.wanted()
    assert missed == []
