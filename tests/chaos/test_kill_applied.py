"""kill -9 while changes are applied: the tables end as the models say, directly and over staging tables."""

from __future__ import annotations

import os
import random
import sqlite3
import uuid
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from dataflare.testing.change_log import TABLE, ChangeLog, Merged, Versions
from tests.chaos.conftest import Case
from tests.chaos.trials import random_kills

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CHANGES, SEED = 6000, 71
URL = os.environ.get("DATAFLARE_TEST_POSTGRES", "")
SHOP = f"""
import random
import time

from dataflare.testing.change_log import ChangeLog


def rows():
    log = ChangeLog(random.Random({SEED}), keys=60)
    for _ in range({CHANGES // 20}):
        time.sleep(0.004)  # so that there are epochs enough to be killed in
        yield log.take(20)
"""
WORKFLOW = """
id: changes
runtime:
  checkpoint: {{interval: 2ms, timeout: 30s, retain: 3}}
sources:
  shop:
    type: python
    config:
      module: shop.py
      key: [id]
      columns:
        {{id: int64, name: string, note: string, _op: string, _commit_ts: timestamp, _tx: string,
         _unchanged: list<string>}}
destinations:
  table: {{type: {type}, inputs: [shop], write_mode: {first}, key: [id], config: {{{place}, table: {schema}first}}}}
  other: {{type: {type}, inputs: [shop], write_mode: {second}, key: [id], config: {{{place}, table: {schema}second}}}}
"""
"""The first destination decides, the second is staged."""


def expected() -> dict[str, list[tuple[Any, ...]]]:
    """Return the rows of the models."""
    merged, versions = Merged(), Versions()
    changes = ChangeLog(random.Random(SEED), keys=60).take(CHANGES)
    merged.apply(changes)
    versions.apply(changes, TABLE.names)
    return {
        "merge": [tuple(row[n] for n in TABLE.names) for row in merged.rows.values()],
        "scd2": [(*(row[n] for n in TABLE.names), row["current"]) for row in versions.rows],
    }


def columns(mode: str) -> str:
    """Return the columns of a table."""
    return ", ".join([*TABLE.names, *(["is_current"] if mode == "scd2" else [])])


def ordered(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Return rows in an order that nulls do not disturb."""
    return sorted(rows, key=lambda row: [(value is not None, str(value)) for value in row])


@pytest.fixture
def schema() -> Iterator[str]:
    """Return a schema of its own on the server, dropped afterwards."""
    import psycopg

    name = f"kills_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(URL, autocommit=True) as connection:
        connection.execute(f"create schema {name}")
        yield name
        connection.execute(f"drop schema {name} cascade")


def killed(case: Case, seed: int, **told: str) -> None:
    """Run a workflow over ten kills."""
    (case.folder / "shop.py").write_text(SHOP)
    case.file.write_text(WORKFLOW.format(**told))
    times = case.run_through(random_kills(random.Random(seed), 10), seed=seed)
    assert times >= 1, "nothing was ever killed"


def of_file(folder: Path, mode: str, table: str) -> list[tuple[Any, ...]]:
    """Return the rows of a table of the file."""
    with closing(sqlite3.connect(folder / "out.db")) as connection:
        found = connection.execute(f"select {columns(mode)} from {table}").fetchall()
    return [(*row[:3], *(bool(value) for value in row[3:])) for row in found]


@pytest.mark.parametrize(("first", "second"), [("merge", "scd2"), ("scd2", "merge")])
def test_ten_random_kills_change_nothing_in_sqlite(tmp_path: Path, first: str, second: str) -> None:
    killed(Case(tmp_path), 41, type="sqlite", first=first, second=second, place="path: out.db", schema="")

    wanted = expected()
    assert ordered(of_file(tmp_path, first, "first")) == ordered(wanted[first])
    assert ordered(of_file(tmp_path, second, "second")) == ordered(wanted[second])


@pytest.mark.postgres
@pytest.mark.skipif(not URL, reason="DATAFLARE_TEST_POSTGRES names no server")
@pytest.mark.parametrize(("first", "second"), [("merge", "scd2"), ("scd2", "merge")])
def test_ten_random_kills_change_nothing_in_postgres(tmp_path: Path, schema: str, first: str, second: str) -> None:
    import psycopg

    place = 'url: "${DATAFLARE_TEST_POSTGRES}"'
    killed(Case(tmp_path), 44, type="postgres", first=first, second=second, place=place, schema=f"{schema}.")

    wanted = expected()
    with psycopg.connect(URL) as connection:
        for mode, table in ((first, "first"), (second, "second")):
            found = connection.execute(f"select {columns(mode)} from {schema}.{table}").fetchall()
            assert ordered(found) == ordered(wanted[mode])
