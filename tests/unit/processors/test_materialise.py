"""Changes become a table: the newest row of each key, deletes gone, through checkpoints and with other tasks."""

from __future__ import annotations

import random
from typing import Any

import pyarrow as pa
import pytest

from dataflare.batch import Batch
from dataflare.component import Budget
from dataflare.errors import WorkflowError
from dataflare.executor.partition import partitions
from dataflare.executor.snapshots import gathered_state
from dataflare.processors.materialise import Materialise
from dataflare.schema import Schema
from dataflare.testing.stage import HeldSegments, staged

SCHEMA = Schema.of({"id": "int64", "kind": "string", "value": "int64", "_op": "string"})

SEGMENTS = HeldSegments()


def changes(seed: int, count: int = 300) -> pa.Table:
    chance = random.Random(seed)
    rows = [
        {
            "id": chance.choice([None, *range(20)]),
            "kind": chance.choice("ab"),
            "value": n,
            "_op": chance.choice(["insert", "update", "delete", None]),
        }
        for n in range(count)
    ]
    return pa.Table.from_pylist(rows, SCHEMA.to_arrow())


def wanted(rows: pa.Table) -> list[dict[str, Any]]:
    """Apply one change after the other."""
    table: dict[tuple[Any, Any], dict[str, Any]] = {}
    for row in rows.to_pylist():
        key, op = (row["id"], row["kind"]), row.pop("_op")
        table.pop(key, None)
        if op != "delete":
            table[key] = row
    return list(table.values())


def node(index: int = 0, parallelism: int = 1) -> Any:
    component = staged(
        Materialise(Materialise.spec.config(key=["id", "kind"])),
        schemas={"0": SCHEMA},
        index=index,
        parallelism=parallelism,
        budget=Budget(),
        segments=SEGMENTS,
    )
    component.open()
    return component


def fed(component: Any, rows: pa.Table, size: int = 40) -> None:
    for start in range(0, rows.num_rows, size):
        assert list(component.process(Batch(rows.slice(start, size)))) == []


def table(component: Any) -> list[dict[str, Any]]:
    return [r for b in component.finish() for r in b.rows.to_pylist()]


@pytest.mark.parametrize("size", [1, 40, 300])
def test_the_newest_row_of_each_key_is_left(size: int) -> None:
    for seed in range(3):
        rows, component = changes(seed), node()
        fed(component, rows, size)
        left = wanted(rows)
        assert 0 < len(left) < 42
        assert table(component) == left
        assert component.fates() == {"absorbed": 300, "expanded": len(left)}
        component.close()


def test_a_delete_outlives_a_checkpoint_and_other_tasks() -> None:
    rows, key = changes(7), ["id", "kind"]
    states: list[Any] = []
    for index, part in partitions(rows.slice(0, 200), key, 3):
        component = node(index, 3)
        fed(component, part)
        states.append(component.snapshot())
    found = []
    for index, part in partitions(rows.slice(200), key, 2):
        component = node(index, 2)
        component.restore(gathered_state(states))
        fed(component, part)
        found += table(component)
    assert sorted(found, key=repr) == sorted(wanted(rows), key=repr)


def test_columns_of_changes_are_gone_and_what_cannot_be_a_table_is_told() -> None:
    component = staged(Materialise(Materialise.spec.config(key=["id"])))
    assert component.outputs([SCHEMA])[""].names == ["id", "kind", "value"]
    with pytest.raises(WorkflowError, match="there is no column 'id'"):
        component.outputs([Schema.of({"key": "int64"})])
    with pytest.raises(WorkflowError, match="nobody told what tells its rows apart"):
        staged(Materialise(Materialise.spec.config())).outputs([SCHEMA])
    whole = staged(Materialise(Materialise.spec.config(key=["id"], emit="changes")), key=("id", "kind"))
    with pytest.raises(WorkflowError, match="goes with rows that are changes"):
        whole.outputs([Schema.of({"id": "int64"})])
    with pytest.raises(WorkflowError, match="the changes are told apart by id, kind"):
        whole.outputs([SCHEMA])
