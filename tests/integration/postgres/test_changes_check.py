"""`validate --level connect` finds all that following changes lacks, and what it tells to run cures it."""

from __future__ import annotations

import re
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from tests import postgres
from tests.changes import forget
from tests.postgres import Place, place

from dataflare.component import Registry
from dataflare.connectors.postgres.changes.publication import publication_problems
from dataflare.connectors.postgres.changes.slot import Names
from dataflare.connectors.postgres.changes.tables import followed
from dataflare.connectors.postgres.session import PostgresSession
from dataflare.connectors.postgres.settings import PostgresSourceConfig
from dataflare.workflow import load

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.postgres
PASSWORD = "hunter2-and-more"


@pytest.fixture
def spot() -> Iterator[Place]:
    with place() as found:
        yield found
        forget(found, found.schema)
        forget(found, f"{found.schema}_other")


@pytest.fixture
def guest(spot: Place) -> Iterator[tuple[str, str]]:
    with postgres.guest(spot, PASSWORD) as (name, url):
        spot.run(f"grant usage on schema {{}} to {name}")
        yield name, url


def findings(spot: Place, tables: str, mode: str = "cdc", cdc: str = "", url: str = "") -> list[tuple[str, str]]:
    """Return what is found, with its cure."""
    text = f"""
id: checked
secrets: {{s: {{type: env}}}}
sources:
  shop:
    type: postgres
    mode: {mode}
    config:
      url: "{url or spot.url}"
      tables: [{tables}]
      {'password: "${secret:s/P}"' if url else ""}
      cdc: {{slot_name: {spot.schema}{cdc}}}
destinations:
  shown: {{type: file, inputs: ["shop.*"], config: {{path: out, format: jsonl}}}}
"""
    found = load(text, registry=Registry.installed(), environ={"P": PASSWORD}, level="connect")
    return [(f.message.partition(": ")[2], f.hint) for f in found.findings if f.severity == "error"]


def cure(spot: Place, hint: str) -> None:
    """Do what a hint says."""
    spot.run(re.sub(r"^.*?(run: |run as an administrator: |run as their owner: )", "", hint).partition("; ")[0])


def test_a_server_that_is_ready_has_no_findings_and_nothing_is_made(spot: Place) -> None:
    spot.run("create table {}.a (id int primary key)")
    assert findings(spot, spot.table("a"), "hybrid") == []
    assert not spot.run(f"select 1 from pg_publication where pubname = '{spot.schema}'")
    assert not spot.run(f"select 1 from pg_replication_slots where slot_name = '{spot.schema}'")


def test_every_table_that_cannot_be_followed_is_told_at_once_and_cured(spot: Place) -> None:
    spot.run("create table {}.a (x int)")
    spot.run("create table {}.b (x int not null unique)")
    spot.run("create unlogged table {}.c (x int primary key)")
    spot.run("create view {}.d as select 1 as x")
    spot.run("alter table {}.b replica identity nothing")
    tables = ", ".join(spot.table(t) for t in "abcd") + f", {spot.table('none')}"
    found = findings(spot, tables)
    told = [m.replace(spot.schema, "S") for m, _ in found]
    assert len(told) == 5
    assert [m for m in told if "changes of S.c are not logged" in m]
    assert [m for m in told if "S.d is no table" in m]
    assert [m for m in told if "there is no table S.none" in m]
    for message, hint in found:
        if "has no key" in message or "not logged" in message:
            cure(spot, hint)
    assert len(findings(spot, tables)) == 2


def test_where_nothing_may_be_made_the_statements_that_make_it_are_told(spot: Place) -> None:
    spot.run("create table {}.p (id int, at date, primary key (id, at)) partition by range (at)")
    found = findings(spot, spot.table("p"), cdc=", create: false")
    assert [m for m, _ in found] == [f"there is no publication {spot.schema}", f"there is no slot {spot.schema}"]
    cure(spot, found[0][1])
    spot.run(f"select lsn::text from pg_create_logical_replication_slot('{spot.schema}', 'pgoutput')")
    assert "pg_create_logical_replication_slot" in found[1][1]
    assert findings(spot, spot.table("p"), cdc=", create: false") == []


def test_what_a_publication_leaves_out_is_told_and_cured(spot: Place) -> None:
    spot.run("create table {}.a (id int primary key, v int)")
    spot.run("create table {}.b (id int primary key)")
    spot.run("create table {}.p (id int, at date, primary key (id, at)) partition by range (at)")
    spot.run(f"create publication {spot.schema} for table {{}}.a, {{}}.p with (publish = 'insert')")
    tables = ", ".join(spot.table(t) for t in "abp")
    found = findings(spot, tables)
    assert len(found) == 3
    for _, hint in found:
        cure(spot, hint)
    assert findings(spot, tables) == []
    spot.run(f"alter publication {spot.schema} set table {{}}.a (id), {{}}.b where (id > 5), {{}}.p")
    told = [m.replace(spot.schema, "S") for m, _ in findings(spot, tables, "hybrid")]
    assert told == [
        "the publication S leaves out column v of S.a",
        "the publication S tells only some rows of S.b; all would be read first",
    ]
    assert len(findings(spot, tables, "cdc")) == 1


