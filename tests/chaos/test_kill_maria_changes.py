"""kill -9 while tables of MariaDB are read and then followed, by others changed; the server goes, the wire is cut."""

from __future__ import annotations

import os
import random
import secrets
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from tests.changes import logged
from tests.chaos.processes import begin, end, run, wait_until
from tests.maria_changes import KEYS, SETUP, Writer, connected, difference, there
from tests.mariadb import VARIABLE, Database, database
from tests.postgres import SERVICES
from tests.wire import cuttable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.mariadb
ROWS, KILLS = 2000, 6
WORKFLOW = """
id: {name}
runtime:
  parallelism: 2
  checkpoint: {{interval: 50ms, retain: 3}}
  restart: {{initial: 50ms, max: 500ms, attempts: 100}}
sources:
  shop:
    type: mariadb
    mode: hybrid
    config:
      url: "{url}"
      tables: [items, names, pairs]
      split_rows: 400
      fetch_rows: 60
      cdc: {{heartbeat: 100ms}}
destinations:
"""
FILES = """
  items: {{type: file, inputs: [shop.items], config: {{path: items, format: jsonl}}}}
  names: {{type: file, inputs: [shop.names], config: {{path: names, format: jsonl}}}}
  pairs: {{type: file, inputs: [shop.pairs], config: {{path: pairs, format: jsonl}}}}
"""
TABLES = """
  items: {{type: mariadb, inputs: [shop.items], write_mode: merge, config: {{url: "{url}", table: items_copy}}}}
  names: {{type: mariadb, inputs: [shop.names], write_mode: merge, config: {{url: "{url}", table: names_copy}}}}
  pairs: {{type: mariadb, inputs: [shop.pairs], write_mode: merge, config: {{url: "{url}", table: pairs_copy}}}}
"""
"""The first one decides, the others are staged."""


@pytest.fixture
def spot() -> Iterator[Database]:
    with database() as found:
        yield found


def prepared(url: str, folder: Path, destinations: str, through: str = "", rows: int = ROWS) -> None:
    with connected(url) as connection, connection.cursor() as cursor:
        for statement in SETUP.format(rows=rows).split(";"):
            cursor.execute(statement)
    text = (WORKFLOW + destinations).format(name=f"k{secrets.token_hex(4)}", url=through or url)
    (folder / "workflow.yaml").write_text(text)


def _counts(folder: Path) -> int:
    return sum(len(logged(folder / name)) for name in KEYS)


def _killed(folder: Path, count: Callable[[], int], more: int) -> None:
    """Run until some more rows are committed, and kill it."""
    wanted = count() + more
    process = begin(folder, "run", "workflow.yaml")
    try:
        wait_until(lambda: count() >= wanted, process)
    finally:
        end(process)


def _equal(folder: Path, url: str) -> None:
    """The logs in the files lead to the tables, and each change can be the next one of its row."""
    done = run(folder, "--until", "now")
    assert done.code == 0, done.err
    logs: dict[str, list[dict[str, Any]]] = {name: logged(folder / name) for name in KEYS}
    assert {c["_op"] for log in logs.values() for c in log} >= {"read", "insert", "update", "delete"}
    assert {n: difference(log, url, n) for n, log in logs.items()} == {n: [] for n in KEYS}


