"""kill -9 at the steps of the epoch protocol, with rows that are looked up and rows that are told apart by key."""

from __future__ import annotations

import random
import sqlite3
import threading
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from tests.chaos.conftest import ROWS, Case
from tests.chaos.processes import lines
from tests.chaos.trials import Trial, names, random_kills

if TYPE_CHECKING:
    from pathlib import Path

WORKFLOW = """
id: lookups
runtime:
  parallelism: 2
  checkpoint: {interval: 10ms, timeout: 30s, retain: 3}
sources:
  orders:
    type: file
    config: {path: in.csv, split_bytes: 15kB, columns: {id: int64, name: string, qty: string, note: string}}
  names: {type: file, config: {path: names.csv, columns: {name: string, label: string}}}
transformations:
  named: {type: enrichment, inputs: [orders], lookup: names, config: {keys: {name: name}, miss: drop}}
  totals:
    type: aggregate
    inputs: [named]
    config: {group_by: [name], aggregations: {orders: count(*)}}
  counted: {type: enrichment, inputs: [named], lookup: totals, config: {keys: {name: name}}}
  once: {type: deduplicate, inputs: [orders], config: {keys: [name, qty]}}
  last: {type: deduplicate, inputs: [named], config: {keys: [name], keep: last}}
destinations:
  named_rows: {type: file, inputs: [named], config: {path: out/named, format: jsonl}}
  counted_rows: {type: file, inputs: [counted], config: {path: out/counted, format: jsonl}}
  once_rows: {type: file, inputs: [once], config: {path: out/once, format: jsonl}}
  last_rows: {type: file, inputs: [last], config: {path: out/last, format: jsonl}}
"""
STEPS = [
    ("before", "seal"),
    ("after", "save_states"),
    ("after", "seal"),
    ("after", "_run_incoming"),
    ("before", "finish"),
]


def content(folder: Path) -> dict[str, Any]:
    """Return what does not depend on which of two tasks was faster."""
    rows = {name: lines(folder / "out" / name) for name in ("named", "counted", "once", "last")}
    return {
        "named": sorted((r["id"], r["label"]) for r in rows["named"]),
        "counted": sorted((r["id"], r["orders"]) for r in rows["counted"]),
        "once": sorted((r["name"], r["qty"]) for r in rows["once"]),
        "last": sorted(r["name"] for r in rows["last"]),
    }


TRIAL = Trial(WORKFLOW, content, {"names.csv": "name,label\n" + "".join(f"n{n},label {n}\n" for n in range(30))})


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return what an undisturbed run makes."""
    found = TRIAL.undisturbed(tmp_path_factory.mktemp("calm"))
    assert 0.7 * ROWS < len(found["named"]) == len(found["counted"]) < 0.8 * ROWS
    assert len(found["once"]) == len(set(found["once"])) > 40 * 19
    assert len(found["last"]) == 30
    assert len({number for number, _ in found["named"]}) == len(found["named"])
    return found


@pytest.mark.parametrize("step", names(STEPS))
def test_a_kill_at_a_step_changes_nothing(case: Case, expected: dict[str, Any], step: str) -> None:
    TRIAL.killed_at(case, step, expected, calls=(1, 2, 5))


@pytest.mark.parametrize("seed", [7, 8])
def test_random_kills_change_nothing(case: Case, expected: dict[str, Any], seed: int) -> None:
    TRIAL.changes_nothing(case, random_kills(random.Random(seed), 6), seed, expected)


OUTSIDE = """
id: outside
guarantee: exactly_once
runtime:
  parallelism: 2
  checkpoint: {interval: 10ms, timeout: 30s, retain: 3}
sources:
  orders:
    type: file
    config: {path: in.csv, split_bytes: 15kB, columns: {id: int64, name: string, qty: string, note: string}}
transformations:
  named:
    type: enrichment
    inputs: [orders]
    config:
      keys: {name: name}
      from: {type: sqlite, path: names.db, table: names}
      refresh: 10ms
destinations:
  out: {type: sqlite, inputs: [named], config: {path: out.db, table: out}}
"""


def test_a_lookup_that_changes_while_a_run_is_killed_loses_and_doubles_no_row(case: Case) -> None:
    case.file.write_text(OUTSIDE)
    path = case.folder / "names.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("pragma journal_mode = wal")
        connection.execute("create table names (name text primary key, version int)")
        connection.executemany("insert into names values (?, 0)", [(f"n{n}",) for n in range(40)])
        connection.commit()
    done = threading.Event()

    def change() -> None:
        with closing(sqlite3.connect(path, timeout=30)) as connection:
            while not done.wait(0.01):
                connection.execute("update names set version = version + 1")
                connection.commit()

    changing = threading.Thread(target=change)
    changing.start()
    try:
        killed = case.run_through(
            ["after:commit:1", "before:seal:2", "after:_run_incoming:9", "before:commit:3"], seed=3
        )
    finally:
        done.set()
        changing.join()
    assert killed
    with closing(sqlite3.connect(case.folder / "out.db")) as connection:
        rows = connection.execute("select id, version from out").fetchall()
    assert sorted(number for number, _ in rows) == list(range(ROWS))
    versions = {version for _, version in rows}
    assert None not in versions
    assert len(versions) > 3, "it was read again"
