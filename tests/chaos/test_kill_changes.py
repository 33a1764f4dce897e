"""kill -9 while tables are read and then followed, with writers at work: no change is lost, and none told twice."""

from __future__ import annotations

import random
import sqlite3
from typing import TYPE_CHECKING, Any

import pytest

from tests.changes import KEYS, SETUP, Writer, count_logged, difference, forget, logged, there
from tests.chaos.processes import begin, end, run, wait_until
from tests.postgres import VARIABLE, Place, place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.postgres
ROWS, KILLS = 6000, 10
WORKFLOW = """
id: {schema}
runtime:
  parallelism: 2
  checkpoint: {{interval: 50ms, retain: 3}}
  restart: {{initial: 50ms}}
sources:
  shop:
    type: postgres
    mode: {mode}
    config:
      url: "${{{variable}}}"
      tables: [{schema}.items, {schema}.names, {schema}.pairs]
      split_rows: 1000
      fetch_rows: 150
      cdc: {{slot_name: {schema}, heartbeat: 100ms}}
destinations:
"""
FILES = """
  items: {{type: file, inputs: [shop.items], config: {{path: items, format: jsonl}}}}
  names: {{type: file, inputs: [shop.names], config: {{path: names, format: jsonl}}}}
  pairs: {{type: file, inputs: [shop.pairs], config: {{path: pairs, format: jsonl}}}}
"""
DATABASES = """
  items:
    type: postgres
    inputs: [shop.items]
    write_mode: merge
    key: [id]
    config: {{url: "${{{variable}}}", table: {schema}.items_copy}}
  names:
    type: postgres
    inputs: [shop.names]
    write_mode: merge
    key: [name]
    config: {{url: "${{{variable}}}", table: {schema}.names_copy}}
  pairs:
    type: sqlite
    inputs: [shop.pairs]
    write_mode: merge
    key: [b, a]
    config: {{path: pairs.db, table: pairs}}
"""
"""The first one decides, the others are staged."""


@pytest.fixture
def spot() -> Iterator[Place]:
    with place() as found:
        yield found
        forget(found, found.schema)


def _prepared(spot: Place, folder: Path, mode: str, rows: int, destinations: str = FILES) -> None:
    for statement in SETUP.format(schema=spot.schema, rows=rows).split(";"):
        if statement.strip():
            spot.run(statement)
    text = (WORKFLOW + destinations).format(schema=spot.schema, mode=mode, variable=VARIABLE)
    (folder / "workflow.yaml").write_text(text)


def _counts(folder: Path) -> int:
    return sum(count_logged(folder / name) for name in KEYS)


def _killed(folder: Path, count: Callable[[], int], more: int) -> None:
    """Run until some more rows are committed, and kill it."""
    wanted = count() + more
    process = begin(folder, "run", "workflow.yaml")
    try:
        wait_until(lambda: count() >= wanted, process)
    finally:
        end(process)


def test_kills_while_tables_are_read_and_followed_lose_and_repeat_nothing(spot: Place, tmp_path: Path) -> None:
    _prepared(spot, tmp_path, "hybrid", ROWS)
    writer, rng = Writer(spot.url, spot.schema, ROWS, 7), random.Random(11)
    writer.start()
    try:
        for kill in range(KILLS):
            more = rng.randrange(1, ROWS // 2 if kill < KILLS // 2 else 300)
            _killed(tmp_path, lambda: _counts(tmp_path), more)
    finally:
        writer.stop()
    done = run(tmp_path, "--until", "now")
    assert done.code == 0, done.err

    logs: dict[str, list[dict[str, Any]]] = {name: logged(tmp_path / name) for name in KEYS}
    assert {c["_op"] for log in logs.values() for c in log} >= {"read", "insert", "update", "delete"}
    assert {n: difference(log, spot.url, spot.schema, n) for n, log in logs.items()} == {n: [] for n in KEYS}
    again = run(tmp_path, "--until", "now")
    assert again.code == 0, again.err
    assert all(again.rows(name) == {} for name in KEYS)


def test_kills_before_and_behind_databases_leave_the_tables_equal(spot: Place, tmp_path: Path) -> None:
    _prepared(spot, tmp_path, "hybrid", ROWS, DATABASES)
    writer, rng = Writer(spot.url, spot.schema, ROWS, 9), random.Random(13)

    def count() -> int:
        if not spot.run("select 1 from pg_class where oid = to_regclass($1)", (f"{spot.schema}.items_copy",)):
            return 0
        return int(spot.run("select count(*) + coalesce(sum(n), 0)::int8 from {}.items_copy")[0][0])

    writer.start()
    try:
        for kill in range(KILLS):
            _killed(tmp_path, count, rng.randrange(1, ROWS // 4 if kill < KILLS // 2 else 100))
    finally:
        writer.stop()
    done = run(tmp_path, "--until", "now")
    assert done.code == 0, done.err

    for name in ("items", "names"):
        columns = ", ".join(there(spot.url, spot.schema, name).popitem()[1])
        for one, other in ((name, f"{name}_copy"), (f"{name}_copy", name)):
            missing = f"select {columns} from {{}}.{one} except select {columns} from {{}}.{other}"
            assert spot.run(missing) == []
    with sqlite3.connect(tmp_path / "pairs.db") as copy:
        pairs = {(a, b): float(v) if v is not None else None for a, b, v in copy.execute("select a, b, v from pairs")}
    assert pairs == {key: row["v"] for key, row in there(spot.url, spot.schema, "pairs").items()}


def test_kills_of_a_follower_lose_and_repeat_nothing(spot: Place, tmp_path: Path) -> None:
    _prepared(spot, tmp_path, "cdc", 1)
    assert run(tmp_path, "--until", "now").code == 0
    spot.run("insert into {}.items select n * 3, 'v' || n, 0, null from generate_series(2, 600) n")
    spot.run("insert into {}.names select 'n' || n, n from generate_series(2, 600) n")
    spot.run("insert into {}.pairs select n % 50, date '2026-01-01' + n / 50, n from generate_series(2, 600) n")
    writer, rng = Writer(spot.url, spot.schema, 600, 8), random.Random(12)
    writer.start()
    try:
        for _ in range(5):
            _killed(tmp_path, lambda: _counts(tmp_path), rng.randrange(1, 1000))
    finally:
        writer.stop()
    done = run(tmp_path, "--until", "now")
    assert done.code == 0, done.err

    first = {name: {"_op": "read", "_tx": "", **row} for name in KEYS for row in _at_first(name)}
    logs = {name: [first[name], *logged(tmp_path / name)] for name in KEYS}
    assert {n: difference(log, spot.url, spot.schema, n) for n, log in logs.items()} == {n: [] for n in KEYS}


def _at_first(name: str) -> list[dict[str, Any]]:
    """Return the one row that each table has before it is followed."""
    return {
        "items": [{"id": 3, "v": "v1", "n": 0, "long": "1" * 700}],
        "names": [{"name": "n0z", "v": 1}],
        "pairs": [{"a": 1, "b": "2026-01-01", "v": 0.125}],
    }[name]
