"""Workflows for the kill tests, and what their outputs must hold."""

from __future__ import annotations

import os
import random
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dataflare.component import Registry
from dataflare.workflow import plan_or_raise
from tests.chaos.forked import Forked

if TYPE_CHECKING:
    import subprocess

    from dataflare.plan import Plan

ROWS = 12_000
STEPS = (
    ("before", "seal"), ("after", "seal"), ("before", "commit"), ("after", "commit"), ("before", "mark_committed"),
    ("after", "mark_committed"), ("before", "prepare"), ("after", "prepare"), ("before", "abort"), ("after", "retire"),
    ("before", "finish"), ("after", "finish"), ("before", "mark_finished"), ("after", "mark_finished"),
    ("after", "begin_attempt"), ("after", "newest"), ("before", "save_states"), ("after", "_read_and_run"),
)  # fmt: skip
"""Every numbered step of the epoch protocol, and the steps between them."""

ATTEMPTS_MAX = 40
CHAOS = "dataflare.testing.chaos:main"


@dataclass(frozen=True)
class Case:
    """A workflow in a folder of its own.

    One that `follows` changes is run until now; each of its runs is another one.
    """

    folder: Path
    follows: bool = False

    @property
    def file(self) -> Path:
        return self.folder / "workflow.yaml"

    def plan(self) -> Plan:
        """Return the plan of the workflow, its sources asked."""
        registry = Registry.installed()
        return plan_or_raise(self.file, registry=registry, environ=os.environ, level="sample")

    def run(self, kill: str = "", seed: int = 0, run: str = "chaos") -> subprocess.CompletedProcess[str]:
        """Run once in a process of its own; it may be killed."""
        told = [
            *(["--kill", kill] if kill else []),
            *(["--until", "now", "--run", ""] if self.follows else ["--run", run]),
        ]
        return Forked(CHAOS, str(self.file), "--seed", str(seed), *told).completed(timeout=120)

    def run_through(self, kills: list[str], seed: int) -> int:
        """Run until it succeeds, killed as listed; return how often it was killed."""
        killed = 0
        for attempt in range(ATTEMPTS_MAX):
            done = self.run(kills[attempt] if attempt < len(kills) else "", seed * 100 + attempt)
            if done.returncode == 0 and attempt >= len(kills):
                return killed
            assert done.returncode in (0, -signal.SIGKILL), done.stderr
            killed += done.returncode != 0
        raise AssertionError("it never succeeded")


def source_csv(folder: Path) -> None:
    """Write the rows that every kill test moves; some are refused, some hold line ends."""
    rng = random.Random(7)
    lines = ["id,name,qty,note"]
    for number in range(ROWS):
        qty = "many" if number % 997 == 0 else str(rng.randrange(1, 20))
        note = '"two\nlines"' if number % 501 == 0 else "plain"
        lines.append(f"{number},n{rng.randrange(40)},{qty},{note}")
    (folder / "in.csv").write_text("\n".join(lines) + "\n")


HEAD = """
id: kills
runtime:
  parallelism: 2
  checkpoint: {interval: 50ms, timeout: 30s, retain: 3}
sources:
  orders:
    type: file
    config:
      path: in.csv
      format: csv
      split_bytes: 15kB
      columns: {id: int64, name: string, qty: string, note: string}
transformations:
  typed:
    type: mapping
    inputs: [orders]
    config: {set: {qty: cast(qty as bigint)}}
    on_error: {action: dead_letter}
  big: {type: filter, inputs: [typed], config: {condition: qty > 3}}
  per_name:
    type: aggregate
    inputs: [big]
    config: {group_by: [name], aggregations: {n: count(*), total: sum(qty), ids: count(distinct id)}}
destinations:
"""


@pytest.fixture
def case(tmp_path: Path) -> Case:
    source_csv(tmp_path)
    return Case(tmp_path)
