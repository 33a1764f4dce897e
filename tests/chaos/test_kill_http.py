"""kill -9 at the steps of the epoch protocol while an API is read page by page, by a server that flaps."""

from __future__ import annotations

import json
import random
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from tests.chaos.conftest import ROWS as ROWS_IN_FILE
from tests.chaos.conftest import Case
from tests.chaos.trials import random_kills
from tests.http_server import Asked, LocalServer, Said, numbered

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ROWS = [{"id": n, "at": f"2026-01-01T00:{n // 180:02}:{n // 3 % 60:02}.000000Z"} for n in range(2000)]
PAGE = 40
WORKFLOW = """
id: http
guarantee: exactly_once
runtime:
  checkpoint: {interval: 50ms, timeout: 30s, retain: 3}
sources:
  orders:
    type: http
    mode: MODE
    config:
      url: URL
      stable: true
      columns: {id: int64, at: timestamp}
      key: [id]
      pagination: {type: page}
      incremental: {cursor_field: at, parameter: since}
      retry: {initial: 1ms}
destinations:
  out: {type: sqlite, inputs: [orders], config: {path: out.db, table: out}}
"""


@pytest.fixture
def server() -> Iterator[LocalServer]:
    rows = [*ROWS]
    rng = random.Random(3)

    def say(asked: Asked) -> Said:
        if rng.random() < 0.05:  # it flaps, besides
            return Said(b"[", 200, sent=0) if rng.random() < 0.5 else Said(b"", 503)
        return Said.of(numbered(asked, [r for r in rows if r["at"] >= asked.query.get("since", "")], PAGE))

    with LocalServer(say) as found:
        found.rows = rows  # type: ignore[attr-defined]
        yield found


def prepared(case: Case, server: LocalServer, mode: str) -> None:
    case.file.write_text(WORKFLOW.replace("URL", server.url).replace("MODE", mode))


def numbers(folder: Path) -> list[int]:
    with closing(sqlite3.connect(folder / "out.db")) as connection:
        return sorted(n for (n,) in connection.execute("select id from out"))


@pytest.mark.parametrize("seed", [1, 2])
def test_random_kills_lose_and_double_no_row(case: Case, server: LocalServer, seed: int) -> None:
    prepared(case, server, "full")
    case.run_through(random_kills(random.Random(seed), 5), seed=seed)

    assert numbers(case.folder) == [*range(2000)]


def test_a_resume_asks_for_no_page_again_that_was_committed(case: Case, server: LocalServer) -> None:
    prepared(case, server, "full")
    assert case.run("after:mark_committed:2").returncode != 0
    done, before = len(numbers(case.folder)), len(server.asked)
    assert 0 < done < 2000
    assert case.run().returncode == 0
    again = [int(a.query["page"]) for a in server.asked[before:]]
    assert min(again) == done // PAGE + 1
    assert numbers(case.folder) == [*range(2000)]


INTO = """
id: into
runtime:
  checkpoint: {interval: 50ms, timeout: 30s, retain: 3}
sources:
  orders:
    type: file
    config: {path: in.csv, split_bytes: 15kB, columns: {id: int64, name: string, qty: string, note: string}}
destinations:
  api: {type: http, inputs: [orders], config: {url: URL, rows_max: 100, retry: {initial: 1ms}}}
"""


def test_every_row_that_is_sent_arrives_though_the_sender_is_killed(case: Case, server: LocalServer) -> None:
    case.file.write_text(INTO.replace("URL", server.url))
    bodies: dict[str, list[bytes]] = {}
    rng = random.Random(5)

    def say(asked: Asked) -> Said:
        if rng.random() < 0.05:
            return Said(status=503)
        bodies.setdefault(asked.headers["idempotency-key"], []).append(asked.body)
        return Said(b"[", sent=0) if rng.random() < 0.05 else Said()

    server.say = say
    assert case.run_through(["before:seal:1", "after:mark_committed:2", "before:seal:3"], seed=3)
    assert all(len(set(same)) == 1 for same in bodies.values()), "a key names one content"
    assert max(map(len, bodies.values())) > 1, "some came again"
    rows = [row["id"] for body, *_ in bodies.values() for row in json.loads(body)]
    assert set(rows) == {*range(ROWS_IN_FILE)}


def test_incremental_runs_that_are_killed_read_each_new_row_once(case: Case, server: LocalServer) -> None:
    prepared(case, server, "incremental")
    rows: Any = server.rows  # type: ignore[attr-defined]
    everything = [*rows]
    for run, count in enumerate((500, 1001, 1002, 2000)):
        rows[:] = everything[:count]
        for kill in ("after:commit:1", "before:seal:2", ""):
            case.run(kill, run=f"run{run}")
        assert numbers(case.folder) == [*range(count)]
