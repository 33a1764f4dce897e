"""kill -9 while tables are read beside their changes, or come, with writers at work: nothing is lost or goes back."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.changes import KEYS, SETUP, Writer, count_logged, forget, logged, there
from tests.chaos.processes import begin, dataflare, end, run, wait_until
from tests.postgres import VARIABLE, Place, place

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.postgres
ROWS, KILLS, MORE = 1500, 4, 120_000
WORKFLOW = """
id: {schema}
runtime:
  parallelism: 1
  checkpoint: {{interval: 50ms, retain: 3}}
  restart: {{initial: 50ms}}
sources:
  shop:
    type: postgres
    mode: hybrid
    config:
      url: "${{{variable}}}"
      tables: [{tables}]
      fetch_rows: 100
      cdc: {{slot_name: {schema}, heartbeat: 100ms}}
destinations:
"""
LOG = "  {name}: {{type: file, inputs: [shop.{name}], config: {{path: {name}, format: jsonl}}}}\n"
COPY = """  {name}_copy:
    type: postgres
    inputs: [shop.{name}]
    write_mode: merge
    config: {{url: "${{{variable}}}", table: {schema}.{name}_copy}}
"""


@pytest.fixture
def spot() -> Iterator[Place]:
    with place() as found:
        yield found
        forget(found, found.schema)


def _set_up(spot: Place) -> None:
    for statement in SETUP.format(schema=spot.schema, rows=ROWS).split(";"):
        if statement.strip():
            spot.run(statement)


def _write(spot: Place, folder: Path, names: list[str]) -> None:
    tables = ", ".join(spot.table(name) for name in names)
    head = WORKFLOW.format(schema=spot.schema, variable=VARIABLE, tables=tables)
    ends = "".join((LOG + COPY).format(name=name, schema=spot.schema, variable=VARIABLE) for name in names)
    (folder / "workflow.yaml").write_text(head + ends)


def _reads(folder: Path) -> int:
    return sum(change["_op"] == "read" for name in KEYS for change in logged(folder / name))


def _resnapshot(folder: Path, *arguments: str) -> None:
    done = dataflare(folder, "cdc", "resnapshot", "workflow.yaml", *arguments)
    assert done.code == 0, done.err


def _killed(folder: Path, more: int, table: str) -> None:
    """Run until some more rows are read; ask for another table, and kill it."""
    wanted = _reads(folder) + more
    process = begin(folder, "run", "workflow.yaml")
    try:
        wait_until(lambda: _reads(folder) >= wanted, process)
        _resnapshot(folder, table)
    finally:
        end(process)


def test_kills_while_tables_are_read_beside_their_changes(spot: Place, tmp_path: Path) -> None:
    _set_up(spot)
    _write(spot, tmp_path, ["items", "pairs"])
    assert run(tmp_path, "--until", "now").code == 0
    writer, rng = Writer(spot.url, spot.schema, ROWS, 21), random.Random(22)
    writer.start()
    try:
        _write(spot, tmp_path, list(KEYS))  # one more table
        for _ in range(KILLS):
            low = rng.randrange(1, 3 * ROWS)
            _resnapshot(tmp_path, "items", "--keys", f"{low}..{low + ROWS}")
            _killed(tmp_path, rng.randrange(1, 500), rng.choice(["names", "pairs"]))
    finally:
        writer.stop()
    _run_to_the_end(tmp_path)

    for name, key in KEYS.items():
        assert _gone_back(logged(tmp_path / name), key) == []
        _compare_copy(spot, name)


@pytest.mark.parametrize("seed", [1, 2])
def test_a_kill_while_tables_come_loses_nothing(spot: Place, tmp_path: Path, seed: int) -> None:
    _set_up(spot)
    for more in (
        "names select 'more ' || n, -n",
        "pairs select 1000 + n, date '2026-01-01', 0",
    ):  # several pieces of each
        spot.run(f"insert into {{}}.{more} from generate_series(1, {MORE}) n")
    rng, followed = random.Random(seed), ["items"]
    _write(spot, tmp_path, followed)
    writer = Writer(spot.url, spot.schema, ROWS, 30 + seed)
    writer.start()
    try:
        assert run(tmp_path, "--until", "now").code == 0
        for name in rng.sample(["names", "pairs"], 2):
            _killed_adding(spot, tmp_path, followed, name, rng)
    finally:
        writer.stop()
    _run_to_the_end(tmp_path)

    for name, key in KEYS.items():
        reads = [tuple(c[k] for k in key) for c in logged(tmp_path / name) if c["_op"] == "read"]
        assert len(reads) == len(set(reads)), f"{name} was read again"
        _compare_copy(spot, name)


def _killed_adding(spot: Place, folder: Path, followed: list[str], name: str, rng: random.Random) -> None:
    """Add a table to a run, and kill both at some moment: before it is taken in, while it is, while it is read."""
    moment = rng.choice(["at once", "planned", "read", "read"])
    process = begin(folder, "run", "workflow.yaml", "--log", "json")
    before = count_logged(folder / "items")
    wait_until(lambda: count_logged(folder / "items") > before, process)
    followed.append(name)
    _write(spot, folder, followed)
    asking = begin(folder, "cdc", "add-table", "workflow.yaml", name)
    try:
        if moment == "planned":
            held = f"select 1 from pg_publication_tables where pubname = '{spot.schema}' and tablename = '{name}'"
            wait_until(lambda: bool(spot.run(held)), process)
            time.sleep(rng.random() / 2)
        elif moment == "read":
            wait_until(lambda: count_logged(folder / name) > 0, process)
            time.sleep(rng.random() / 4)
    finally:
        end(process)
        end(asking)


def _run_to_the_end(folder: Path) -> None:
    for _ in range(2):  # the second one reads nothing again
        done = run(folder, "--until", "now")
        assert done.code == 0, done.err
    assert all(done.rows(name) == {} for name in KEYS)


def _compare_copy(spot: Place, name: str) -> None:
    columns = ", ".join(there(spot.url, spot.schema, name).popitem()[1])
    for one, other in ((name, f"{name}_copy"), (f"{name}_copy", name)):
        assert spot.run(f"select {columns} from {{}}.{one} except select {columns} from {{}}.{other}") == []


def _gone_back(log: list[dict[str, Any]], key: tuple[str, ...]) -> list[Any]:
    """Return keys of which a change comes behind a later one, or cannot be what comes next."""
    newest: dict[Any, str] = {}
    rows: set[Any] = set()
    wrong = []
    for change in log:
        at, op = tuple(change[k] for k in key), change["_op"]
        if change["_tx"] < newest.get(at, "") or {"update": at not in rows, "delete": at not in rows}.get(op, False):
            wrong.append((at, op))
        if op == "insert" and at in rows:
            wrong.append((at, op))
        (rows.discard if op == "delete" else rows.add)(at)
        newest[at] = change["_tx"]
    return wrong[:5]
