"""What the user of MariaDB may not do is told with the GRANT for it; those grants are enough, and each is needed."""

from __future__ import annotations

import itertools
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from tests import mariadb
from tests.mariadb import Database, database

from dataflare.batch import Batch
from dataflare.changes import changing
from dataflare.component import Epoch, Registry
from dataflare.connectors.mariadb.destination import MariaDestination
from dataflare.connectors.mariadb.privileges import Grant, Privileges
from dataflare.connectors.mariadb.session import MariaSession
from dataflare.connectors.mariadb.settings import MariaConfig, MariaDestinationConfig, MariaSourceConfig
from dataflare.connectors.mariadb.source import MariaSource
from dataflare.errors import DataFlareError, UnavailableError
from dataflare.plan_words import Mechanism
from dataflare.schema import Schema
from dataflare.sql.dialect import Table
from dataflare.testing.stage import batches_of, splits_of, staged
from dataflare.workflow import load

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.mariadb
PASSWORD = "hunter2-and-more"
HEAD = "as an administrator: "


@pytest.fixture
def spot() -> Iterator[Database]:
    with database() as found:
        yield found


@pytest.fixture
def guest(spot: Database) -> Iterator[tuple[str, str]]:
    with mariadb.guest(spot, PASSWORD) as found:
        yield found


def cured(spot: Database, errors: list[DataFlareError]) -> list[str]:
    """Do what the hints say; return the privileges that were lacking."""
    told = [e for e in errors if isinstance(e, UnavailableError)]
    for error in told:
        assert PASSWORD not in str(error)
        assert error.hint.startswith(HEAD + "grant "), error
        spot.run(error.hint.removeprefix(HEAD))
    return [e.what.partition(" lacks ")[2].replace(spot.name, "D") for e in told]


# ---- sources ----------------------------------------------------------------------------------------------------


def source(url: str, mode: str, **settings: Any) -> MariaSource:
    made = MariaSource(MariaSourceConfig(url=url, password=PASSWORD, **settings))
    return staged(made, mode=mode, schemas={name: Schema.of({"id": "int32"}) for name in made.config.outputs()})


@pytest.mark.parametrize("mode", ["full", "incremental"])
def test_a_source_needs_to_read_its_tables(spot: Database, guest: tuple[str, str], mode: str) -> None:
    spot.run("create table a (id int primary key)")
    spot.run("create table b (id int primary key)")
    spot.run("insert into a values (1), (2)")
    settings = {"tables": ["a", "b"], **({"incremental": {"cursor_field": "id"}} if mode == "incremental" else {})}
    asked = source(guest[1], mode, **settings)
    assert cured(spot, asked.check()) == [f"select on D.{t}, or there is no such table" for t in ("a", "b")]
    assert asked.check() == []
    reads = source(guest[1], mode, **settings)
    reads.open()
    with closing(reads):
        assert sum(b.num_rows for s in list(splits_of(reads)) for b in batches_of(reads, s)) == 2


@pytest.mark.parametrize("mode", ["cdc", "hybrid"])
def test_changes_need_the_log_as_well(spot: Database, guest: tuple[str, str], mode: str) -> None:
    spot.run("create table a (id int primary key)")
    asked = source(guest[1], mode, table="a")
    found = asked.check()
    assert [e.what.partition(" lacks ")[2].replace(spot.name, "D") or e.what for e in found] == [
        f"the user {guest[0]}@% may not read the log of changes",
        "select on D.a, or there is no such table",
    ]
    for error in found:
        spot.run(error.hint.removeprefix(HEAD))
    assert asked.check() == []


def test_some_columns_of_a_table_are_enough_where_no_others_are_read(spot: Database, guest: tuple[str, str]) -> None:
    spot.run("create table a (id int primary key, secret int)")
    spot.run(f"grant select (id) on {spot.name}.a to {guest[0]}@'%'")
    assert source(guest[1], "full", table="a").check() == []


def test_a_table_that_is_not_there_is_told_to_who_may_read_all(spot: Database, guest: tuple[str, str]) -> None:
    spot.run(f"grant select on {spot.name}.* to {guest[0]}@'%'")
    (error,) = source(guest[1], "full", table="none").check()
    assert error.what == f"there is no table {spot.name}.none"


