"""How far changes of MariaDB are behind, and what the server still has of its log: by sources, and by `cdc status`."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from tests.changes import wait_for
from tests.chaos.processes import begin, end
from tests.chaos.test_kill_maria_changes import own_server
from tests.maria_changes import Followed, connected, followers
from tests.mariadb import Database, database

from dataflare.cli.main import main
from dataflare.connectors.mariadb.changes.lag import LogFiles
from dataflare.connectors.mariadb.replication.places import LogPlace
from dataflare.sql.change_source import CHANGES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.mariadb


@pytest.fixture
def spot() -> Iterator[Database]:
    with database() as found:
        found.run("create table a (id int primary key, v text)")
        yield found


def test_what_is_not_read_and_not_committed_counts(spot: Database) -> None:
    with followers(spot, "cdc") as build:
        one: Followed = build("a")
        split = one.stream
        assert one.source.lag() is None
        spot.run("insert into a select seq, repeat('x', 100) from seq_1_to_5000")

        async def followed() -> None:
            reading = one.source.read(split, None, None)
            first = await anext(reading)
            spot.run("insert into a select -seq, repeat('x', 100) from seq_1_to_5000")
            spot.run("select sleep(1.1)")
            stream: Any = one.source._following._stream  # type: ignore[union-attr]
            await asyncio.to_thread(stream._beat)
            behind = one.source.lag()
            assert behind.bytes > 1_000_000
            assert min(behind.seconds, behind.committed_seconds or 1.0) >= 1.0
            while first.position["gtid"] == (later := await anext(reading)).position["gtid"]:
                pass
            one.source.acknowledge({CHANGES: later.position})
            assert one.source.lag().bytes < behind.bytes
            await reading.aclose()

        asyncio.run(followed())
        last = one.batches()[-1]
        assert last.position is not None
        one.source.acknowledge({CHANGES: last.position})
        assert set(one.source.lag().figures()) == {"seconds", "committed_seconds", "bytes"}  # type: ignore[union-attr]


def test_bytes_are_counted_over_files_whose_sizes_are_known_or_not(spot: Database) -> None:
    with followers(spot, "cdc") as build:
        session = build("a").source.session
        end, now = LogFiles(session).end()
        assert end.byte > 0
        assert now > 1_700_000_000_000_000
        files = LogFiles(session)
        assert files.byte(LogPlace("log.000007", 100)) == 100
        files.end()
        files._sizes = {"log.000007": 1000, "log.000008": 50}
        assert files.byte(LogPlace("log.000009", 10)) == 1060
        assert files.byte(LogPlace("log.000010", 10)) == 1050 + files._most + 10
        assert files.byte(LogPlace("log.000006", 10)) == 0, "of another server, or from before"
        assert files.byte(LogPlace("log.000008", 10)) == 1010


def workflow(url: str, name: str, folder: Path) -> str:
    file = folder / "workflow.yaml"
    file.write_text(
        f"""
id: {name}
runtime: {{checkpoint: {{interval: 50ms}}}}
sources:
  shop: {{type: mariadb, mode: hybrid, config: {{url: "{url}", tables: [a], cdc: {{heartbeat: 100ms}}}}}}
destinations:
  out: {{type: file, inputs: [shop.a], config: {{path: out, format: jsonl}}}}
"""
    )
    return str(file)


def said(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> dict[str, Any]:
    capsys.readouterr()
    assert main([*arguments, "--json"]) == code
    out, err = capsys.readouterr()
    return json.loads((out or err).splitlines()[-1])


def test_status_tells_before_and_after_a_run(
    spot: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = workflow(spot.url, spot.name, tmp_path)
    before = said(capsys, "cdc", "status", file)
    assert (before["state_gtid"], before["behind_bytes"], before["log_status"]) == (None, None, None)
    assert before["tables"] == [f"{spot.name}.a"]
    assert main(["run", file, "--until", "now"]) == 0
    stands = said(capsys, "cdc", "status", file)
    spot.run("insert into a select seq, repeat('x', 100) from seq_1_to_5000")
    after = said(capsys, "cdc", "status", file)
    assert after["log_status"] == "kept"
    assert after["reader"] is None
    assert after["state_gtid"] == stands["state_gtid"]
    assert after["behind_bytes"] > 500_000
    assert after["behind_transactions"] >= 1
    assert after["behind_seconds"] is not None
    assert after["kept_bytes"] >= after["behind_bytes"]
    assert after["parts_open"] == 0
    assert after["requests"] == 0
    assert main(["cdc", "status", file]) == 0
    assert "behind transactions" in capsys.readouterr().out
    assert said(capsys, "cdc", "drop", file, "--yes")["dropped"] == []


def test_a_run_tells_its_lag_and_who_reads(spot: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = workflow(spot.url, spot.name, tmp_path)
    process = begin(tmp_path, "run", "workflow.yaml")
    try:
        reader = wait_for(lambda: said(capsys, "cdc", "status", file)["reader"])
        assert (reader,) in spot.run("select id from information_schema.processlist")

        def lag() -> Any:
            main(["status", spot.name, "--json", "--state", str(tmp_path / ".dataflare")])
            lines = capsys.readouterr().out.splitlines()
            return lines and json.loads(lines[-1]).get("lag")

        assert set(wait_for(lag)["shop"]) >= {"seconds", "bytes"}
    finally:
        end(process)
    assert wait_for(lambda: said(capsys, "cdc", "status", file)["reader"] is None)


def test_status_tells_that_log_is_removed_which_was_not_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with own_server() as server, connected(server.url) as connection, connection.cursor() as cursor:
        cursor.execute("create table a (id int primary key)")
        file = workflow(server.url, "purged", tmp_path)
        assert main(["run", file, "--until", "now"]) == 0
        cursor.execute("flush binary logs")
        cursor.execute("insert into a values (1)")
        kept = said(capsys, "cdc", "status", file)
        assert (kept["log_status"], kept["behind_transactions"]) == ("kept", 1)
        assert 0 < kept["behind_bytes"] < 10_000
        cursor.execute("flush binary logs")
        cursor.execute("show binary logs")
        newest = cursor.fetchall()[-1][0]

        def purged() -> Any:
            cursor.execute(f"purge binary logs to '{newest}'")
            cursor.execute("show binary logs")
            return len(cursor.fetchall()) == 1

        wait_for(purged)
        gone = said(capsys, "cdc", "status", file)
        assert (gone["log_status"], gone["oldest_log"]) == ("purged", newest)
        refused = said(capsys, "run", file, "--until", "now", code=3)
        assert "has removed log that was not read yet" in refused["error"]["message"]
