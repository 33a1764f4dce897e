"""Joins: against a slow reading of SQL's rules, in memory and on disk, through checkpoints and with other tasks."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest

from dataflare.batch import Batch
from dataflare.component import Budget
from dataflare.errors import WorkflowError
from dataflare.executor.partition import partitions
from dataflare.executor.snapshots import gathered_state
from dataflare.processors.join import Join
from dataflare.schema import Column, Schema
from dataflare.testing.stage import HeldSegments, staged

LEFT = Schema.of({"id": "int64", "code": "string", "at": "timestamp", "note": "string"})
RIGHT = Schema.of({"key": "int32", "code": "string", "seen": "timestamp", "note": "string"})
CAST = 'cast one of them in a mapping before: {set: {key: "cast(key as ...)"}}'
START = datetime(2026, 1, 1, tzinfo=UTC)


def node(index: int = 0, parallelism: int = 1, segments: HeldSegments | None = None, **config: Any) -> Any:
    component = Join(Join.spec.config(**config))
    schemas = {"0": LEFT, "1": RIGHT}
    kept = {"segments": segments} if segments is not None else {}
    staged(component, schemas=schemas, index=index, parallelism=parallelism, budget=Budget(64 << 20), **kept)
    component.open()
    return component


def table(schema: Schema, seed: int, count: int) -> pa.Table:
    chance = random.Random(seed)
    columns = []
    for column in schema:
        if column.type == "timestamp":
            values = [chance.choice([None, *(START + timedelta(seconds=n) for n in range(30))]) for _ in range(count)]
        elif column.name == "note":
            values = [f"{seed}.{n}" for n in range(count)]
        elif column.type == "string":
            values = [chance.choice([None, "a", "b"]) for _ in range(count)]
        else:
            values = [chance.choice([None, *range(12)]) for _ in range(count)]
        columns.append(values)
    return pa.Table.from_pylist(
        [dict(zip(schema.names, row, strict=True)) for row in zip(*columns, strict=True)], schema.to_arrow()
    )


ROWS, OTHERS = table(LEFT, 1, 150), table(RIGHT, 2, 90)


def fed(component: Any, rows: pa.Table = ROWS, others: pa.Table = OTHERS) -> None:
    for start in range(0, max(rows.num_rows, others.num_rows), 40):
        assert list(component.process(Batch(others.slice(start, 40)), 1)) == []
        assert list(component.process(Batch(rows.slice(start, 40)), 0)) == []


def finished(component: Any) -> list[dict[str, Any]]:
    planned = component.outputs([LEFT, RIGHT])[""].to_arrow()
    found = list(component.finish())
    assert all(b.rows.schema == planned for b in found)
    return [r for b in found for r in b.rows.to_pylist()]


def ordered(rows: list[dict[str, Any]]) -> list[str]:
    return sorted(map(repr, rows))


def slowly(how: str, pairs: dict[str, str]) -> list[dict[str, Any]]:
    """Join row by row, as SQL has it; a key stands for both sides."""
    lefts, rights = ROWS.to_pylist(), OTHERS.to_pylist()
    taken = [n for n in RIGHT.names if n not in pairs.values()]

    def named(name: str) -> str:
        return f"{name}_right" if name in LEFT.names else name

    def made(one: dict[str, Any] | None, other: dict[str, Any] | None) -> dict[str, Any]:
        row = {n: None if one is None else one[n] for n in LEFT.names}
        if one is None and other is not None:
            row |= {a: other[b] for a, b in pairs.items()}
        return row | {named(n): None if other is None else other[n] for n in taken}

    def equal(one: dict[str, Any], other: dict[str, Any]) -> bool:
        return all(one[a] is not None and one[a] == other[b] for a, b in pairs.items())

    if how in ("semi", "anti"):
        return [r for r in lefts if any(equal(r, o) for o in rights) == (how == "semi")]
    found = [made(one, other) for one in lefts for other in rights if equal(one, other)]
    if how in ("left", "full"):
        found += [made(one, None) for one in lefts if not any(equal(one, o) for o in rights)]
    if how in ("right", "full"):
        found += [made(None, other) for other in rights if not any(equal(o, other) for o in lefts)]
    return found


@pytest.mark.parametrize("keys", [{"id": "key"}, {"id": "key", "code": "code"}, ["code"]], ids=str)
@pytest.mark.parametrize("how", ["inner", "left", "right", "full", "semi", "anti"])
def test_sqls_rules_hold(how: str, keys: Any) -> None:
    pairs = keys if isinstance(keys, dict) else {k: k for k in keys}
    wanted = ordered(slowly(how, pairs))
    assert len(wanted) > 5
    component = node(how=how, keys=keys)
    fed(component)
    assert ordered(finished(component)) == wanted
    assert component.fates() == {"absorbed": 240, "expanded": len(wanted)}
    assert all(h.rows == 0 for h in component.held.values())
    for held in component.held.values():
        held._memory_bytes_max = held._part_bytes = 1000
    fed(component)
    assert any(h.spilled_bytes for h in component.held.values())
    assert ordered(finished(component)) == wanted


@pytest.mark.parametrize(("few", "many"), [(ROWS.slice(0, 5), OTHERS), (ROWS, OTHERS.slice(0, 5))])
def test_which_side_is_larger_does_not_matter(few: pa.Table, many: pa.Table) -> None:
    component = node(keys={"id": "key"}, take=["seen"])
    fed(component, few, many)
    pairs = [(a, b) for a in few.to_pylist() for b in many.to_pylist() if a["id"] is not None and a["id"] == b["key"]]
    assert ordered(finished(component)) == ordered([{**a, "seen": b["seen"]} for a, b in pairs])


def slowly_near(direction: str, keys: list[str], within: float | None) -> list[dict[str, Any]]:
    found = []
    for one in ROWS.to_pylist():
        best = None
        for other in OTHERS.to_pylist():
            if None in (one["at"], other["seen"]) or any(one[k] is None or one[k] != other[k] for k in keys):
                continue
            apart = (one["at"] - other["seen"]).total_seconds() * (1 if direction == "backward" else -1)
            if apart < 0 or (within is not None and apart > within):
                continue
            if best is None or apart < best[0] or (apart == best[0] and direction == "backward"):
                best = apart, other
        found.append({**one, "note_right": None if best is None else best[1]["note"]})
    return found


@pytest.mark.parametrize("within", [None, 2.0])
@pytest.mark.parametrize("keys", [[], ["code"]], ids=str)
@pytest.mark.parametrize("direction", ["backward", "forward"])
def test_the_nearest_row_is_found(direction: str, keys: list[str], within: float | None) -> None:
    config = {"how": "asof", "keys": keys, "at": {"at": "seen"}, "direction": direction, "within": within}
    component = node(**config, take=["note"])
    fed(component)
    wanted = slowly_near(direction, keys, within)
    assert 0 < sum(r["note_right"] is not None for r in wanted) < 150
    assert ordered(finished(component)) == ordered(wanted)


@pytest.mark.parametrize(("before", "after"), [(1, 1), (1, 3), (3, 2)])
@pytest.mark.parametrize("how", ["full", "anti", "asof"])
def test_a_resume_goes_on_with_other_tasks(how: str, before: int, after: int) -> None:
    near = {"at": {"at": "seen"}} if how == "asof" else {}
    keys = {} if how == "asof" else {"id": "key"}
    config = {"how": how, "keys": keys, **near}
    whole = node(**config)
    fed(whole)
    wanted = ordered(finished(whole))

    def parts(rows: pa.Table, names: list[str], tasks: int, everywhere: bool) -> dict[int, pa.Table]:
        if everywhere:
            return dict.fromkeys(range(tasks), rows)
        if not names:
            return {n: rows.take(list(range(n, rows.num_rows, tasks))) for n in range(tasks)}
        return dict(partitions(rows, names, tasks))

    segments, states, found = HeldSegments(), [], []
    halves = [(ROWS.slice(0, 60), OTHERS.slice(0, 50), before), (ROWS.slice(60), OTHERS.slice(50), after)]
    for number, (rows, others, tasks) in enumerate(halves):
        left, right = parts(rows, list(keys), tasks, False), parts(others, list(keys.values()), tasks, how == "asof")
        said, states = states, []
        for index in range(tasks):
            component = node(index, tasks, segments, **config)
            component.restore(gathered_state(said))
            fed(component, left.get(index, ROWS.slice(0, 0)), right.get(index, OTHERS.slice(0, 0)))
            if number:
                found += finished(component)
            else:
                states.append(component.snapshot())
                assert set(component.segments()) <= set(segments.kept)
    assert ordered(found) == wanted


def test_columns_tell_where_they_come_from_and_whether_they_may_be_null() -> None:
    left = Schema((Column("id", "int32", nullable=False, tags=("a",)), Column("x", "string", nullable=False)))
    right = Schema(
        (Column("key", "int64", nullable=False, tags=("b",)), Column("X", "bool", nullable=False, tags=("c",)))
    )

    def told(how: str) -> list[tuple[str, str, bool, tuple[str, ...]]]:
        component = staged(Join(Join.spec.config(how=how, keys={"id": "key"})))
        return [(c.name, c.type, c.nullable, c.tags) for c in component.outputs([left, right])[""]]

    assert told("inner") == [
        ("id", "int32", False, ("a", "b")),
        ("x", "string", False, ()),
        ("X_right", "bool", False, ("c",)),
    ]
    assert [n for _, _, n, _ in told("left")] == [False, False, True]
    assert [(k, n) for _, k, n, _ in told("right")] == [("int64", False), ("string", True), ("bool", False)]
    assert [n for _, _, n, _ in told("full")] == [False, True, True]
    assert told("semi") == told("anti") == [("id", "int32", False, ("a", "b")), ("x", "string", False, ())]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"keys": ["id"]}, "keys, right side: there is no column 'id'; known: key, code, seen, note"),
        ({"keys": {"idd": "key"}}, "keys, left side: there is no column 'idd'; did you mean 'id'?"),
        ({"keys": {"code": "key"}}, f"keys: 'code' is string and 'key' is int32; {CAST}"),
        ({"keys": ["code"], "take": ["nothing"]}, "take: there is no column 'nothing'; known: key, code, seen, note"),
        (
            {"keys": ["code"], "take": {"note": "note", "Note": "seen"}},
            "two columns would be called 'Note_right'; give one another name: take: {new: old}",
        ),
        (
            {"how": "asof", "at": {"id": "key"}, "within": "5s"},
            "within: 'id' is int64; it goes with a time",
        ),
        (
            {"how": "asof", "at": {"id": "key", "at": "seen"}},
            "at: name one column of each side; such as at: {ordered_at: changed_at}",
        ),
    ],
)
def test_what_cannot_be_joined_is_told(config: dict[str, Any], message: str) -> None:
    with pytest.raises(WorkflowError) as caught:
        staged(Join(Join.spec.config(**config))).outputs([LEFT, RIGHT])
    assert f"{caught.value.what}; {caught.value.hint}" == message


@pytest.mark.parametrize("inputs", [1, 3])
def test_a_join_has_two_sides(inputs: int) -> None:
    with pytest.raises(WorkflowError, match=f"two inputs, left and right, not {inputs}"):
        staged(Join(Join.spec.config(keys=["code"]))).outputs([LEFT] * inputs)


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"how": "asof", "keys": ["a"]},
        {"keys": ["a"], "at": "t"},
        {"keys": ["a"], "within": "5s"},
        {"keys": ["a"], "direction": "forward"},
        {"how": "semi", "keys": ["a"], "take": ["b"]},
    ],
    ids=str,
)
def test_settings_that_do_not_fit_each_other_are_refused(config: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"goes with|go with|leave take out|name the column"):
        Join.spec.config(**config)
