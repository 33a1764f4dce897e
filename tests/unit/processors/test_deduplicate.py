"""Deduplication: exact against a slow reading of its rule, whatever the batches, through checkpoints and rescaling."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from typing import Any, cast

import pyarrow as pa
import pytest

from dataflare.batch import Batch
from dataflare.component import StageContext
from dataflare.errors import DataError, WorkflowError
from dataflare.executor.partition import groups_of, partitions
from dataflare.executor.snapshots import gathered_state
from dataflare.processors import deduplicate_tables
from dataflare.processors.deduplicate import Deduplicate
from dataflare.schema import Schema
from dataflare.testing.stage import HeldSegments

SCHEMA = Schema.of({"id": "int64", "name": "string", "at": "timestamp", "k0": "float64"})
SECOND = 1_000_000
SEGMENTS = HeldSegments()


def table(seed: int, count: int = 400, spread: int = 30) -> pa.Table:
    chance = random.Random(seed)
    keys = [chance.choice([None, *range(spread)]) for _ in range(count)]
    rows = {
        "id": keys,
        "name": [chance.choice([None, "a", "b"]) for _ in range(count)],
        "at": [SECOND * (n // 4 + chance.randrange(-8, 8)) for n in range(count)],
        "k0": [chance.choice([0.0, -0.0, float("nan"), 1.5, None]) for _ in range(count)],
    }
    kinds = [pa.int64(), pa.string(), pa.int64(), pa.float64()]
    return pa.table(rows, schema=pa.schema(list(zip(rows, kinds, strict=True)))).cast(SCHEMA.to_arrow())


def node(index: int = 0, parallelism: int = 1, on_error: str = "fail", schema: Schema = SCHEMA, **config: Any) -> Any:
    component = Deduplicate(Deduplicate.spec.config(**config))
    component.context = StageContext(
        runtime=cast("Any", None),
        workflow="w",
        node="n",
        schemas={"0": schema},
        index=index,
        parallelism=parallelism,
        key_group=groups_of(index, parallelism)[0],
        on_error=on_error,
        epoch_time=lambda: 0,
        segments=SEGMENTS,
    )
    component.outputs([schema])
    component.open()
    return component


def ran(component: Any, rows: pa.Table, sizes: Callable[[], int], finish: bool = True) -> list[dict[str, Any]]:
    found, start = [], 0
    while start < rows.num_rows:
        size = sizes()
        found += list(component.process(Batch(rows.slice(start, size))))
        start += size
    found += list(component.finish()) if finish else []
    return [r for b in found if not b.stream for r in b.rows.to_pylist()]


def slowly(rows: pa.Table, keys: list[str], width: int | None = None, by: str = "at") -> list[dict[str, Any]]:
    """Apply the rule row by row."""
    kept, seen, far = [], [], None
    for number, row in enumerate(rows.to_pylist()):
        key = repr([row[k] + 0.0 if isinstance(row[k], float) else row[k] for k in keys])
        at = number if by == "rows" else round(row["at"].timestamp() * SECOND)
        far = at if far is None else max(far, at)
        near = [s for k, s in seen if k == key and (width is None or (abs(s - at) < width and s > far - width))]
        if not near:
            kept.append(row)
            seen.append((key, at))
    return kept


def text(rows: list[dict[str, Any]]) -> list[str]:
    return [repr(r).replace("-0.0", "0.0") for r in rows]


CONFIGS: dict[str, tuple[dict[str, Any], Callable[[pa.Table], list[dict[str, Any]]]]] = {
    "one key": ({"keys": ["id"]}, lambda t: slowly(t, ["id"])),
    "two keys": ({"keys": ["name", "k0"]}, lambda t: slowly(t, ["name", "k0"])),
    "all columns": ({}, lambda t: slowly(t, t.column_names)),
    "time": ({"keys": ["id"], "within": {"time": "5s", "by": "at"}}, lambda t: slowly(t, ["id"], 5 * SECOND)),
    "much time": ({"keys": ["id"], "within": {"time": "40s", "by": "at"}}, lambda t: slowly(t, ["id"], 40 * SECOND)),
    "rows": ({"keys": ["id"], "within": {"rows": 20}}, lambda t: slowly(t, ["id"], 21, "rows")),
    "one row": ({"keys": ["name"], "within": {"rows": 1}}, lambda t: slowly(t, ["name"], 2, "rows")),
}


@pytest.mark.once
@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("rounds", [8, 1])
def test_the_rule_holds_whatever_the_batches(name: str, rounds: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deduplicate_tables, "ROUNDS_MAX", rounds)
    monkeypatch.setattr(deduplicate_tables, "FORGET_ROWS", 10)
    config, rule = CONFIGS[name]
    for seed in range(4):
        chance = random.Random(seed)
        rows = table(seed)
        wanted = text(rule(rows))
        assert 0 < len(wanted) < rows.num_rows or name == "all columns"
        for sizes in (lambda: 400, partial(chance.randrange, 1, 90)):
            component = node(**config)
            assert text(ran(component, rows, sizes)) == wanted
            assert component.fates() == {"absorbed": rows.num_rows - len(wanted)}
            component.close()


@pytest.mark.once
@pytest.mark.parametrize("name", CONFIGS)
def test_a_resume_at_any_row_goes_on_as_if_nothing_had_happened(name: str) -> None:
    config, rule = CONFIGS[name]
    rows = table(11)
    wanted = text(rule(rows))
    for cut in (0, 1, 57, 200, 399):
        first, second = node(**config), node(**config)
        before = ran(first, rows.slice(0, cut), lambda: 30, finish=False)
        second.restore(gathered_state([first.snapshot()]))
        assert text(before + ran(second, rows.slice(cut), lambda: 70)) == wanted


def test_keys_that_were_seen_move_to_other_tasks() -> None:
    rows, keys = table(3), ("id",)
    wanted = sorted(text(slowly(rows, list(keys))))
    found, states = [], []
    for index, part in partitions(rows.slice(0, 200), keys, 3):
        component = node(index, 3, keys=list(keys))
        found += ran(component, part, lambda: 50, finish=False)
        states.append(component.snapshot())
    for index, part in partitions(rows.slice(200), keys, 2):
        component = node(index, 2, keys=list(keys))
        component.restore(gathered_state(states))
        found += ran(component, part, lambda: 50)
    assert sorted(text(found)) == wanted


def test_the_last_row_of_each_key_comes_at_the_end_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deduplicate_tables, "MERGE_ROWS", 64)
    rows = table(5)
    last = {r["id"]: r for r in rows.to_pylist()}
    places = {r["id"]: n for n, r in enumerate(rows.to_pylist())}
    wanted = text(sorted(last.values(), key=lambda r: places[r["id"]]))
    component = node(keys=["id"], keep="last")
    assert text(ran(component, rows, lambda: 33)) == wanted
    assert component.fates() == {"absorbed": 400, "expanded": len(wanted)}
    first, second = node(keys=["id"], keep="last"), node(keys=["id"], keep="last")
    assert ran(first, rows.slice(0, 123), lambda: 20, finish=False) == []
    second.restore(gathered_state([first.snapshot()]))
    assert sorted(text(ran(second, rows.slice(123), lambda: 20))) == sorted(wanted)


def test_keys_of_a_window_are_forgotten() -> None:
    component = node(keys=["id"], within={"rows": 10})
    schema = SCHEMA.to_arrow()
    for n in range(20):
        nulls = [pa.nulls(50, f.type) for f in list(schema)[1:]]
        rows = pa.Table.from_arrays([pa.arange(n * 50, n * 50 + 50, 1), *nulls], schema=schema)
        assert sum(b.num_rows for b in component.process(Batch(rows))) == 50
    component.snapshot()
    assert component._seen.remembered() == 11


def test_a_row_without_a_time_fails_or_is_a_dead_letter() -> None:
    rows = table(1, 10)
    rows = rows.set_column(2, "at", pa.array([None] * 4 + rows["at"].to_pylist()[4:], rows["at"].type))
    config: dict[str, Any] = {"keys": ["id"], "within": {"time": "5s", "by": "at"}}
    with pytest.raises(DataError, match="within: at is null in 4 rows"):
        list(node(**config).process(Batch(rows)))
    errors, kept = node(on_error="dead_letter", **config).process(Batch(rows))
    assert (errors.stream, errors.num_rows) == ("errors", 4)
    assert kept.num_rows <= 6


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"keys": ["idd"]}, "keys: there is no column 'idd'"),
        ({"keep": "last", "within": "5s"}, "within goes with keep: first"),
        ({"within": {"time": "5s", "by": "name"}}, "'name' is string, not a time"),
    ],
)
def test_a_mistake_is_told_when_the_workflow_is_planned(config: dict[str, Any], message: str) -> None:
    with pytest.raises(WorkflowError, match=message):
        node(**config)
