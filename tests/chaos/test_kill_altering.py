"""kill -9 between two alterations of a table: the next run goes on where the table stands."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.duckdb_files import looked
from tests.mariadb import database
from tests.postgres import place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

CODE = """
import json, os, signal, sys
from dataflare.batch import Batch
from dataflare.component import Epoch, Registry, destination
from dataflare.plan_words import Mechanism
from dataflare.schema import Schema
from dataflare.sql.following import Following
from dataflare.testing.stage import settled, staged

kind, told, kills = json.loads(sys.argv[1])
made, left = Following._make, [kills]

def mortal(self, comparison, alteration):
    made(self, comparison, alteration)
    left[0] -= 1
    if left[0] == 0:
        os.kill(os.getpid(), signal.SIGKILL)

found = Registry.installed().find(destination, kind)
before = {"id": "int32", "a": "int32", "b": "string"}
after = {"id": "int64", "z": "int64", "n": "string"}
orders = {"policy": "evolve", "drop": ["b"], "rename": {"a": "z"}}

def epoch(number, columns, ddl, row):
    schema = Schema.of(columns)
    context = {"schemas": {"0": schema}, "ddl": ddl, "attempt": number, "key": ("id",), "write_mode": "merge"}
    head = staged(found(found.spec.config.model_validate(told)), mechanism=Mechanism.DIRECT, **context)
    settled(head.open())
    settled(head.write(Batch.of([row], schema=schema.to_arrow())))
    settled(head.commit(Epoch(number, number), settled(head.prepare(Epoch(number, number)))))
    settled(head.close())

if kills == 1:
    epoch(1, before, {}, {"id": 1, "a": 7, "b": "x"})
Following._make = mortal
epoch(kills + 1, after, orders, {"id": 2, "z": 2**41, "n": "new"})
"""
ROWS = [(1, 7, None), (2, 2**41, "new")]
Spot = tuple[dict[str, Any], "Callable[[str], list[tuple[Any, ...]]]"]


@pytest.fixture(
    params=[
        "sqlite",
        "duckdb",
        pytest.param("postgres", marks=pytest.mark.postgres),
        pytest.param("mariadb", marks=pytest.mark.mariadb),
    ]
)
def spot(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, Spot]]:
    """Give the settings of a destination, and who asks its table."""
    kind, file = request.param, tmp_path / "shop.db"
    if kind == "postgres":
        with place() as found:
            yield (
                kind,
                (
                    {"url": found.url, "table": found.table("out")},
                    lambda sql: found.run(sql.replace("from ", "from {}.")),
                ),
            )
    elif kind == "mariadb":
        with database() as base:
            yield kind, ({"url": base.url, "table": "out"}, lambda sql: base.run(sql.replace("out", "`out`")))
    else:
        yield kind, ({"path": str(file), "table": "out"}, lambda sql: _asked(kind, file, sql))


def _asked(kind: str, file: Path, sql: str) -> list[tuple[Any, ...]]:
    if kind == "duckdb":
        return looked(file, sql)
    import sqlite3
    from contextlib import closing

    with closing(sqlite3.connect(file)) as connection:
        return connection.execute(sql).fetchall()


def test_a_kill_behind_each_alteration_changes_nothing(spot: tuple[str, Spot]) -> None:
    kind, (settings, ask) = spot
    killed = 0
    for kills in range(1, 9):
        arguments = [sys.executable, "-c", CODE, json.dumps([kind, settings, kills])]
        done = subprocess.run(arguments, capture_output=True, text=True, timeout=120, check=False)
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL, done.stderr
        killed += 1
    assert killed >= (1 if kind == "mariadb" else 2)
    assert sorted(ask("select id, z, n from out")) == ROWS
