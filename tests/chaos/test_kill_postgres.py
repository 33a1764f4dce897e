"""kill -9 with PostgreSQL as the decider, alone and beside files and a second, staged, table."""

from __future__ import annotations

import os
import random
import signal
import time
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from tests.chaos.conftest import CHAOS, HEAD, STEPS, Case
from tests.chaos.forked import Forked
from tests.chaos.test_kill_files import FILES, TRIAL, content
from tests.chaos.trials import random_kills

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.postgres
URL = os.environ.get("DATAFLARE_TEST_POSTGRES", "")
if not URL:
    pytest.skip("DATAFLARE_TEST_POSTGRES names no server", allow_module_level=True)

import psycopg  # noqa: E402 - only where there is a server

ALONE = """
  table: {{type: postgres, inputs: [big], config: {{url: "${{DATAFLARE_TEST_POSTGRES}}", table: {schema}.rows}}}}
"""
THREE = (
    FILES.replace("{", "{{").replace("}", "}}")
    + ALONE
    + """
  totals:
    type: postgres
    inputs: [per_name]
    config: {{url: "${{DATAFLARE_TEST_POSTGRES}}", table: {schema}.totals}}
"""
)

PASSING = """
id: passing
runtime:
  parallelism: 2
  checkpoint: {{interval: 50ms, timeout: 30s, retain: 3}}
  restart: {{initial: 50ms}}
sources:
  orders:
    type: postgres
    config: {{url: "${{DATAFLARE_TEST_POSTGRES}}", table: {schema}.orders, split_rows: 3000, fetch_rows: 400}}
destinations:
  table: {{type: postgres, inputs: [orders], config: {{url: "${{DATAFLARE_TEST_POSTGRES}}", table: {schema}.rows}}}}
  second:
    type: postgres
    inputs: [orders]
    write_mode: {mode}
    key: [id]
    config: {{url: "${{DATAFLARE_TEST_POSTGRES}}", table: {schema}.second}}
"""
"""Bytes pass through into the decider and, beside it, into staging tables."""


@pytest.fixture
def schema() -> Iterator[str]:
    """Return a schema of its own, dropped afterwards."""
    name = f"kills_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(URL, autocommit=True) as connection:
        connection.execute(f"create schema {name}")
        yield name
        connection.execute(f"drop schema {name} cascade")


@pytest.fixture
def orders(schema: str) -> str:
    """Return the checksum of a table of orders in the schema."""
    columns = "(id int primary key, name text, price numeric(9,2), at timestamptz)"
    values = (
        "n, 'name ' || n, n / 7.0, '2026-01-01Z'::timestamptz + n * interval '1 s' from generate_series(1, 12000) n"
    )
    with psycopg.connect(URL, autocommit=True) as connection:
        connection.execute(f"create table {schema}.orders {columns}")
        connection.execute(f"insert into {schema}.orders select {values}")
        connection.execute(f"analyze {schema}.orders")
    return checksum(schema, "orders")


def checksum(schema: str, name: str) -> str:
    """Return the number of rows of a table and a checksum of all that is in them."""
    with psycopg.connect(URL) as connection:
        sql = f"select count(*) || ' ' || sum(hashtextextended(t::text, 0)) from {schema}.{name} t"
        return connection.execute(sql).fetchone()[0]


def table(schema: str, name: str) -> list[Any]:
    """Return the rows of a table, sorted."""
    with psycopg.connect(URL) as connection:
        return sorted(connection.execute(f"select * from {schema}.{name}").fetchall())


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    """Return what an undisturbed run into files makes."""
    return TRIAL.undisturbed(tmp_path_factory.mktemp("undisturbed"))


@pytest.mark.parametrize(("when", "step"), STEPS, ids=lambda x: str(x))
def test_a_kill_at_a_step_changes_nothing(
    case: Case, schema: str, expected: dict[str, Any], when: str, step: str
) -> None:
    case.file.write_text(HEAD + THREE.format(schema=schema))
    killed = case.run_through([f"{when}:{step}:1", f"{when}:{step}:2"], seed=6)

    assert killed >= 1, f"{when} {step} was never reached"
    assert content(case.folder) == expected
    assert table(schema, "rows") == expected["rows"]
    assert table(schema, "totals") == expected["names"]


@pytest.mark.parametrize(("when", "step"), STEPS, ids=lambda x: str(x))
def test_a_kill_at_a_step_changes_nothing_where_bytes_pass_through(
    case: Case, schema: str, orders: str, when: str, step: str
) -> None:
    mode = "overwrite" if "finish" in step else "merge"
    case.file.write_text(PASSING.format(schema=schema, mode=mode))
    assert all(n.traits["codec"] == "pgcopy" for n in case.plan().nodes)
    killed = case.run_through([f"{when}:{step}:1", f"{when}:{step}:2"], seed=8)

    assert killed >= 1, f"{when} {step} was never reached"
    assert (checksum(schema, "rows"), checksum(schema, "second")) == (orders, orders)


def test_ten_random_kills_change_nothing_where_bytes_pass_through(case: Case, schema: str, orders: str) -> None:
    case.file.write_text(PASSING.format(schema=schema, mode="append"))
    case.run_through(random_kills(random.Random(32), 10), seed=9)

    assert (checksum(schema, "rows"), checksum(schema, "second")) == (orders, orders)


def test_ten_random_kills_change_nothing(case: Case, schema: str, expected: dict[str, Any]) -> None:
    case.file.write_text(HEAD + ALONE.format(schema=schema))
    case.run_through(random_kills(random.Random(31), 10), seed=7)

    assert table(schema, "rows") == expected["rows"]


def test_connections_that_are_cut_are_made_anew(case: Case, schema: str, expected: dict[str, Any]) -> None:
    head = HEAD.replace("retain: 3}", "retain: 3}\n  restart: {initial: 50ms}").replace("id: kills", f"id: {schema}")
    case.file.write_text(head + ALONE.format(schema=schema))
    cut = 0
    with (
        Forked(CHAOS, str(case.file), "--skew", "0.05") as run,
        psycopg.connect(URL, autocommit=True) as admin,
    ):
        while run.poll() is None and cut < 5:
            time.sleep(0.3)
            query = "select count(pg_terminate_backend(pid)) from pg_stat_activity where application_name like %s"
            cut += admin.execute(query, (f"dataflare {schema}/%",)).fetchone()[0]  # not those of other tests
        _, told = run.communicate(timeout=60)
        assert run.returncode == 0, told

    assert cut > 0, "no connection was there to cut"
    assert table(schema, "rows") == expected["rows"]


def test_a_zombie_that_wakes_after_its_successor_changes_nothing(
    case: Case, schema: str, expected: dict[str, Any]
) -> None:
    case.file.write_text(HEAD + ALONE.format(schema=schema))
    given = (str(case.file), "--without-lease", "--skew")
    with Forked(CHAOS, *given, "0.05") as zombie:
        time.sleep(1.5)
        zombie.send_signal(signal.SIGSTOP)
        asleep = zombie.poll() is None
        try:
            second = Forked(CHAOS, *given, "0").completed(timeout=60)
            assert second.returncode == 0, second.stderr
        finally:
            zombie.send_signal(signal.SIGCONT)
        zombie.communicate(timeout=60)

    assert asleep, "the first run was over before it could sleep"
    assert table(schema, "rows") == expected["rows"]
