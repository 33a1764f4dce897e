"""kill -9 while tables are read beside their changes, with writers at work: nothing is lost, nothing goes back."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest

from tests.changes import KEYS, SETUP, Writer, forget, logged, there
from tests.chaos.processes import begin, dataflare, end, run, wait_until
from tests.postgres import VARIABLE, Place, place

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.postgres
ROWS, KILLS = 1500, 4
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
    for statement in SETUP.format(schema=spot.schema, rows=ROWS).split(";"):
        if statement.strip():
            spot.run(statement)
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
    for _ in range(2):  # the second one reads nothing again
        done = run(tmp_path, "--until", "now")
        assert done.code == 0, done.err
    assert all(done.rows(name) == {} for name in KEYS)

    for name, key in KEYS.items():
        assert _gone_back(logged(tmp_path / name), key) == []
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
