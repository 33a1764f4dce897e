"""Changes become a table: the newest row of each key, deletes gone, through checkpoints and with other tasks."""

from __future__ import annotations

import json
import random
from typing import Any

import pyarrow as pa
import pytest

from dataflare.batch import Batch
from dataflare.changes import changing
from dataflare.component import Budget
from dataflare.component.processor import SEGMENTED
from dataflare.errors import DataError, WorkflowError
from dataflare.executor.partition import partitions
from dataflare.executor.snapshots import gathered_state
from dataflare.processors import materialise_rows
from dataflare.processors.materialise import Materialise
from dataflare.schema import Column, Schema
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


LEFT_OUT = changing(
    Schema((Column("id", "int64", nullable=False), *Schema.of({"n": "int64", "s": "string"}))), ("id",), unchanged=["s"]
)


def histories(seed: int, count: int = 200) -> tuple[pa.Table, list[dict[str, Any]]]:
    """Return changes that leave values out, and after each the row of its key."""
    chance = random.Random(seed)
    table: dict[int, dict[str, Any]] = {}
    rows, after = [], []
    for number in range(count):
        key = chance.randrange(8)
        before = table.get(key)
        row = {"id": key, "n": number, "s": chance.choice([None, "a", "b"])}
        op = "insert" if before is None else chance.choice(["update", "update", "update", "delete"])
        names = ["s"] if op == "update" and chance.random() < 0.5 else None
        if before is not None and names:
            row["s"] = before["s"]
        rows.append({**row, **({"s": "junk"} if names else {}), "_op": op, "_unchanged": names, "_tx": f"{number:09}"})
        if op == "delete":
            del table[key]
        else:
            table[key] = row
        after.append({"before": before, "after": table.get(key)})
    return pa.Table.from_pylist(rows, LEFT_OUT.to_arrow()), after


def whole(emit: str, index: int = 0, parallelism: int = 1) -> Any:
    component = staged(
        Materialise(Materialise.spec.config(emit=emit)),
        schemas={"0": LEFT_OUT},
        key=("id",),
        index=index,
        parallelism=parallelism,
        budget=Budget(),
        segments=SEGMENTS,
    )
    component.open()
    return component


@pytest.mark.once
@pytest.mark.parametrize("size", [1, 7, 200])
def test_changes_go_on_whole_with_the_former_row(size: int) -> None:
    rows, after = histories(size)
    component = whole("changes")
    found = []
    for start in range(0, rows.num_rows, size):
        (batch,) = component.process(Batch(rows.slice(start, size)))
        assert component.fates() == {}, "each change goes on as one"
        found += batch.rows.to_pylist()
    assert [r["_tx"] for r in found] == rows.column("_tx").to_pylist()
    assert [r["_before"] for r in found] == [a["before"] for a in after]
    told = [{n: r[n] for n in ("id", "n", "s")} for r in found if r["_op"] != "delete"]
    assert told == [a["after"] for a in after if a["after"] is not None]
    assert list(component.finish()) == []
    component.close()


@pytest.mark.parametrize("emit", ["changes", "table"])
def test_whole_rows_outlive_checkpoints_and_other_tasks(emit: str) -> None:
    rows, after = histories(3, 240)
    told = []
    for index, part in partitions(rows.slice(0, 150), ["id"], 3):
        component = whole(emit, index, 3)
        for start in range(0, part.num_rows, 20):
            list(component.process(Batch(part.slice(start, 20))))
            state = component.snapshot()
        told.append(json.loads(state[SEGMENTED]))
        component.close()
    found = []
    for index, part in partitions(rows.slice(150), ["id"], 2):
        component = whole(emit, index, 2)
        component.restore({SEGMENTED: json.dumps(told).encode()})
        found += [row for out in component.process(Batch(part)) for row in out.rows.to_pylist()]
        found += table(component)
        assert emit == "table" or component.segments()
        component.close()
    if emit == "table":
        last = {row["id"]: a["after"] for row, a in zip(rows.to_pylist(), after, strict=True)}
        assert sorted(found, key=repr) == sorted((r for r in last.values() if r is not None), key=repr)
    else:
        before = {r["_tx"]: r["_before"] for r in found}
        assert [before[tx] for tx in rows.column("_tx").to_pylist()[150:]] == [a["before"] for a in after[150:]]


def test_a_log_of_many_changes_of_few_rows_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(materialise_rows, "MERGE_ROWS", 30)
    rows, after = histories(5)
    component = whole("changes")
    for start in range(0, rows.num_rows, 10):
        list(component.process(Batch(rows.slice(start, 10))))
    told = [json.loads(component.snapshot()[SEGMENTED])]
    assert sum(part["rows"] for part in told[0]["log"]) < 60
    component.close()
    again = whole("table")
    again.restore({SEGMENTED: json.dumps(told).encode()})
    last = {row["id"]: a["after"] for row, a in zip(rows.to_pylist(), after, strict=True)}
    assert sorted(table(again), key=repr) == sorted((r for r in last.values() if r is not None), key=repr)
    again.close()


@pytest.mark.parametrize("emit", ["changes", "table"])
def test_a_truncate_empties_the_table_where_one_task_has_it(emit: str) -> None:
    rows = [
        *({"id": n, "n": n, "_op": "read"} for n in (1, 2)),
        {"id": None, "_op": "truncate"},
        {"id": 2, "n": 9, "s": "new", "_op": "insert"},
    ]
    component = whole(emit)
    found = [
        r for b in component.process(Batch(pa.Table.from_pylist(rows, LEFT_OUT.to_arrow()))) for r in b.rows.to_pylist()
    ]
    if emit == "table":
        assert table(component) == [{"id": 2, "n": 9, "s": "new"}]
    else:
        assert [(r["_op"], r["_before"]) for r in found[2:]] == [("truncate", None), ("insert", None)]
    component.close()
    several = whole(emit, 0, 2)
    with pytest.raises(DataError, match="several tasks cannot put in order"):
        list(several.process(Batch(pa.Table.from_pylist(rows, LEFT_OUT.to_arrow()))))
    several.close()


@pytest.mark.parametrize("emit", ["changes", "table"])
def test_a_value_that_was_never_told_fails_rather_than_become_null(emit: str) -> None:
    def batch(*rows: dict[str, Any]) -> Batch:
        return Batch(pa.Table.from_pylist(list(rows), LEFT_OUT.to_arrow()))

    component = whole(emit)
    left_out = {"id": 1, "n": 2, "_op": "update", "_unchanged": ["s"]}
    list(component.process(batch({"id": 1, "n": 1, "s": None, "_op": "read"}, left_out)))  # null was told
    gone = {"n": 1, "_op": "delete"}
    list(component.process(batch(left_out, {"id": 2, **gone}, {"id": 4, **gone, "_unchanged": ["s"]})))
    with pytest.raises(DataError, match="1 changes of a batch leave values out of rows that the table does not have"):
        list(component.process(batch(left_out | {"id": 3})))
    component.close()
