"""One script of changes, told by DataFlare and by Debezium: the same events, values, nulls and order."""

from __future__ import annotations

from itertools import zip_longest
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from tests.changes import followers
from tests.debezium.captured import debezium, skip_without_debezium
from tests.debezium.script import TABLES, Script, columns
from tests.debezium.told import Shape, Told, ours, theirs
from tests.postgres import place

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

skip_without_debezium()
pytestmark = pytest.mark.postgres

SHAPES = {
    "kinds": Shape(("id",), {"id": "int4", **columns()}),
    "pairs": Shape(("b", "a"), {"a": "int4", "note": "text", "b": "text", "v": "numeric(12,3)"}),
    "bare": Shape(("x", "y", "z"), {"x": "int4", "y": "text", "z": "numeric(8,2)"}, is_whole=True),
    "whole": Shape(("id",), {"id": "int4", "n": "int4", "long": "text", "other": "text"}, is_whole=True),
    "longs": Shape(("id",), {"id": "int4", "n": "int4", "long": "text", "other": "text", "doc": "jsonb"}),
    "byindex": Shape(("code",), {"id": "int4", "code": "text", "v": "int4"}),
    "grown": Shape(("id",), {"id": "int4", "v": "int4", "w": "text"}),
    "bulk": Shape(("id",), {"id": "int8", "v": "int4", "t": "text"}),
}


def by_key(told: list[Told]) -> Mapping[Any, list[Told]]:
    """Return the changes of each key in their order; a truncation is one of every key."""
    found: dict[Any, list[Told]] = {}
    for event in told:
        found.setdefault(event.key, []).append(event)
    return found


def compare(folder: Path, seed: int, transactions: int, bulk_rows: int) -> None:
    """Write, read twice, and compare event by event."""
    with place() as spot, psycopg.connect(spot.url, autocommit=True) as connection:
        script = Script(connection, spot.schema, seed)
        script.set_up()
        with followers(spot, "cdc") as follow, debezium(spot, folder) as oracle:
            one = follow(*TABLES, cdc={"truncate": "apply", "before": True})
            assert one.stream
            script.play(transactions, bulk_rows)
            one.again()
            mine: dict[str, list[Told]] = {table: [] for table in TABLES}
            for batch in one.batches():
                mine[batch.stream] += ours(batch.rows, SHAPES[batch.stream])
            other: dict[str, list[Told]] = {table: [] for table in TABLES}
            for event in oracle.events():
                table = event["source"]["table"]
                other[table] += theirs(event, SHAPES[table])
    for table in TABLES:
        refuse_difference(mine[table], other[table], f"seed {seed}: {table}")
    pairs = [pair for table in TABLES for pair in zip(mine[table], other[table], strict=True)]
    # Both say alike which changes are of one transaction, each in its own words.
    assert len({(m.tx, o.tx) for m, o in pairs}) == len({m.tx for m, _ in pairs}) == len({o.tx for _, o in pairs})
    refuse_a_script_that_proves_nothing([m for m, _ in pairs], script)


def refuse_difference(mine: list[Told], other: list[Told], where: str) -> None:
    """Fail with the first change that differs: of a key, or, where those of each key are the same, of the table."""
    left, right = by_key(mine), by_key(other)
    for key in [*left, *right]:
        for m, o in zip_longest(left.get(key, ()), right.get(key, ())):
            if m != o:
                pytest.fail(f"{where}\n  DataFlare: {m}\n  Debezium:  {o}", pytrace=False)
    if mine != other:
        pytest.fail(f"{where}: changes of different keys are in another order", pytrace=False)


def refuse_a_script_that_proves_nothing(told: list[Told], script: Script) -> None:
    """Fail where the script left something out that is to be compared."""
    assert {m.op for m in told} == {"insert", "update", "delete", "truncate"}
    assert sum(bool(m.unchanged) for m in told) > 20
    assert sum(m.before is not None for m in told) > 20
    assert script.done.keys() >= {"commit", "rollback", "undone", "released", "truncate", "key"}


def test_changes_are_the_ones_that_debezium_tells(tmp_path: Path) -> None:
    compare(tmp_path, seed=20261126, transactions=160, bulk_rows=3000)
