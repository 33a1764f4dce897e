"""kill -9 while a source of mode incremental compares keys: every delete comes, and comes once."""

from __future__ import annotations

import json
import random
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from tests.chaos.conftest import Case
from tests.chaos.trials import names
from tests.shops import SHOPS, Shop

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

ROWS = 3000
TEXT = """
id: deletes
runtime:
  parallelism: 2
  checkpoint: {interval: 20ms, timeout: 30s, retain: 3}
sources:
  orders:
    type: %s
    mode: incremental
    config: %s
destinations:
  table: {type: sqlite, inputs: [orders], write_mode: merge, config: {path: out.db, table: orders}}
  log: {type: file, inputs: [orders], config: {path: log, format: jsonl}}
"""
STEPS = [
    ("before", "seal"), ("after", "commit"), ("after", "save_states"), ("after", "_read_and_run"),
]  # fmt: skip
"""Where a comparison is between what it has told and what the state knows of it."""


def killed(shop: Shop, folder: Path, kills: Sequence[str], seed: int) -> int:
    """Read a table, change it, read it again by runs that are killed; compare. Return how often one was killed."""
    case = Case(folder)
    incremental = {"cursor_field": "moved", "deletes": {"compare": "keys"}}
    case.file.write_text(TEXT % (shop.type, json.dumps({**shop.settings, "incremental": incremental})))
    shop.put([("ab"[n % 2], n, 0, n) for n in range(ROWS)])
    first = case.run(run="first")
    assert first.returncode == 0, first.stderr
    shop.run("delete from orders where id % 3 = 0")
    shop.run(f"update orders set amount = 1, moved = moved + {ROWS} where id % 7 = 0")
    shop.put([("c", n, 0, n + ROWS) for n in range(ROWS // 10)])
    found = case.run_through(list(kills), seed)
    with closing(sqlite3.connect(folder / "out.db")) as connection:
        table = sorted(connection.execute("select tenant, id, amount, moved from orders").fetchall())
    assert table == shop.rows()
    told: dict[str, list[Any]] = {}
    for part in sorted((folder / "log").glob("*.jsonl")):
        for change in map(json.loads, part.read_text().splitlines()):
            told.setdefault(change["_op"], []).append((change["tenant"], change["id"]))
    assert sorted(told["read"]) == sorted(("ab"[n % 2], n) for n in range(ROWS))
    assert sorted(told["delete"]) == sorted(("ab"[n % 2], n) for n in range(0, ROWS, 3))
    changed = [("ab"[n % 2], n) for n in range(ROWS) if n % 3 and n % 7 == 0]
    assert sorted(told["update"]) == sorted([*changed, *(("c", n) for n in range(ROWS // 10))])
    return found


@pytest.mark.parametrize("step", names(STEPS))
def test_a_kill_at_a_step_loses_no_delete_and_tells_none_twice(step: str, tmp_path: Path) -> None:
    with SHOPS["sqlite"](tmp_path) as shop:
        assert killed(shop, tmp_path, [f"{step}:1", f"{step}:2"], 3) >= 1, f"{step} was never reached"


@pytest.mark.parametrize(
    "kind",
    [
        "duckdb",
        pytest.param("postgres", marks=pytest.mark.postgres),
        pytest.param("mariadb", marks=pytest.mark.mariadb),
    ],
)
def test_random_kills_change_nothing(kind: str, tmp_path: Path) -> None:
    rng = random.Random(len(kind))
    with SHOPS[kind](tmp_path) as shop:
        kills = [f"{when}:{step}:{rng.randint(1, 3)}" for when, step in rng.choices(STEPS, k=4)]
        assert killed(shop, tmp_path, kills, 9) >= 1
