"""The Debezium source against a real server: what it ends with, killed or not, is what the table is."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import psycopg
import pytest
from tests.changes import SETUP, Writer, forget, wait_for
from tests.chaos.processes import begin_anew, end, press_ctrl_c, wait_until
from tests.debezium.captured import skip_without_debezium
from tests.postgres import Place, place

from dataflare.connectors.debezium.settings import DebeziumConfig
from dataflare.connectors.debezium.source import CHANGES, DebeziumSource
from dataflare.errors import ExternalError
from dataflare.testing.stage import staged

if TYPE_CHECKING:
    from collections.abc import Iterator

skip_without_debezium()
pytestmark = pytest.mark.postgres
ROWS = 2000
WORKFLOW = """
id: {schema}
runtime:
  checkpoint: {{interval: 200ms, retain: 3}}
sources:
  shop:
    type: debezium
    mode: hybrid
    config:
      connector: postgresql
      host: {host}
      port: {port}
      user: {user}
      password: "{password}"
      database: {database}
      slot_name: {schema}
      heartbeat: 200ms
      tables: {{{schema}.items: {{columns: {{id: int64, v: string, n: int32, long: string}}, key: [id]}}}}
destinations:
  items:
    type: postgres
    inputs: [shop]
    write_mode: merge
    config: {{url: "{url}", table: {schema}.copied, changes: {{tx: place}}}}
"""
CLOCK = "select count(*) from {}.copied"
SAME = (
    "select count(*) from (select id, v, n, md5(long) from {}.items) s "
    "full join (select id, v, n, md5(long) from {}.copied) c using (id) "
    "where (s.v, s.n, s.md5) is distinct from (c.v, c.n, c.md5)"
)


@pytest.fixture
def spot() -> Iterator[Place]:
    with place() as found, psycopg.connect(found.url, autocommit=True) as connection:
        connection.execute(SETUP.format(schema=found.schema, rows=ROWS).encode())
        yield found
        forget(found, found.schema)


def facts(spot: Place) -> dict[str, Any]:
    parts = urlsplit(spot.url)
    return {
        "host": parts.hostname,
        "port": parts.port,
        "user": unquote(parts.username or ""),
        "password": unquote(parts.password or ""),
        "database": parts.path.strip("/"),
    }


def source(spot: Place, **changes: Any) -> DebeziumSource:
    tables = {spot.table("names"): {"columns": {"name": "string", "v": "int32"}, "key": ["name"]}}
    told = {"connector": "postgresql", "slot_name": spot.schema, "tables": tables, **facts(spot), **changes}
    return staged(DebeziumSource(DebeziumConfig.model_validate(told)), mode="hybrid")


def children(process: int) -> list[int]:
    """Return the processes that one has started and that still live."""
    threads = Path(f"/proc/{process}/task").glob("*/children")
    return [int(p) for thread in threads for p in thread.read_text().split()]


def lives(process: int) -> bool:
    stat = Path(f"/proc/{process}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] not in "ZX"


def debezium_of(spot: Place) -> int:
    """Return the process that works in a folder of Debezium and reads the slot; 0: none."""
    ((reads,),) = spot.run(f"select count(*) from pg_replication_slots where slot_name = '{spot.schema}' and active")
    return int(reads)


def test_a_run_that_is_killed_ends_with_the_table_as_it_is_and_leaves_no_process(tmp_path: Path, spot: Place) -> None:
    spot.run("create table {}.copied (id bigint primary key, v text, n int, long text, place text)")
    text = WORKFLOW.format(schema=spot.schema, url=spot.url, **facts(spot))
    (tmp_path / "workflow.yaml").write_text(text)
    (tmp_path / "workflow.yaml").chmod(0o600)

    def begun() -> Any:
        return begin_anew(tmp_path, "run", "workflow.yaml")

    def copied() -> int:
        return int(spot.run(CLOCK)[0][0])

    process = begun()
    writer = Writer(spot.url, spot.schema, ROWS, 7)
    try:
        wait_until(lambda: copied() >= ROWS, process)
        writer.start()
        wait_until(lambda: int(spot.run("select count(*) from {}.copied where n > 0")[0][0]) > 20, process)
        started = children(process.pid)
        assert started
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        wait_for(lambda: not any(map(lives, started)))  # nothing is left of it, also where it has a session of its own

        process = begun()
        wait_until(lambda: debezium_of(spot) > 0, process)
        writer.stop()
        wait_until(lambda: int(spot.run(SAME)[0][0]) == 0, process)
        started = children(process.pid)
        press_ctrl_c(process)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 130, out + err
        assert "Traceback" not in err
        assert not any(map(lives, started))
    finally:
        end(process)
    assert int(spot.run(SAME)[0][0]) == 0


def test_a_debezium_that_dies_is_told_and_goes_on_from_a_position(spot: Place) -> None:
    one = source(spot)
    one.open()
    position: Any = None

    async def until_it_dies() -> None:
        nonlocal position
        count = 0
        reading = one.read(one.splits(None)[0], None, None)
        async for batch in reading:
            position, count = batch.position, count + batch.num_rows
            if count >= ROWS:
                os.kill(int(position["life"]), signal.SIGKILL)

    async def first(since: Any) -> Any:
        reading = one.read(one.splits(None)[0], since, None)
        async for batch in reading:
            if batch.num_rows:
                await reading.aclose()
                return batch.rows.to_pylist()
        return None

    try:
        with pytest.raises(ExternalError, match=r"Debezium ended \(status -9\)"):
            asyncio.run(until_it_dies())
        one.close()
        spot.run("insert into {}.names values ('new', 5)")
        (row,) = asyncio.run(first(position))
        assert (row["_op"], row["name"], row["v"]) == ("insert", "new", 5)
    finally:
        one.close()


def test_what_debezium_says_at_its_end_is_told_without_the_password(spot: Place) -> None:
    one = source(spot, password="not-the-one-4711", properties={"errors.max.retries": "0"})
    one.open()

    async def begin() -> None:
        async for _ in one.read(one.splits(None)[0], None, None):
            pass

    try:
        with pytest.raises(ExternalError, match="password authentication failed") as told:
            asyncio.run(begin())
        assert "4711" not in str(told.value)
    finally:
        one.close()


def test_the_server_forgets_only_what_is_committed(spot: Place) -> None:
    one = source(spot, heartbeat="100ms")
    one.open()
    confirmed = f"select confirmed_flush_lsn::text from pg_replication_slots where slot_name = '{spot.schema}'"

    async def moves() -> None:
        count, acknowledged = 0, False
        async for batch in one.read(one.splits(None)[0], None, None):
            count += batch.num_rows
            if count == ROWS and not acknowledged:
                ((self_told,),) = spot.run(confirmed)
                spot.run("insert into {}.names values ('new', 5)")
                acknowledged = True
            elif count > ROWS and batch.position is not None:
                assert acknowledged
                if spot.run(confirmed)[0][0] != self_told:
                    return
                one.acknowledge({CHANGES: batch.position})

    try:
        asyncio.run(asyncio.wait_for(moves(), 60))
    finally:
        one.close()
