"""The epoch table keeps what a destination holds, and its fence keeps older attempts out."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any

import pytest

from dataflare.component import Epoch
from dataflare.errors import FencedError
from dataflare.sql.dialect import Table
from dataflare.sql.epochs import Epochs
from dataflare.sql.naming import EPOCHS, Owner
from dataflare.sql.sqlite_types import SQLITE

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    yield connection
    connection.close()


def epochs(connection: sqlite3.Connection, node: str = "out", tenant: str = "default") -> Epochs:
    def run(sql: str, parameters: Any = ()) -> list[Any]:
        return connection.execute(sql, parameters).fetchall()

    made = Epochs(SQLITE, Table(EPOCHS), Owner(tenant, "w", node), run)
    made.create()
    return made


def test_a_new_destination_holds_nothing(connection: sqlite3.Connection) -> None:
    row = epochs(connection).raise_fence(3)
    assert (row.fence, row.last(), row.finished) == (3, None, 0)


def test_an_epoch_is_kept_with_the_attempt_that_sealed_it(connection: sqlite3.Connection) -> None:
    table = epochs(connection)
    table.raise_fence(2)
    table.write(Epoch(7, 1), 2)
    again = table.raise_fence(3)
    assert again.last() == Epoch(7, 1)
    assert again.fence == 3


def test_a_fence_is_never_lowered(connection: sqlite3.Connection) -> None:
    table = epochs(connection)
    table.raise_fence(5)
    table.raise_fence(5)
    with pytest.raises(FencedError, match="attempt 4 of w/out was overtaken"):
        table.raise_fence(4)
    found = table.read()
    assert found is not None
    assert found.fence == 5


def test_a_fenced_attempt_writes_nothing(connection: sqlite3.Connection) -> None:
    table = epochs(connection)
    table.raise_fence(1)
    table.write(Epoch(1, 1), 1)
    table.raise_fence(2)
    for forbidden in (lambda: table.write(Epoch(2, 1), 1), lambda: table.lock(1), lambda: table.write_finished(1)):
        with pytest.raises(FencedError):
            forbidden()
    assert table.lock(2).last() == Epoch(1, 1)


def test_destinations_and_tenants_do_not_meet(connection: sqlite3.Connection) -> None:
    one, two, three = epochs(connection), epochs(connection, "other"), epochs(connection, tenant="acme")
    for number, table in enumerate((one, two, three), 1):
        table.raise_fence(number)
        table.write(Epoch(number * 10, number), number)
    assert [t.read().last() for t in (one, two, three)] == [Epoch(10, 1), Epoch(20, 2), Epoch(30, 3)]  # type: ignore[union-attr]


def test_a_finished_run_is_noted_with_its_last_epoch(connection: sqlite3.Connection) -> None:
    table = epochs(connection)
    table.raise_fence(1)
    table.write(Epoch(4, 1), 1)
    table.write_finished(1)
    assert table.lock(1).finished == 4
