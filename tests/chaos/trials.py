"""A workflow that is killed, and what of its outcome no kill may change."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.chaos.conftest import STEPS, Case, source_csv

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path


@dataclass(frozen=True)
class Trial:
    """A workflow over the rows that every kill test moves; `beside` are other files that it reads, by name.

    `content` returns what a run made, without what depends on which of two tasks was faster.
    """

    text: str
    content: Callable[[Path], dict[str, Any]]
    beside: Mapping[str, str] = field(default_factory=dict)

    def prepare(self, case: Case) -> None:
        """Write the workflow and its files."""
        case.file.write_text(self.text)
        for name, text in self.beside.items():
            (case.folder / name).write_text(text)

    def undisturbed(self, folder: Path) -> dict[str, Any]:
        """Return what a run makes that nobody kills."""
        source_csv(folder)
        calm = Case(folder)
        self.prepare(calm)
        done = calm.run()
        assert done.returncode == 0, done.stderr
        return self.content(folder)

    def changes_nothing(self, case: Case, kills: Sequence[str], seed: int, expected: dict[str, Any]) -> int:
        """Run to the end, killed as listed, and compare; return how often it was killed."""
        self.prepare(case)
        killed = case.run_through(list(kills), seed)
        assert self.content(case.folder) == expected
        return killed

    def killed_at(self, case: Case, step: str, expected: dict[str, Any], calls: Sequence[int] = (1, 2)) -> None:
        """Run to the end, killed at these calls of a step such as `before:seal`, and compare."""
        killed = self.changes_nothing(case, [f"{step}:{call}" for call in calls], 4, expected)
        assert killed >= 1, f"{step} was never reached"


def random_kills(rng: random.Random, number: int) -> list[str]:
    """Draw kills at random calls of random steps."""
    return [f"{when}:{step}:{rng.randint(1, 6)}" for when, step in rng.choices(STEPS, k=number)]


def names(steps: Sequence[tuple[str, str]]) -> list[str]:
    """Return steps as they are written in a kill."""
    return [":".join(step) for step in steps]
