"""What goes wrong between DataFlare and MariaDB is told with its cure, and never half done."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.mariadb import Database, database

from dataflare.batch import Batch
from dataflare.component import Epoch
from dataflare.connectors.mariadb.destination import MariaDestination
from dataflare.connectors.mariadb.session import MariaSession
from dataflare.connectors.mariadb.settings import MariaConfig, MariaDestinationConfig
from dataflare.errors import DataError, ExternalError, StateError, UnavailableError, WorkflowError
from dataflare.plan_words import Mechanism
from dataflare.schema import Schema
from dataflare.sql.dialect import Table
from dataflare.testing.stage import staged

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.mariadb
ROWS = Schema.of({"id": "int64", "name": "string"})


@pytest.fixture
def spot() -> Iterator[Database]:
    with database() as found:
        yield found


def made(spot: Database, settings: dict[str, Any] | None = None, **changes: Any) -> MariaDestination:
    config = MariaDestinationConfig(**{"url": spot.url, "table": "out", "lock_timeout": "2s", **(settings or {})})
    return staged(MariaDestination(config), **{"schemas": {"0": ROWS}, "mechanism": Mechanism.DIRECT, **changes})


def batch(*names: str) -> Batch:
    return Batch.of([{"id": n, "name": name} for n, name in enumerate(names)], schema=ROWS.to_arrow())


def test_a_wrong_password_is_told_and_not_shown(spot: Database) -> None:
    with pytest.raises(UnavailableError, match="Access denied") as caught:
        MariaSession(MariaConfig(url=spot.url, password="s3cret"), "test")
    assert "s3cret" not in str(caught.value)
    assert "s3cret" not in repr(MariaConfig(url=spot.url, password="s3cret"))
    assert caught.value.hint == "check user and password"


def test_a_database_that_is_not_there_and_a_server_that_is_not_there_are_told(spot: Database) -> None:
    with pytest.raises(UnavailableError, match="Unknown database"):
        MariaSession(MariaConfig(url=spot.url, database="nowhere"), "test")
    with pytest.raises(ExternalError, match="Can't connect"):
        MariaSession(MariaConfig(url=spot.url, port=1), "test")


def test_a_certificate_that_nobody_vouches_for_is_refused_unless_that_is_wanted(spot: Database) -> None:
    with pytest.raises(UnavailableError, match="certificate"):
        MariaSession(MariaConfig(url=spot.url, tls=True), "test")
    session = MariaSession(MariaConfig(url=spot.url, tls=True, verify=False), "test")
    assert session.run("show status like 'Ssl_version'")[0][1].startswith("TLS")
    session.close()


def test_a_connection_that_is_cut_in_an_epoch_leaves_nothing_of_it(spot: Database) -> None:
    head = made(spot)
    head.open()
    head.write(batch("a", "b"))
    head.prepare(Epoch(1, 1))
    ((number,),) = head.session.run("select connection_id()")
    spot.run(f"kill {number}")
    with pytest.raises(ExternalError):
        head.commit(Epoch(1, 1), ())
    head.close()
    assert spot.run("select * from `out`") == []


def test_two_destinations_that_write_one_table_wait_for_each_other(spot: Database) -> None:
    first, second = made(spot, node="one"), made(spot, node="two", mechanism=Mechanism.STAGED)
    for head, name in ((first, "a"), (second, "b")):
        head.open()
        head.write(batch(name))
    handles = second.prepare(Epoch(1, 1))
    first.prepare(Epoch(1, 1))
    second.commit(Epoch(1, 1), handles)
    first.commit(Epoch(1, 1), ())
    for head in (first, second):
        head.close()
    assert sorted(spot.run("select name from `out`")) == [("a",), ("b",)]


def test_a_table_without_transactions_is_refused(spot: Database) -> None:
    spot.run("create table `out` (id int, name text) engine = MyISAM")
    head = made(spot)
    with pytest.raises(UnavailableError, match="MyISAM"):
        head.open()
    head.close()


def test_a_definition_would_commit_half_an_epoch_and_is_refused(spot: Database) -> None:
    session = MariaSession(MariaConfig(url=spot.url), "test", strict=True)
    session.run("create table t (id int)")
    session.begin()
    session.run("insert into t values (1)")
    with pytest.raises(StateError, match="half an epoch"):
        session.run("drop table t")
    session.rollback()
    assert session.columns(Table("t", spot.name)) == {"id": "int(11)"}
    assert spot.run("select * from t") == []
    session.close()


def test_insert_only_counts_what_it_leaves_out_and_merge_minds_the_collation_of_the_table(spot: Database) -> None:
    spot.run("create table `out` (id bigint, name varchar(20) collate utf8mb4_general_ci primary key)")
    spot.run("insert into `out` values (7, 'A')")
    head = made(spot, write_mode="insert_only", key=("name",))
    head.open()
    head.write(batch("a", "b"))
    head.commit(Epoch(1, 1), head.prepare(Epoch(1, 1)))
    assert head._left_out == 1
    head.close()
    assert sorted(spot.run("select * from `out`")) == [(1, "b"), (7, "A")]
    head = made(spot, write_mode="merge", key=("name",), attempt=2)
    head.open()
    head.write(batch("a", "A"))
    head.commit(Epoch(2, 2), head.prepare(Epoch(2, 2)))
    head.close()
    assert min(spot.run("select * from `out`"))[0] == 1


def test_a_duplicate_is_told_without_its_value(spot: Database) -> None:
    spot.run("create table `out` (id bigint, name varchar(20) primary key)")
    head = made(spot)
    head.open()
    head.write(batch("secret", "secret"))
    with pytest.raises(DataError) as caught:
        head.prepare(Epoch(1, 1))
    head.close()
    assert "secret" not in caught.value.what
    assert "PRIMARY" in caught.value.what


@pytest.mark.parametrize("url", ["postgresql://x/y", "mysql://h:port/x", "mysql://h/x?a=b"])
def test_a_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(WorkflowError):
        MariaConfig(url=url).address()
