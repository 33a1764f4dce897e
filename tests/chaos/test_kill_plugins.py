"""kill -9 at each step of the epoch protocol, with plugins that keep state: by key in two tasks, and of their own."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest

from tests.chaos.conftest import ROWS, STEPS, Case
from tests.chaos.processes import lines
from tests.chaos.trials import Trial, names, random_kills

if TYPE_CHECKING:
    from pathlib import Path

WORKFLOW = """
id: plugins
runtime:
  parallelism: 2
  checkpoint: {interval: 10ms, timeout: 30s, retain: 3}
sources:
  orders:
    type: file
    config: {path: in.csv, split_bytes: 15kB, columns: {id: int64, name: string, qty: string, note: string}}
transformations:
  counted:
    type: wasm
    inputs: [orders]
    config: {module: keyed.js, key: [name]}
    on_error: {action: dead_letter}
  numbered: {type: wasm, inputs: [counted], config: {module: own.js}}
destinations:
  rows: {type: file, inputs: [numbered], config: {path: out/rows, format: jsonl}}
  dead: {type: file, inputs: [counted.errors], config: {path: out/dead, format: jsonl}}
"""
KEYED = """export const input = ["name", "qty"], adds = { nth: "int64" };
export function process({ name, qty }) {
  const nth = (dataflare.getState([name]) ?? 0) + 1;
  if (qty === "many") throw new Error("many"); // what it has not set is not counted
  dataflare.setState([name], nth);
  return { nth };
}
"""
OWN = """export const input = ["id"], adds = { number: "int64" };
let seen = 0;
export const process = () => ({ number: ++seen });
export const exportState = () => seen;
export const importState = (state) => { seen = state; };
"""


def content(folder: Path) -> dict[str, Any]:
    """Return what does not depend on which of two tasks was faster."""
    rows = lines(folder / "out" / "rows")
    return {
        "ids": sorted(r["id"] for r in rows),
        "of keys": sorted((r["name"], r["nth"]) for r in rows),
        "own": sorted(r["number"] for r in rows),
        "dead": sorted((r["row"], r["code"]) for r in lines(folder / "out" / "dead")),
    }


TRIAL = Trial(WORKFLOW, content, {"keyed.js": KEYED, "own.js": OWN})


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return what an undisturbed run makes."""
    found = TRIAL.undisturbed(tmp_path_factory.mktemp("undisturbed"))
    assert len(found["dead"]) == 13
    assert {code for _, code in found["dead"]} == {"row.function"}
    assert len(found["ids"]) == ROWS - 13
    assert found["own"] == list(range(1, ROWS - 12))
    last = dict(found["of keys"])  # the greatest of each name comes last
    assert len(last) == 40
    assert found["of keys"] == sorted((name, nth + 1) for name, count in last.items() for nth in range(count))
    return found


@pytest.mark.parametrize("step", names(STEPS))
def test_a_kill_at_each_step_changes_no_state(case: Case, expected: dict[str, Any], step: str) -> None:
    TRIAL.killed_at(case, step, expected)


def test_kills_at_random_steps_change_no_state(case: Case, expected: dict[str, Any]) -> None:
    assert TRIAL.changes_nothing(case, random_kills(random.Random(11), 8), 4, expected) >= 1