def test_validate_tells_the_grant(spot: Database, guest: tuple[str, str]) -> None:
    spot.run("create table a (id int primary key)")
    text = f"""
id: checked
secrets: {{s: {{type: env}}}}
sources:
  there: {{type: mariadb, config: {{url: "{guest[1]}", password: "${{secret:s/P}}", table: a}}}}
  rows: {{type: generator, config: {{rows: 1, columns: {{id: sequence}}}}}}
destinations:
  shown: {{type: stdout, inputs: [there]}}
  here: {{type: mariadb, inputs: [rows], config: {{url: "{guest[1]}", password: "${{secret:s/P}}", table: b}}}}
"""
    found = load(text, registry=Registry.installed(), environ={"P": PASSWORD}, level="connect").findings
    assert PASSWORD not in str(found)
    to = f"to `{guest[0]}`@`%`"
    assert [(f.code, f.hint) for f in found] == [
        ("environment", f"{HEAD}grant select on `{spot.name}`.`a` {to}"),
        ("environment", f"{HEAD}grant insert, create on `{spot.name}`.`b` {to}"),
        ("environment", f"{HEAD}grant select, insert, update, create on `{spot.name}`.`_dataflare_epochs` {to}"),
    ]


# ---- destinations -----------------------------------------------------------------------------------------------

MODES: dict[str, dict[str, Any]] = {
    "append": {},
    "overwrite": {},
    "merge": {"key": ("id",)},
    "insert_only": {"key": ("id",)},
    "update": {"key": ("id",)},
    "delete_insert": {"key": ("id",)},
    "scd2": {"key": ("id",)},
    "deletes": {"key": ("id",)},
}
ATTEMPTS = itertools.count(1)
ROWS = [{"id": 1, "n": 10}, {"id": 2, "n": 20}]


def made(url: str, action: str, mechanism: Mechanism, **settings: Any) -> MariaDestination:
    schema = Schema.of({"id": "int64", "n": "int64"})
    if action == "deletes":
        schema = changing(schema, ("id",))
    mode = "merge" if action == "deletes" else action
    password = PASSWORD if "guest_" in url else ""
    config = MariaDestinationConfig(url=url, password=password, table="t", **settings)
    context: dict[str, Any] = {"schemas": {"0": schema}, "write_mode": mode, "mechanism": mechanism, **MODES[action]}
    context["attempt"] = next(ATTEMPTS)
    context["epoch_time"] = lambda: 1_700_000_000_000_000
    return staged(MariaDestination(config), **context)


def written(destination: MariaDestination, action: str) -> None:
    """Write two epochs from the opening to the end, with what older attempts left to be removed."""
    destination.open()
    with closing(destination):
        destination.abort([])
        schema = destination.context.schemas["0"].to_arrow()
        for number in (1, 2):
            rows = [{**r, "_op": "delete" if r["id"] == 2 and number == 2 else "insert"} for r in ROWS]
            kept = [{f.name: r.get(f.name) for f in schema} for r in (rows if action == "deletes" else ROWS)]
            destination.write(Batch.of(kept, schema=schema))
            epoch = Epoch(number, destination.context.attempt)
            destination.commit(epoch, list(destination.prepare(epoch)))
        destination.abort([])
        destination.finish()


def problems(destination: MariaDestination) -> list[DataFlareError]:
    return [e for e in destination.check() if e.severity == "error"]


def healed(spot: Database, url: str, action: str, mechanism: Mechanism) -> None:
    """Do what the hints say."""
    assert cured(spot, problems(made(url, action, mechanism)))
    assert problems(made(url, action, mechanism)) == []


CASES = [(action, mechanism) for action in MODES for mechanism in (Mechanism.DIRECT, Mechanism.STAGED)]


@pytest.mark.parametrize("is_there", [False, True], ids=["made", "there"])
@pytest.mark.parametrize(("action", "mechanism"), CASES)
def test_the_grants_that_are_told_are_enough(
    spot: Database, guest: tuple[str, str], action: str, mechanism: Mechanism, is_there: bool
) -> None:
    url = guest[1]
    if is_there:
        written(made(spot.url, action, mechanism), action)  # by the administrator, with the table of epochs
        spot.run("update _dataflare_epochs set epoch = 0, finished = 0")
    healed(spot, url, action, mechanism)
    written(made(url, action, mechanism), action)
    left = [t for t in spot.tables() if t not in ("t", "_dataflare_epochs")]
    assert left == []


