"""The server goes away while its tables are read and followed, in order or by a crash, and comes back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.changes import SETUP, Writer, count_logged, difference, logged
from tests.chaos.processes import begin, end, run, wait_until
from tests.postgres import Server, own_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.postgres
ROWS = 6000
WORKFLOW = """
id: followed
runtime:
  checkpoint: {{interval: 50ms, retain: 3}}
  restart: {{initial: 100ms, max: 500ms, attempts: 100}}
sources:
  shop:
    type: postgres
    mode: hybrid
    config: {{url: "{url}", table: public.items, split_rows: 1000, fetch_rows: 100, cdc: {{heartbeat: 100ms}}}}
destinations:
  items: {{type: file, inputs: [shop], config: {{path: items, format: jsonl}}}}
"""


@pytest.fixture
def server() -> Iterator[Server]:
    with own_server() as found:
        yield found


@pytest.mark.parametrize("commands", [["restart"], ["kill", "start"]], ids=["restart", "crash"])
def test_a_server_that_comes_back_tells_all_and_nothing_twice(
    tmp_path: Path, server: Server, commands: list[str]
) -> None:
    for statement in SETUP.format(schema="public", rows=ROWS).split(";"):
        server.ask(statement) if statement.strip() else None
    (tmp_path / "workflow.yaml").write_text(WORKFLOW.format(url=server.url))
    process = begin(tmp_path, "run", "workflow.yaml")
    out, goal = tmp_path / "items", ROWS // 3
    try:
        for seed in range(3):  # at first while the table is read, then while it is followed
            wait_until(lambda: count_logged(out) >= goal, process)  # noqa: B023 - now
            for verb in commands:
                server.do(verb)
            writer = Writer(server.url, "public", ROWS, seed)
            writer.start()
            goal = max(goal, ROWS) if seed == 0 else count_logged(out) + 200
            wait_until(lambda: count_logged(out) >= goal, process)  # noqa: B023 - now
            writer.stop()
    finally:
        end(process)
    done = run(tmp_path, "--until", "now")
    assert done.code == 0, done.err

    log = logged(out)
    assert len([c for c in log if c["_op"] != "read"]) > 200
    assert difference(log, server.url, "public", "items") == []
