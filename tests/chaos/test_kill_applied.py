"""kill -9 while changes are applied: the tables end as the models say, directly and over staging tables."""

from __future__ import annotations

import os
import random
import sqlite3
import uuid
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from dataflare.testing.change_log import TABLE, ChangeLog, Merged, Versions
from tests.chaos.conftest import Case
from tests.chaos.trials import random_kills

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

CHANGES, SEED = 6000, 71
URL = os.environ.get("DATAFLARE_TEST_POSTGRES", "")
SHOP = f"""
import random
import time

from dataflare.testing.change_log import ChangeLog


def rows():
    log = ChangeLog(random.Random({SEED}), keys=60)
    for _ in range({CHANGES // 20}):
        time.sleep(0.004)  # so that there are epochs enough to be killed in
        yield log.take(20)
"""
WORKFLOW = """
id: changes
runtime:
  checkpoint: {interval: 2ms, timeout: 30s, retain: 3}
sources:
  shop:
    type: python
    config:
      module: shop.py
      key: [id]
      columns:
        {id: int64, name: string, note: string, _op: string, _commit_ts: timestamp, _tx: string,
         _unchanged: list<string>}
destinations:
"""
DESTINATION = """
  {name}:
    type: {kind}
    inputs: [shop]
    write_mode: {mode}
    key: [id]
    config: {{{place}, table: {schema}{name}{more}}}
"""
APPLIED = {"merged": ("merge", ""), "versions": ("scd2", ""), "soft": ("merge", ", deletes: soft")}
"""Write modes, and more of their settings, by table. The first destination decides, the others are staged."""
PLACES = {"sqlite": "path: out.db", "postgres": 'url: "${DATAFLARE_TEST_POSTGRES}"'}
COLUMNS = {
    "merged": "id, name, note",
    "versions": "id, name, note, is_current",
    "soft": "id, name, note, _deleted_at is not null",
}
ORDERS = [("merged", "versions", "soft"), ("versions", "soft", "merged")]
Rows = dict[str, list[tuple[Any, ...]]]


def expected() -> Rows:
    """Return the rows of the models."""
    merged, soft, versions = Merged(), Merged(deletes="soft"), Versions()
    changes = ChangeLog(random.Random(SEED), keys=60).take(CHANGES)
    merged.apply(changes)
    soft.apply(changes)
    versions.apply(changes, TABLE.names)
    found = {
        "merged": [tuple(row[n] for n in TABLE.names) for row in merged.rows.values()],
        "versions": [(*(row[n] for n in TABLE.names), row["current"]) for row in versions.rows],
        "soft": [(*(row[n] for n in TABLE.names), row["deleted_at"] is not None) for row in soft.rows.values()],
    }
    return {name: ordered(rows) for name, rows in found.items()}


def ordered(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Return rows in an order that nulls do not disturb."""
    return sorted(rows, key=lambda row: [(value is not None, str(value)) for value in row])


@pytest.fixture
def schema() -> Iterator[str]:
    """Return a name; schemas of the server whose names begin so are dropped afterwards."""
    import psycopg

    name = f"kills_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(URL, autocommit=True) as connection:
        yield name
        for (each,) in connection.execute("select nspname from pg_namespace where nspname like %s", (f"{name}%",)):
            connection.execute(f"drop schema {each} cascade")


def prepare(case: Case, kind: str, schema: str, order: Sequence[str]) -> None:
    """Write the workflow, whose destinations are in this order; make the schema, where there is one."""
    (case.folder / "shop.py").write_text(SHOP)
    told = {"kind": kind, "place": PLACES[kind], "schema": f"{schema}." if kind == "postgres" else ""}
    ends = [DESTINATION.format(name=n, mode=APPLIED[n][0], more=APPLIED[n][1], **told) for n in order]
    case.file.write_text(WORKFLOW + "".join(ends))
    if kind == "postgres":
        import psycopg

        with psycopg.connect(URL, autocommit=True) as connection:
            connection.execute(f"create schema {schema}")


def applied(case: Case, kind: str, schema: str) -> Rows:
    """Return the rows of all tables."""
    if kind == "sqlite":
        with closing(sqlite3.connect(case.folder / "out.db")) as connection:
            found = {n: connection.execute(f"select {c} from {n}").fetchall() for n, c in COLUMNS.items()}
        found = {n: [(*row[:3], *(bool(value) for value in row[3:])) for row in rows] for n, rows in found.items()}
    else:
        import psycopg

        with psycopg.connect(URL) as server:
            found = {n: server.execute(f"select {c} from {schema}.{n}").fetchall() for n, c in COLUMNS.items()}
    return {name: ordered(rows) for name, rows in found.items()}


def killed(case: Case, kind: str, schema: str, order: Sequence[str], seed: int) -> None:
    """Run over ten kills, and compare."""
    prepare(case, kind, schema, order)
    times = case.run_through(random_kills(random.Random(seed), 10), seed=seed)
    assert times >= 1, "nothing was ever killed"
    assert applied(case, kind, schema) == expected()


@pytest.mark.parametrize("order", ORDERS, ids=" ".join)
def test_ten_random_kills_change_nothing_in_sqlite(tmp_path: Path, order: tuple[str, ...]) -> None:
    killed(Case(tmp_path), "sqlite", "", order, 41)


@pytest.mark.postgres
@pytest.mark.skipif(not URL, reason="DATAFLARE_TEST_POSTGRES names no server")
@pytest.mark.parametrize("order", ORDERS, ids=" ".join)
def test_ten_random_kills_change_nothing_in_postgres(tmp_path: Path, schema: str, order: tuple[str, ...]) -> None:
    killed(Case(tmp_path), "postgres", schema, order, 44)