@pytest.mark.parametrize(("action", "mechanism"), CASES)
def test_each_grant_is_needed(spot: Database, guest: tuple[str, str], action: str, mechanism: Mechanism) -> None:
    name, url = guest
    written(made(spot.url, action, mechanism), action)
    spot.run("update _dataflare_epochs set epoch = 0, finished = 0")
    healed(spot, url, action, mechanism)
    granted = [text for (text,) in spot.run(f"show grants for {name}@'%'") if " USAGE ON " not in text]
    for text in granted:
        words, _, rest = text.removeprefix("GRANT ").partition(" ON ")
        place = rest.partition(" TO ")[0]
        for word in words.split(", "):
            if word in ("CREATE", "INDEX") and not place.endswith(".*"):
                continue  # who could not see the table was told that it may have to be made
            spot.run(f"revoke {word} on {place} from {name}@'%'")
            found = problems(made(url, action, mechanism))
            lacks = [e.what.partition(" lacks ")[2].partition(" on ")[0] for e in found]
            assert [told.removesuffix(", create") for told in lacks] == [word.lower()]
            spot.run("update _dataflare_epochs set epoch = 0, finished = 0")
            with pytest.raises(UnavailableError):
                written(made(url, action, mechanism), action)
            spot.run(f"grant {word} on {place} to {name}@'%'")
            assert problems(made(url, action, mechanism)) == []


def test_columns_that_are_to_be_added_need_alter(spot: Database, guest: tuple[str, str]) -> None:
    spot.run("create table t (id bigint)")
    assert cured(spot, problems(made(guest[1], "append", Mechanism.DIRECT)))
    assert cured(spot, problems(made(guest[1], "append", Mechanism.DIRECT))) == ["alter on D.t"]
    assert problems(made(guest[1], "append", Mechanism.DIRECT)) == []
    written(made(guest[1], "append", Mechanism.DIRECT), "append")
    assert spot.run("select id, n from t order by id limit 1") == [(1, 10)]


def test_privileges_of_roles_and_patterns_count(spot: Database, guest: tuple[str, str]) -> None:
    name, url = guest
    role = name.replace("guest", "role")
    spot.run(f"create role {role}")
    try:
        pattern = spot.name.replace("_", "\\_")
        spot.run(f"grant select, insert, update, create on `{pattern}`.* to {role}")
        assert problems(made(url, "append", Mechanism.DIRECT)) != []
        spot.run(f"grant {role} to {name}@'%'")
        spot.run(f"set default role {role} for {name}@'%'")
        assert problems(made(url, "append", Mechanism.DIRECT)) == []
        written(made(url, "append", Mechanism.DIRECT), "append")
    finally:
        spot.run(f"drop role {role}")


def test_who_may_do_everything_is_told_nothing(spot: Database) -> None:
    session = MariaSession(MariaConfig(url=spot.url), "tests")
    with closing(session):
        may = Privileges.of(session)
    assert may.lacking(["select", "create temporary tables", "alter"], Table("", spot.name)) == []


@pytest.mark.parametrize(
    ("grant", "table", "holds"),
    [
        (Grant("select", "shop", ""), Table("t", "shop"), True),
        (Grant("select", "shop", ""), Table("t", "shops"), False),
        (Grant("select", "sh%", ""), Table("t", "shops"), True),
        (Grant("select", "s_op", ""), Table("t", "shop"), True),
        (Grant("select", r"s\_op", ""), Table("t", "shop"), False),
        (Grant("select", r"s\_op", ""), Table("t", "s_op"), True),
        (Grant("select", "s_op", "t"), Table("t", "shop"), False),
        (Grant("select", "shop", "t"), Table("", "shop"), False),
        (Grant("all privileges", "%", ""), Table("", "shop"), True),
        (Grant("insert", "%", ""), Table("t", "shop"), False),
    ],
)
def test_patterns_mean_what_the_server_means(grant: Grant, table: Table, holds: bool) -> None:
    assert grant.holds("select", table) is holds
