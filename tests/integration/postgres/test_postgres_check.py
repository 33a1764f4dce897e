"""`validate --level connect` on a real server: logins, tables, privileges, keys; and it changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from tests import postgres
from tests.postgres import Place, place

from dataflare.changes import changing
from dataflare.component import Registry
from dataflare.connectors.postgres.destination import PostgresDestination
from dataflare.connectors.postgres.settings import PostgresDestinationConfig
from dataflare.schema import Schema
from dataflare.testing.stage import staged
from dataflare.workflow import load

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.postgres
PASSWORD = "hunter2-and-more"


@pytest.fixture
def spot() -> Iterator[Place]:
    with place() as found:
        yield found


@pytest.fixture
def guest(spot: Place) -> Iterator[tuple[str, str]]:
    with postgres.guest(spot, PASSWORD) as found:
        yield found


def told(url: str, source: str, destination: str, password: str = PASSWORD) -> list[tuple[str, str, str]]:
    text = f"""
id: checked
secrets: {{s: {{type: env}}}}
sources:
  there: {{type: postgres, config: {{url: "{url}", password: "${{secret:s/P}}", {source}}}}}
  rows: {{type: generator, config: {{rows: 1, columns: {{id: sequence, name: sequence}}}}}}
destinations:
  here: {{type: postgres, inputs: [rows], {destination.format(url=url)}}}
  shown: {{type: stdout, inputs: ["there.*", there]}}
"""
    text = text.replace('["there.*", there]', '["there.*"]' if "tables" in source else "[there]")
    found = load(text, registry=Registry.installed(), environ={"P": password}, level="connect")
    assert password not in str(found)
    return [(f.code.removeprefix("workflow."), f.place.path.split(".")[1], f.message) for f in found.findings]


def target(table: str, more: str = "", mode: str = "") -> str:
    return f'{mode} config: {{{{url: "{{url}}", password: "${{{{secret:s/P}}}}", table: {table}{more}}}}}'


def test_a_wrong_login_is_told_by_each_who_has_it(spot: Place, guest: tuple[str, str]) -> None:
    name, url = guest
    found = told(url, "table: x", target("y"), "not-the-one")
    assert [(code, node) for code, node, _ in found] == [("environment", "there"), ("environment", "here")]
    assert all(f'password authentication failed for user "{name}"' in message for *_, message in found)


def test_changes_need_the_right_to_delete_unless_deletes_are_soft(spot: Place, guest: tuple[str, str]) -> None:
    name, url = guest
    spot.run(f"grant usage, create on schema {{}} to {name}")
    spot.run("create table {}.b (id bigint primary key)")
    spot.run(f"grant insert, select, update on {{}}.b to {name}")

    def messages(**settings: str) -> list[str]:
        config = PostgresDestinationConfig(url=url, password=PASSWORD, table=spot.table("b"), **settings)
        schemas = {"0": changing(Schema.of({"id": "int64"}), ("id",))}
        made = staged(PostgresDestination(config), schemas=schemas, write_mode="merge", key=("id",))
        return [e.what.replace(spot.schema, "S") for e in made.check() if " is added as " not in e.what]

    assert messages() == ["the user may not delete S.b"]
    assert messages(deletes="soft") == []


def test_what_the_user_may_not_do_is_told_and_vanishes_with_each_grant(spot: Place, guest: tuple[str, str]) -> None:
    name, url = guest
    spot.run("create table {}.a (id bigint primary key)")
    spot.run("create table {}.b (id bigint)")
    tables = f"tables: [{spot.table('a')}, {spot.table('none')}, {spot.table('b')}]"
    out = target(spot.table("b"), mode="write_mode: merge, key: [id],")

    def messages() -> list[str]:
        return [m.partition(": ")[2].replace(spot.schema, "S") or m for _, _, m in told(url, tables, out)]

    found = messages()
    assert found[-1] == "the user may not use schema S"
    assert any("S.none" in m for m in found[:-1])
    spot.run(f"grant usage on schema {{}} to {name}")
    found = messages()
    assert len([m for m in found if "permission denied for table" in m]) == 2
    assert found[-3:] == [
        "table S.b has no unique index on id, so rows cannot be merged by it",
        "the user may not make tables in schema S",
        "the user may not insert or select or update S.b",
    ]
    spot.run(f"grant create on schema {{}} to {name}")
    spot.run(f"grant insert, select, update on {{}}.b to {name}")
    spot.run(f"grant select on {{}}.a to {name}")
    spot.run("create unique index on {}.b (id)")
    assert [m for m in messages() if "S.none" not in m] == ["table S.b: column name is added as bigint"]
    tables = tables.replace(f"{spot.table('none')}, ", "")
    assert messages() == ["table S.b: column name is added as bigint"]
    made = spot.run(
        "select relname from pg_class where relnamespace = $1::regnamespace and relkind = 'r'", (spot.schema,)
    )
    assert sorted(n for (n,) in made) == ["a", "b"]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("query: 'select nothing from nowhere'", 'relation "nowhere" does not exist'),
        ("table: nowhere", "nowhere"),
    ],
)
def test_a_query_is_asked_for_its_columns(spot: Place, source: str, message: str) -> None:
    url = urlsplit(spot.url)
    plain = f"postgresql://{url.username}@{url.hostname}:{url.port}{url.path}"
    ((code, node, said), *more) = told(plain, source, target(spot.table("new")), str(url.password))
    assert (code, node, more) == ("component", "there", [])
    assert message in said


def test_a_server_that_is_not_there_is_told(spot: Place) -> None:
    found: list[Any] = told("postgresql://me@127.0.0.1:9/none", "table: x", target("y"))
    assert [(code, node) for code, node, _ in found] == [("external", "there"), ("external", "here")]