def test_kills_while_tables_are_read_and_followed_lose_and_repeat_nothing(spot: Database, tmp_path: Path) -> None:
    prepared(spot.url, tmp_path, FILES)
    writer, rng = Writer(spot.url, ROWS, 7), random.Random(11)
    writer.start()
    try:
        for kill in range(KILLS):
            more = rng.randrange(1, ROWS // 2 if kill < KILLS // 2 else 300)
            _killed(tmp_path, lambda: _counts(tmp_path), more)
    finally:
        writer.stop()
    _equal(tmp_path, spot.url)
    again = run(tmp_path, "--until", "now")
    assert again.code == 0, again.err
    assert all(again.rows(name) == {} for name in KEYS)


def test_kills_before_tables_leave_them_equal(spot: Database, tmp_path: Path) -> None:
    prepared(spot.url, tmp_path, TABLES)
    writer, rng = Writer(spot.url, ROWS, 9), random.Random(13)

    def count() -> int:
        if "items_copy" not in spot.tables():
            return 0
        return int(spot.run("select count(*) + coalesce(sum(n), 0) from items_copy")[0][0])

    writer.start()
    try:
        for kill in range(KILLS):
            _killed(tmp_path, count, rng.randrange(1, ROWS // 4 if kill < KILLS // 2 else 100))
    finally:
        writer.stop()
    done = run(tmp_path, "--until", "now")
    assert done.code == 0, done.err
    for name in KEYS:
        assert there(spot.url, f"{name}_copy") == there(spot.url, name)


class Server:
    """A server of its own, for one test: others must not lose theirs."""

    def __init__(self, folder: Path) -> None:
        port = 46_400 + os.getpid() % 90 * 50  # far from those that other workers look at
        own = {"DATAFLARE_SERVICES_DIR": str(folder), "DATAFLARE_SERVICES_PORT_BASE": str(port)}
        self._environ = {**os.environ, **own}
        self.do("start")
        server = self.do("env").strip().partition("=")[2]
        with connected(server) as connection, connection.cursor() as cursor:
            cursor.execute("create database shop")
        self.url = f"{server}/shop"

    def do(self, command: str) -> str:
        """Let scripts/services.py do something with it."""
        ran = [sys.executable, str(SERVICES), command, "mariadb"]
        done = subprocess.run(ran, env=self._environ, capture_output=True, text=True, check=True, timeout=120)
        return done.stdout


@contextmanager
def own_server() -> Iterator[Server]:
    """Give a new server, removed afterwards; skip where there is none for the other tests."""
    if not os.environ.get(VARIABLE):
        pytest.skip(f"{VARIABLE} is not set: python scripts/services.py start, then env")
    folder = Path(tempfile.mkdtemp(prefix="dataflare-server-"))
    folder.chmod(0o755)  # the account of the server must reach it
    try:
        found = Server(folder)
        yield found
        found.do("wipe")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def test_a_server_that_comes_back_tells_all_and_nothing_twice(tmp_path: Path) -> None:
    with own_server() as server:
        prepared(server.url, tmp_path, FILES)
        process = begin(tmp_path, "run", "workflow.yaml")
        goal = ROWS // 3
        try:
            for seed in range(3):  # at first while the tables are read, then while they are followed
                wait_until(lambda: _counts(tmp_path) >= goal, process)  # noqa: B023 - now
                for verb in ("stop", "start"):
                    server.do(verb)
                writer = Writer(server.url, ROWS, seed)
                writer.start()
                goal = max(goal, ROWS * 3) if seed == 0 else _counts(tmp_path) + 200
                wait_until(lambda: _counts(tmp_path) >= goal, process)  # noqa: B023 - now
                writer.stop()
        finally:
            end(process)
        _equal(tmp_path, server.url)


def test_a_wire_that_is_cut_again_and_again_loses_and_repeats_nothing(spot: Database, tmp_path: Path) -> None:
    parts = urlsplit(spot.url)
    assert parts.hostname
    assert parts.port
    with cuttable(parts.hostname, parts.port) as wire:
        prepared(spot.url, tmp_path, FILES, spot.url.replace(f":{parts.port}/", f":{wire.port}/"))
        writer, rng = Writer(spot.url, ROWS, 3), random.Random(17)
        process = begin(tmp_path, "run", "workflow.yaml")
        writer.start()
        try:
            for _ in range(KILLS):
                wanted = _counts(tmp_path) + rng.randrange(1, ROWS // 2)
                wait_until(lambda: _counts(tmp_path) >= wanted, process)  # noqa: B023 - now
                assert wire.cut() > 0
        finally:
            writer.stop()
            end(process)
        _equal(tmp_path, spot.url)
