"""Runs that are killed at seeded calls of every step, and what is counted of them."""

from __future__ import annotations

import signal
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dataflare.security.codec import Codec
from dataflare.state.checkpoint import CheckpointManager
from dataflare.state.sqlite import SqliteStore, SqliteStoreConfig
from tests.chaos.conftest import STEPS
from tests.soak.figures import amount

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

    from tests.chaos.conftest import Case

KILLS = amount("KILLS", 100)
SEED = amount("SEED", 1_000_000)
ROUNDS = 5
CALLS_MAX = {"begin_attempt": 1, "newest": 1, "finish": 2, "mark_finished": 1, "abort": 2}
"""How often a step is called at least in a run, where that is less than eight times."""


@dataclass
class Tally:
    """What a round did. `wanted` kills are drawn from `rng`, most at one of the first `calls` calls of a step."""

    rng: random.Random
    steps: Sequence[tuple[str, str]] = STEPS
    wanted: int = KILLS // ROUNDS
    calls: int = 8
    kills: Counter[str] = field(default_factory=Counter)
    runs: int = 0
    results: int = 0
    attempts: int = 0
    epochs: int = 0

    @property
    def complete(self) -> bool:
        """Tell whether it was killed as often as wanted."""
        return self.kills.total() >= self.wanted

    def run(self, case: Case) -> bool:
        """Run a workflow once, killed at a place that is drawn; return whether it succeeded before that."""
        kill = "" if self.complete else self._drawn()
        done = case.run(kill, seed=self.rng.randrange(1 << 30))
        self.runs += 1
        if done.returncode == 0:
            return True
        assert done.returncode == -signal.SIGKILL, f"{kill}: {done.stderr}"
        when, _, rest = kill.partition(":")
        self.kills["at a moment" if when == "time" else f"{when} {rest.partition(':')[0]}"] += 1
        return False

    def compared(self, case: Case, workflow: str, results: int = 1) -> None:
        """Count results that are equal, and what the state of their workflow tells at the end."""
        store = SqliteStore(SqliteStoreConfig(path=str(case.folder / ".dataflare")))
        store.open()
        try:
            last = CheckpointManager(store, Codec(), workflow).committed()
        finally:
            store.close()
        assert last is not None
        self.results, self.attempts = self.results + results, self.attempts + last.attempt
        self.epochs += last.epoch

    def figures(self) -> dict[str, object]:
        """Return what was counted."""
        return {name: getattr(self, name) for name in ("kills", "runs", "results", "attempts", "epochs")}

    def _drawn(self) -> str:
        """Draw a kill: mostly at a call of a step, sometimes at a moment."""
        if self.rng.random() < 0.1:
            return f"time:{0.4 + self.rng.random():.3f}"
        when, step = self.rng.choice(self.steps)
        return f"{when}:{step}:{self.rng.randint(1, min(self.calls, CALLS_MAX.get(step, self.calls)))}"
