"""Changes and a disk that is full, here or at a server: said with the cure; with more room all of it comes, once."""

from __future__ import annotations

import base64
import os
import random
import shutil
import signal
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.changes import forget, logged
from tests.chaos import test_disk
from tests.chaos.paths import ChangePath, change_path
from tests.chaos.processes import begin, ended, run, wait_until
from tests.chaos.test_disk import Disk, full
from tests.chaos.test_kill_streamed import WORKFLOW as STREAMED
from tests.postgres import VARIABLE, Server, own_server, place

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.postgres, test_disk.pytestmark]
BULKY = 400
FOLLOWED = """
id: followed
runtime: {{checkpoint: {{interval: 20ms}}, restart: {{initial: 50ms}}}}
sources:
  shop: {{type: postgres, mode: hybrid, config: {{url: "{url}", table: public.orders, cdc: {{heartbeat: 100ms}}}}}}
destinations:
  copy: {{type: postgres, inputs: [shop], write_mode: merge, config: {{url: "{url}", table: public.copy}}}}
  log: {{type: file, inputs: [shop], config: {{path: log, format: jsonl}}}}
"""
TOTAL = "select count(*) || ' ' || sum(hashtextextended(t::text, 0)) from {} t"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    small = Disk(tmp_path, "1200k")
    yield small
    small.close()


def make_bulky(path: ChangePath) -> None:
    """Change the items in a way that takes room which no compression saves."""
    rng = random.Random(3)
    for number in range(BULKY):
        row = (10**8 + number, "bulky", 0, base64.b64encode(rng.randbytes(3000)).decode())
        if path.spot is not None and path.source == "postgres":
            path.spot.run("insert into {}.items values ($1::int8, $2::text, $3::int4, $4::text)", row)
        elif path.base is not None:
            path.base.run("insert into items values (%s, %s, %s, %s)", row)


@pytest.mark.mariadb
@pytest.mark.parametrize("source", ["postgres", "mariadb"])
def test_files_of_changes_on_a_full_disk_go_on_with_more_room(tmp_path: Path, disk: Disk, source: str) -> None:
    with change_path(source, "files", disk.path, 200) as path:
        text = path.case.file.read_text()
        path.case.file.write_text(
            text.replace("runtime:\n", f"runtime:\n  state: {{type: sqlite, path: {tmp_path}/state}}\n")
        )
        assert run(disk.path, "--until", "now").code == 0
        make_bulky(path)
        path.writer(1).write(20)
        full(run(disk.path, "--until", "now"))
        disk.grow()
        path.writer(2).write(20)
        told = run(disk.path, "--until", "now")
        assert told.code == 0, told.err
        assert path.found() == path.wanted()
        assert not list(disk.path.rglob(".staged*"))


def test_a_large_transaction_that_finds_no_room_to_wait_comes_once_there_is_some(tmp_path: Path, disk: Disk) -> None:
    environ = {"TMPDIR": str(disk.path)}
    with place() as spot:
        spot.run("create table {}.t (id int primary key, v text)")
        try:
            (tmp_path / "workflow.yaml").write_text(STREAMED.format(schema=spot.schema, variable=VARIABLE))
            assert run(tmp_path, "--until", "now").code == 0
            spot.run("insert into {}.t select n, repeat('x', 200) from generate_series(1, 20000) n")
            done = run(tmp_path, "--until", "now", environ=environ)
            full(done)
            assert "TMPDIR" in done.error["hint"]
            assert logged(tmp_path / "out") == []
            disk.grow()
            done = run(tmp_path, "--until", "now", environ=environ)
            assert done.code == 0, done.err
            assert [c["id"] for c in logged(tmp_path / "out")] == [*range(1, 20_001)]
        finally:
            forget(spot, spot.schema)


@pytest.fixture
def server() -> Iterator[Server]:
    with own_server() as found:
        yield found


def removed(server: Server) -> None:
    """Write until the server has removed log that a slot needed."""
    while server.ask("select wal_status from pg_replication_slots") != "lost":
        server.ask("create table junk as select repeat('x', 1000) from generate_series(1, 20000); drop table junk")
        server.ask("select pg_switch_wal()")
        server.ask("checkpoint")


def test_a_servers_disk_that_is_full_and_log_that_it_has_removed_for_want_of_room(
    tmp_path: Path, server: Server
) -> None:
    folder = Path(tempfile.mkdtemp(prefix="dataflare-room-"))
    folder.chmod(0o755)
    small = Disk(folder, "3m")
    try:
        account = Path(server.ask("show data_directory")).stat()
        os.chown(small.path, account.st_uid, account.st_gid)
        server.ask(f"create tablespace small location '{small.path}'")
        server.ask("create table orders (id int primary key, v text)")
        server.ask("create table copy (id int primary key using index tablespace small, v text) tablespace small")
        (tmp_path / "workflow.yaml").write_text(FOLLOWED.format(url=server.url))
        assert run(tmp_path, "--until", "now").code == 0
        random_text = "(select string_agg(md5(random()::text || n || k), '') from generate_series(1, 60) k)"
        server.ask(f"insert into orders select n, {random_text} from generate_series(1, 2000) n")
        done = run(tmp_path, "--until", "now")
        assert done.code == 3, done.err
        assert "the server's disk is full: make room" in done.error["hint"]
        small.grow()
        done = run(tmp_path, "--until", "now")
        assert done.code == 0, done.err
        assert server.ask(TOTAL.format("copy")) == server.ask(TOTAL.format("orders"))
        assert [c["id"] for c in logged(tmp_path / "log")] == [*range(1, 2001)]
        lost_log(tmp_path, server)
    finally:
        server.do("stop")
        small.close()
        shutil.rmtree(folder)


def lost_log(folder: Path, server: Server) -> None:
    """The server removes what a reader that sleeps has not read: the run ends with a way out, and so does the next."""
    server.ask("alter system set max_slot_wal_keep_size = '1MB'")
    server.ask("select pg_reload_conf()")
    process = begin(folder, "run", "workflow.yaml", "--json")
    wait_until(lambda: server.ask("select active from pg_replication_slots") == "True", process)
    process.send_signal(signal.SIGSTOP)
    removed(server)
    server.ask("insert into orders values (9999, '')")
    process.send_signal(signal.SIGCONT)
    for done in (ended(process), run(folder, "--until", "now")):
        assert done.code == 3, done.err
        assert "is lost: the server has removed the log" in done.error["message"]
        assert "max_slot_wal_keep_size" in done.error["message"]
        assert "another id" in done.error["hint"]
    assert len(logged(folder / "log")) == 2000
