"""kill -9 in the midst of a transaction that comes while it is open: it is told once, or not at all if it is undone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from tests.changes import forget, logged
from tests.chaos.processes import begin, end, run, wait_until
from tests.postgres import VARIABLE, Place, place

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.postgres
ROWS = 20_000
WORKFLOW = """
id: {schema}
runtime: {{checkpoint: {{interval: 20ms, retain: 3}}, restart: {{initial: 50ms}}}}
sources:
  shop:
    type: postgres
    mode: cdc
    config:
      url: "${{{variable}}}?options=-c%20logical_decoding_work_mem%3D64kB"
      table: {schema}.t
      cdc: {{slot_name: {schema}, heartbeat: 100ms}}
destinations:
  out: {{type: file, inputs: [shop], config: {{path: out, format: jsonl}}}}
"""


@pytest.fixture
def spot() -> Iterator[Place]:
    with place() as found:
        found.run("create table {}.t (id int primary key, v text)")
        yield found
        forget(found, found.schema)


def test_kills_amid_streamed_transactions_lose_and_repeat_nothing(spot: Place, tmp_path: Path) -> None:
    assert "?" not in spot.url
    (tmp_path / "workflow.yaml").write_text(WORKFLOW.format(schema=spot.schema, variable=VARIABLE))
    assert run(tmp_path, "--until", "now").code == 0

    def parts() -> int:
        ((count,),) = spot.run(
            "select stream_count from pg_stat_replication_slots where slot_name = $1", (spot.schema,)
        )
        return int(count)

    def killed(reached: Any) -> None:
        process = begin(tmp_path, "run", "workflow.yaml")
        try:
            wait_until(reached, process)
        finally:
            end(process)

    insert = f"insert into {spot.schema}.t select n, repeat('x', 50) from generate_series(%s::int, %s::int) n"
    with psycopg.connect(spot.url) as kept, psycopg.connect(spot.url) as undone:
        kept.execute(insert, (1, ROWS))
        undone.execute(insert, (ROWS + 1, 2 * ROWS))
        kept.execute("savepoint s")
        kept.execute(insert, (2 * ROWS + 1, 3 * ROWS))
        for _ in range(2):  # the server has sent some of all three, and of the second time as well
            before = parts()
            killed(lambda before=before: parts() > before + 40)
        kept.execute("rollback to savepoint s")
        kept.execute(insert, (3 * ROWS + 1, 3 * ROWS + 10))
        before = parts()
        killed(lambda: parts() > before + 40)
        undone.rollback()
    for wanted in (1, ROWS // 2):
        killed(lambda wanted=wanted: len(logged(tmp_path / "out")) >= wanted)
    done = run(tmp_path, "--until", "now")
    assert done.code == 0, done.err
    assert [c["id"] for c in logged(tmp_path / "out")] == [*range(1, ROWS + 1), *range(3 * ROWS + 1, 3 * ROWS + 11)]
    assert parts() > 0
