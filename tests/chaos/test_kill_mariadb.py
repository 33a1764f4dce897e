"""kill -9 with MariaDB as the decider, alone and beside a second, staged, table that is replaced at the end."""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING, Any

import pytest

from tests.chaos.conftest import HEAD, STEPS, Case
from tests.chaos.test_kill_files import TRIAL
from tests.chaos.trials import random_kills
from tests.mariadb import VARIABLE, Database, database

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.mariadb
TABLES = """
  rows: {{type: mariadb, inputs: [big], config: {{url: "${{{variable}}}", table: {name}.rows}}}}
  names:
    type: mariadb
    inputs: [per_name]
    write_mode: overwrite
    config: {{url: "${{{variable}}}", table: {name}.names}}
"""
DEFINING = [s for s in STEPS if s in (("after", "commit"), ("before", "finish"), ("after", "finish"))]
"""Where tables are made or dropped, or what is committed is decided."""


@pytest.fixture
def spot() -> Iterator[Database]:
    with database() as found:
        yield found


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    """Return what an undisturbed run into files makes."""
    if not os.environ.get(VARIABLE):
        pytest.skip(f"{VARIABLE} is not set: python scripts/services.py start, then env")
    return TRIAL.undisturbed(tmp_path_factory.mktemp("undisturbed"))


def check(case: Case, spot: Database, expected: dict[str, Any], kills: list[str]) -> int:
    case.file.write_text(HEAD + TABLES.format(variable=VARIABLE, name=spot.name))
    killed = case.run_through(kills, seed=6)
    assert sorted(spot.run("select * from `rows`")) == expected["rows"]
    assert sorted(spot.run("select * from names")) == expected["names"]
    return killed


@pytest.mark.parametrize(("when", "step"), DEFINING, ids=lambda x: str(x))
def test_a_kill_at_a_step_changes_nothing(
    case: Case, spot: Database, expected: dict[str, Any], when: str, step: str
) -> None:
    assert check(case, spot, expected, [f"{when}:{step}:1", f"{when}:{step}:2"]) >= 1, f"{when} {step} was not reached"


def test_ten_random_kills_change_nothing(case: Case, spot: Database, expected: dict[str, Any]) -> None:
    check(case, spot, expected, random_kills(random.Random(33), 10))