@pytest.mark.parametrize("change", ["rename column v to w", "drop column v"])
def test_a_column_that_goes_while_the_publication_is_looked_at_is_not_left_out(spot: Place, change: str) -> None:
    spot.run("create table {}.a (id int primary key, v int)")
    spot.run(f"create publication {spot.schema} for table {{}}.a")
    config = PostgresSourceConfig(url=spot.url, table=spot.table("a"))
    names = Names(spot.schema, spot.schema)
    with closing(PostgresSession(config, "dataflare")) as session:
        tables = followed(session, config).values()
        spot.run(f"alter table {{}}.a {change}")
        assert list(publication_problems(session, names, tables, "hybrid")) == []


def test_a_partition_that_logs_less_than_its_table_is_told_and_cured(spot: Place) -> None:
    spot.run("create table {}.p (id int, v text, primary key (id)) partition by list (id)")
    spot.run("create table {}.p1 partition of {}.p for values in (1)")
    spot.run("alter table {}.p replica identity full")
    ((message, hint),) = findings(spot, spot.table("p"))
    assert "has another replica identity than the table" in message
    cure(spot, hint)
    assert findings(spot, spot.table("p")) == []


def test_a_slot_that_cannot_serve_is_told(spot: Place) -> None:
    spot.run("create table {}.a (id int primary key)")
    spot.run(f"select lsn::text from pg_create_logical_replication_slot('{spot.schema}', 'pgoutput')")
    found = findings(spot, spot.table("a"))
    assert [m for m, _ in found] == [
        f"there is a slot {spot.schema}, but no publication {spot.schema}: it could not be read"
    ]
    cure(spot, found[0][1])
    assert findings(spot, spot.table("a")) == []
    spot.run(f"select lsn::text from pg_create_physical_replication_slot('{spot.schema}')")
    assert next(m for m, _ in findings(spot, spot.table("a"))) == f"the slot {spot.schema} is none for logical decoding"


def test_log_beyond_the_budget_is_told(spot: Place) -> None:
    spot.run("create table {}.a (id int primary key)")
    spot.run(f"create publication {spot.schema} for table {{}}.a")
    spot.run(f"select lsn::text from pg_create_logical_replication_slot('{spot.schema}', 'pgoutput')")
    spot.run("insert into {}.a select generate_series(1, 50000)")
    assert findings(spot, spot.table("a"), cdc=", max_wal: 1GiB") == []
    (found,) = findings(spot, spot.table("a"), cdc=", max_wal: 1MiB")
    assert "of log for the slot" in found[0]


def test_what_a_user_may_not_do_is_told_at_once_and_vanishes_with_each_grant(
    spot: Place, guest: tuple[str, str]
) -> None:
    name, url = guest
    spot.run("create table {}.a (id int primary key)")

    def told() -> list[str]:
        return [m for m, _ in findings(spot, spot.table("a"), "hybrid", url=url)]

    assert told() == [
        f"the user {name} may not follow changes",
        "the user may not make a publication",
        f"the user does not own {spot.schema}.a, so cannot publish it",
        f"the user may not read {spot.schema}.a",
    ]
    for message, hint in findings(spot, spot.table("a"), "hybrid", url=url):
        if "own" not in message:
            cure(spot, hint.replace("...", name).partition("; or")[0])
    assert told() == [f"the user does not own {spot.schema}.a, so cannot publish it"]
    spot.run(f"create publication {spot.schema} for table {{}}.a")
    assert told() == []


def test_names_of_slots_are_made_of_the_workflow_and_are_those_of_nobody_else() -> None:
    from dataflare.component import StageContext
    from dataflare.connectors.postgres.changes.slot import Names
    from dataflare.connectors.postgres.settings import ChangesConfig
    from dataflare.executor.runtime import LocalRuntime

    def named(workflow: str, node: str, **told: str) -> Names:
        return Names.of(ChangesConfig(**told), StageContext(LocalRuntime(), workflow, node))

    assert named("shop", "orders") == Names("dataflare_shop_orders", "dataflare_shop_orders")
    assert named("Shop", "orders").slot != named("shop", "orders").slot
    assert named("a-b", "c").slot != named("a_b", "c").slot
    assert all(len(named("w" * 70, n).slot) <= 63 for n in ("a", "b"))
    assert named("w" * 70, "a").slot != named("w" * 70, "b").slot
    assert named("x", "y", slot_name="mine", publication_name="ours") == Names("mine", "ours")
