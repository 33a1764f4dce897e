"""kill -9 at every step with SQLite as the decider, alone and beside files."""

from __future__ import annotations

import random
import sqlite3
from typing import TYPE_CHECKING, Any

import pytest

from tests.chaos.conftest import HEAD, STEPS, Case, source_csv
from tests.chaos.test_kill_files import FILES, content
from tests.chaos.trials import random_kills

if TYPE_CHECKING:
    from pathlib import Path

ALONE = """
  table: {type: sqlite, inputs: [big], config: {path: out.db, table: rows}}
"""
THREE = (
    FILES
    + """
  table: {type: sqlite, inputs: [big], config: {path: out.db, table: rows}}
  totals: {type: sqlite, inputs: [per_name], config: {path: out.db, table: totals}}
"""
)


def table(folder: Path, name: str) -> list[Any]:
    """Return the rows of a table, sorted."""
    with sqlite3.connect(folder / "out.db") as connection:
        return sorted(connection.execute(f"select * from {name}").fetchall())


def everything(folder: Path) -> dict[str, list[Any]]:
    """Return what all destinations hold."""
    found = {"table": table(folder, "rows")}
    if (folder / "out").exists():
        found |= content(folder) | {"totals": table(folder, "totals")}
    return found


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, list[Any]]]:
    """Return what undisturbed runs make, by workflow."""
    made = {}
    for name, destinations in (("alone", ALONE), ("three", THREE)):
        folder = tmp_path_factory.mktemp(name)
        source_csv(folder)
        calm = Case(folder)
        calm.file.write_text(HEAD + destinations)
        assert calm.run().returncode == 0
        made[name] = everything(folder)
    assert len(made["alone"]["table"]) == len(set(made["alone"]["table"])) > 9000
    assert made["three"]["table"] == made["alone"]["table"] == made["three"]["rows"]
    return made


@pytest.mark.parametrize(("when", "step"), STEPS, ids=lambda x: str(x))
def test_a_kill_at_a_step_changes_nothing_in_any_destination(
    case: Case, expected: dict[str, Any], when: str, step: str
) -> None:
    case.file.write_text(HEAD + THREE)
    killed = case.run_through([f"{when}:{step}:1", f"{when}:{step}:3"], seed=4)

    assert killed >= 1, f"{when} {step} was never reached"
    assert everything(case.folder) == expected["three"]


@pytest.mark.parametrize(("name", "destinations"), [("alone", ALONE), ("three", THREE)], ids=["alone", "three"])
def test_ten_random_kills_change_nothing(case: Case, expected: dict[str, Any], name: str, destinations: str) -> None:
    case.file.write_text(HEAD + destinations)
    case.run_through(random_kills(random.Random(23), 10), seed=5)

    assert everything(case.folder) == expected[name]
