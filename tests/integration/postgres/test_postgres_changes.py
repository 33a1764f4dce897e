"""Changes into tables of PostgreSQL that somebody else has made: other types, constraints, names."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from tests.postgres import Place, place

from dataflare.batch import Batch
from dataflare.changes import changing
from dataflare.component import Epoch
from dataflare.connectors.postgres.destination import PostgresDestination
from dataflare.connectors.postgres.settings import PostgresDestinationConfig
from dataflare.plan_words import Mechanism
from dataflare.schema import Schema
from dataflare.testing.stage import staged

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.postgres

ROWS = Schema.of({"id": "string", "part": "int32", "doc": "json", "note": "string", "price": "decimal(9,2)"})
CHANGES = changing(ROWS, ("id", "part"), unchanged=True)
ONE, TWO = "0f8fad5b-d9cb-469f-a165-70867728950e", "7c9e6679-7425-40de-944b-e07fc1f90ae7"


@pytest.fixture
def spot() -> Iterator[Place]:
    with place() as found:
        yield found


@pytest.fixture(params=[Mechanism.DIRECT, Mechanism.STAGED])
def write(spot: Place, request: pytest.FixtureRequest) -> Iterator[Callable[..., None]]:
    """Write an epoch of changes into the table `out`."""
    made: list[PostgresDestination] = []

    def do(number: int, *changes: dict[str, Any], mode: str = "merge", **settings: Any) -> None:
        config = PostgresDestinationConfig(url=spot.url, table=spot.table("out"), **settings)
        told = {"schemas": {"0": CHANGES}, "mechanism": request.param, "write_mode": mode, "key": ("id", "part")}
        made.append(staged(PostgresDestination(config), attempt=number, **told))
        head = made[-1]
        head.open()
        rows = [{"_op": "update", "part": 1, "_tx": f"{number:04}.{n:04}", **c} for n, c in enumerate(changes)]
        head.write(Batch.of(rows, schema=CHANGES.to_arrow()))
        epoch = Epoch(number, number)
        head.commit(epoch, head.prepare(epoch))
        head.close()

    yield do
    for instance in made:
        instance.close()


def test_values_that_stay_as_they_are_may_be_of_any_type_and_not_null(spot: Place, write: Any) -> None:
    columns = "id uuid, part smallint, doc jsonb not null, note varchar(40) not null, price numeric, own int default 7"
    spot.run(f"create table {{}}.out ({columns}, primary key (part, id))")
    write(1, {"id": ONE, "doc": '{"a": 1}', "note": "long", "price": Decimal("1.50")})
    write(2, {"id": ONE, "price": Decimal("2.50"), "_unchanged": ["doc", "note"]})
    write(
        3,
        {"id": ONE, "doc": '{"b": 2}', "note": "longer", "price": Decimal("3.00")},
        {"id": ONE, "note": "longest", "price": Decimal("4.00"), "_unchanged": ["doc"]},
        {"id": ONE, "price": Decimal("5.00"), "_unchanged": ["doc", "note"]},
    )
    assert spot.run("select id::text, doc::text, note, price::text, own from {}.out") == [
        (ONE, '{"b": 2}', "longest", "5.00", 7)
    ]


def test_a_unique_value_may_go_from_a_deleted_row_to_a_new_one(spot: Place, write: Any) -> None:
    spot.run(
        "create table {}.out (id text, part int, doc jsonb, note text unique, price numeric, primary key (id, part))"
    )
    write(1, {"_op": "insert", "id": ONE, "note": "n"})
    write(2, {"_op": "delete", "id": ONE}, {"_op": "insert", "id": TWO, "note": "n"})
    assert spot.run("select id, note from {}.out") == [(TWO, "n")]


def test_versions_of_values_that_the_server_cannot_compare(spot: Place, write: Any) -> None:
    columns = "id uuid, part int, doc json, note text, price numeric, valid_from timestamp, valid_to timestamp"
    spot.run(f"create table {{}}.out ({columns}, is_current boolean)")
    write(1, {"id": ONE, "doc": '{"a": 1}'}, mode="scd2")
    write(2, {"id": ONE, "doc": '{"a": 1}'}, {"id": ONE, "doc": '{"a": 2}'}, mode="scd2")
    write(3, {"id": ONE, "note": "x", "_unchanged": ["doc"]}, mode="scd2")
    found = spot.run(
        "select doc::text, note, is_current, valid_to is null from {}.out order by doc::text, note nulls first"
    )
    assert found == [('{"a": 1}', None, False, False), ('{"a": 2}', None, False, False), ('{"a": 2}', "x", True, True)]


def test_reserved_names_may_be_those_of_columns_that_keep_them(spot: Place, write: Any) -> None:
    settings = {"changes": {"op": "_op", "tx": "_tx", "commit_ts": "_commit_ts"}, "deletes": "soft"}
    write(1, {"id": ONE, "note": "a"}, {"id": TWO, "note": "b"}, **settings)
    write(2, {"_op": "delete", "id": ONE}, {"id": TWO, "note": "old", "_tx": "0000"}, **settings)
    found = spot.run("select id, note, _op, _tx, _deleted_at is null from {}.out order by note")
    assert found == [(ONE, "a", "delete", "0002.0000", False), (TWO, "b", "update", "0001.0001", True)]
