"""The server of source and destination goes away in the middle of a run, in order or by a crash, and comes back."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

from tests.chaos.conftest import CHAOS, Case
from tests.chaos.forked import Forked
from tests.postgres import Server, own_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.postgres
URL = os.environ.get("DATAFLARE_TEST_POSTGRES", "")
if not URL:
    pytest.skip("DATAFLARE_TEST_POSTGRES names no server", allow_module_level=True)

ROWS = 120_000
WORKFLOW = """
id: restarted
runtime:
  checkpoint: {{interval: 50ms, timeout: 30s, retain: 3}}
  restart: {{initial: 100ms, max: 500ms, attempts: 100}}
sources:
  orders:
    type: postgres
    config: {{url: "{url}", table: orders, split_rows: 30000, fetch_rows: 300}}
{between}
destinations:
  copy: {{type: postgres, inputs: [{last}], config: {{url: "{url}", table: copy}}}}
"""
PARSED = "transformations:\n  all: {type: filter, inputs: [orders], config: {condition: id > 0}}\n"


@pytest.fixture
def server() -> Iterator[Server]:
    with own_server() as found:
        yield found


def epoch(server: Server) -> int:
    there = server.ask("select to_regclass('_dataflare_epochs') is not null")
    return int(server.ask("select coalesce(max(epoch), 0) from _dataflare_epochs")) if there == "True" else 0


@pytest.mark.parametrize("between", ["", PARSED], ids=["bytes", "rows"])
@pytest.mark.parametrize("commands", [["restart"], ["kill", "start"]], ids=["restart", "crash"])
def test_a_server_that_comes_back_loses_and_doubles_nothing(
    tmp_path: Path, server: Server, commands: list[str], between: str
) -> None:
    server.ask("create table orders (id int primary key, name text, price numeric(9,2))")
    server.ask(f"insert into orders select n, 'name ' || n, n / 7.0 from generate_series(1, {ROWS}) n")
    server.ask("vacuum analyze orders")
    case = Case(tmp_path)
    case.file.write_text(WORKFLOW.format(url=server.url, between=between, last="all" if between else "orders"))
    passing = {n.traits.get("codec") for n in case.plan().nodes}
    assert passing == ({None} if between else {"pgcopy"})

    with Forked(CHAOS, str(case.file)) as run:
        for times in (1, 2):
            before = epoch(server)
            while epoch(server) < before + 2:
                assert run.poll() is None, f"it was over before the server went away for the {times}. time"
                time.sleep(0.02)
            for verb in commands:
                server.do(verb)
        _, told = run.communicate(timeout=120)
    assert run.returncode == 0, told

    total = "select count(*) || ' ' || sum(hashtextextended(t::text, 0)) from {} t"
    assert server.ask(total.format("copy")) == server.ask(total.format("orders"))
    assert int(server.ask("select fence from _dataflare_epochs")) >= 3, "no attempt ended"
