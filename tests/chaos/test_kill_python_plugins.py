"""kill -9 while plugins in Python keep state: by key in two tasks, and of their own."""

from __future__ import annotations

from typing import Any

import pytest

from tests.chaos.conftest import ROWS, Case
from tests.chaos.test_kill_plugins import WORKFLOW, content
from tests.chaos.trials import Trial

KEYED = """import dataflare
input = ["name", "qty"]
adds = {"nth": "int64"}
def process(row):
    nth = (dataflare.get_state([row["name"]]) or 0) + 1
    if row["qty"] == "many":
        raise ValueError("many")  # what it has not set is not counted
    dataflare.set_state([row["name"]], nth)
    return {"nth": nth}
"""
OWN = """input = ["id"]
adds = {"number": "int64"}
seen = 0
def process(row):
    global seen
    seen += 1
    return {"number": seen}
def export_state():
    return {"seen": seen}
def import_state(state):
    global seen
    seen = state["seen"]
"""
TRIAL = Trial(WORKFLOW.replace(".js", ".py"), content, {"keyed.py": KEYED, "own.py": OWN})


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return what an undisturbed run makes."""
    found = TRIAL.undisturbed(tmp_path_factory.mktemp("undisturbed"))
    assert len(found["dead"]) == 13
    assert found["own"] == list(range(1, ROWS - 12))
    last = dict(found["of keys"])  # the greatest of each name comes last
    assert found["of keys"] == sorted((name, nth + 1) for name, count in last.items() for nth in range(count))
    return found


def test_kills_between_checkpoints_change_no_state(case: Case, expected: dict[str, Any]) -> None:
    kills = [f"{step}:{call}" for call in (1, 2, 3) for step in ("after:mark_committed", "before:commit")]
    assert TRIAL.changes_nothing(case, kills, 4, expected) >= 3
