"""The aggregate node: whole or in two halves, through checkpoints, with bounded memory."""

from __future__ import annotations

import json
import random
import re
from dataclasses import replace
from typing import Any, cast

import pyarrow as pa
import pytest

from dataflare.batch import Batch
from dataflare.component import StageContext
from dataflare.component.processor import SEGMENTED
from dataflare.errors import DataError, StateError, WorkflowError
from dataflare.executor.partition import partitions
from dataflare.executor.snapshots import gathered_state
from dataflare.expression.keys import key_groups
from dataflare.processors import aggregate, aggregate_groups
from dataflare.processors.aggregate import Aggregate
from dataflare.schema import Schema
from dataflare.testing.stage import HeldSegments

SEGMENTS = HeldSegments()
SCHEMA = Schema.of({"city": "string", "n": "int64", "who": "string"})
CONFIG: dict[str, Any] = {
    "group_by": ["city"],
    "aggregations": {
        "rows": "count(*)",
        "total": "sum(n)",
        "mean": "avg(n)",
        "people": "count(distinct who)",
        "middle": "median(n)",
    },
}


def rows_of(seed: int, count: int = 400, cities: int = 30) -> pa.Table:
    chance = random.Random(seed)
    return pa.table(
        {
            "city": pa.array([chance.choice([None, *(f"c{i}" for i in range(cities))]) for _ in range(count)]),
            "n": pa.array([chance.choice([None, chance.randrange(100)]) for _ in range(count)], pa.int64()),
            "who": pa.array([chance.choice("abcdefgh") for _ in range(count)]),
        }
    )


def context(schema: Schema = SCHEMA, on_error: str = "fail") -> StageContext:
    runtime = cast("Any", None)
    return StageContext(runtime, "w", "n", schemas={"0": schema}, on_error=on_error, segments=SEGMENTS)


def opened(component: Any, **given: Any) -> Any:
    component.context = context(**given)
    component.open()
    return component


def node(schema: Schema = SCHEMA, on_error: str = "fail", **config: Any) -> Any:
    return opened(Aggregate(Aggregate.spec.config(**config)), schema=schema, on_error=on_error)


def snapshot_of(component: Any) -> Any:
    """Take a checkpoint as a task does, and return what is restored from it."""
    assert list(component.flush()) == []
    return gathered_state([component.snapshot()])


def whole(batches: list[pa.Table], **config: Any) -> list[dict[str, Any]]:
    component = node(**config)
    for rows in batches:
        assert list(component.process(Batch(rows))) == []
    return [r for b in component.finish() for r in b.rows.to_pylist()]


BATCHES = [rows_of(seed) for seed in range(6)]
EXPECTED = whole([pa.concat_tables(BATCHES)], **CONFIG)


def test_the_batches_do_not_matter() -> None:
    assert len(EXPECTED) == 31
    assert whole(BATCHES, **CONFIG) == EXPECTED


def test_two_halves_equal_the_whole_however_partial_rows_travel() -> None:
    config = Aggregate.spec.config(**CONFIG)
    partials = [opened(Aggregate(config).partial()) for _ in range(2)]
    final = opened(Aggregate(config).final())
    for n, rows in enumerate(BATCHES):
        for out in partials[n % 2].process(Batch(rows)):
            final.process(out)
        if n == 3:  # a barrier
            for half in partials:
                for out in half.flush():
                    final.process(out)
    for half in partials:
        for out in half.finish():
            final.process(out)
    assert [r for b in final.finish() for r in b.rows.to_pylist()] == EXPECTED


def test_key_groups_split_the_second_half_without_loss() -> None:
    config = Aggregate.spec.config(**CONFIG)
    partial = opened(Aggregate(config).partial())
    finals = [opened(Aggregate(config).final()) for _ in range(3)]
    for rows in BATCHES:
        list(partial.process(Batch(rows)))
    (out,) = partial.flush()
    groups = key_groups(out.rows, finals[0].keys()).to_pylist()
    for n, final in enumerate(finals):
        final.process(Batch(out.rows.filter(pa.array([g % 3 == n for g in groups]))))
    found = [r for f in finals for b in f.finish() for r in b.rows.to_pylist()]
    assert sorted(found, key=str) == sorted(EXPECTED, key=str)


def test_a_restore_in_the_middle_loses_and_doubles_nothing() -> None:
    first = node(**CONFIG)
    for rows in BATCHES[:3]:
        list(first.process(Batch(rows)))
    state = snapshot_of(first)
    list(first.process(Batch(rows_of(99))))  # after the barrier: lost with the crash
    second = node(**CONFIG)
    second.restore(state)
    assert set(second.snapshot()) == set(state) == {SEGMENTED}
    assert set(second.segments()) == set(first.segments())
    for rows in BATCHES[3:]:
        list(second.process(Batch(rows)))
    assert [r for b in second.finish() for r in b.rows.to_pylist()] == EXPECTED


def test_a_group_goes_to_the_task_that_owns_its_keys() -> None:
    component, rows = node(**CONFIG), rows_of(1, count=3000, cities=600)
    list(component.process(Batch(rows)))
    state = snapshot_of(component)
    found = []
    for index in range(3):
        final = Aggregate(Aggregate.spec.config(**CONFIG)).final()
        final.context = replace(context(), index=index, parallelism=3)
        final.open()
        final.restore(state)
        mine = [r for b in final.finish() for r in b.rows.to_pylist()]
        owned = dict(partitions(rows, ["city"], 3))[index]
        assert {r["city"] for r in mine} == set(owned["city"].to_pylist())
        found += mine
    assert sorted(found, key=str) == sorted(whole([rows], **CONFIG), key=str)


def test_state_of_an_earlier_version_is_refused() -> None:
    with pytest.raises(StateError, match="in the form of an earlier version"):
        node(**CONFIG).restore({7: b"rows"})


@pytest.mark.once
@pytest.mark.parametrize("keys", [["city"], ["city", "n"]])
def test_many_groups_are_merged_in_portions_and_come_out_in_order(
    monkeypatch: pytest.MonkeyPatch, keys: list[str]
) -> None:
    monkeypatch.setattr(aggregate, "ROWS_HELD_MAX", 1000)
    config = {
        **CONFIG,
        "group_by": keys,
        "aggregations": {**CONFIG["aggregations"], "about": "approx_count_distinct(who)"},
    }
    wanted = whole(BATCHES, **config)
    component = node(**config)
    groups = component._half(1).held
    groups._portion_bytes, groups._bytes_merged_min = 700, 5000
    portions = 0
    for rows in BATCHES:
        list(component.process(Batch(rows)))
        portions = max(portions, len(list(groups._portions())))
    assert portions > 3
    assert [r for b in component.finish() for r in b.rows.to_pylist()] == wanted
    assert groups.held.rows == 0


def test_groups_of_several_snapshots_may_come_together() -> None:
    halves = [node(**CONFIG), node(**CONFIG)]
    for n, rows in enumerate(BATCHES):
        list(halves[n % 2].process(Batch(rows)))
    for half in halves:
        list(half.flush())
    together = node(**CONFIG)
    together.restore(gathered_state(half.snapshot() for half in halves))
    assert [r for b in together.finish() for r in b.rows.to_pylist()] == EXPECTED


def test_nothing_is_held_after_the_end() -> None:
    component = node(**CONFIG)
    list(component.process(Batch(BATCHES[0])))
    list(component.finish())
    assert component.snapshot() == {}


def test_what_is_held_is_bounded_by_the_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aggregate, "ROWS_HELD_MAX", 1000)
    monkeypatch.setattr(aggregate_groups, "ROWS_MERGED_MIN", 100)
    component = node(**CONFIG)
    for rows in BATCHES * 5:
        list(component.process(Batch(rows)))
        assert component._half(1).held.held.rows <= 200
        assert sum(b.num_rows for b in component._half(0)._held) < 1000
    assert sum(r["rows"] for b in component.finish() for r in b.rows.to_pylist()) == 6 * 5 * 400


def test_the_first_half_sends_rows_on_after_a_number_of_batches() -> None:
    half = opened(Aggregate(Aggregate.spec.config(**CONFIG)).partial())
    sent = [len(list(half.process(Batch(BATCHES[0].slice(0, 1))))) for _ in range(aggregate.BATCHES_HELD_MAX)]
    assert sent == [0] * (aggregate.BATCHES_HELD_MAX - 1) + [1]
    assert list(half.flush()) == []


def test_many_results_come_in_several_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aggregate_groups, "RESULT_ROWS", 10)
    component = node(**CONFIG)
    list(component.process(Batch(BATCHES[0])))
    sizes = [b.num_rows for b in component.finish()]
    assert max(sizes) == 10
    assert sum(sizes) == 31


def test_no_rows_without_keys_make_one_result() -> None:
    assert whole([], aggregations={"n": "count(*)", "t": "sum(n)"}) == [{"n": 0, "t": None}]
    assert whole([SCHEMA.to_arrow().empty_table()], aggregations={"n": "count(*)"}) == [{"n": 0}]
    assert whole([], **CONFIG) == []


def test_state_without_keys_is_in_one_group() -> None:
    component = node(aggregations={"n": "count(*)"})
    list(component.process(Batch(BATCHES[0])))
    list(component.flush())
    (told,) = json.loads(component.snapshot()[SEGMENTED])["groups"]
    assert told["rows"] == 1


@pytest.mark.parametrize(
    "group_by",
    [["city", {"big": "n > 50"}], {"city": "city", "big": "n > 50"}],
)
def test_keys_are_columns_or_named_expressions(group_by: Any) -> None:
    component = node(group_by=group_by, aggregations={"n": "count(*)"})
    assert component.keys() == ("city", "big")
    assert str(component.outputs([SCHEMA])[""]) == "city string, big bool, n int64"


def test_the_older_form_of_aggregations() -> None:
    lines = [
        {"source": "n", "destination": "total", "function": "sum"},
        {"source": "who", "destination": "people", "function": "count_distinct"},
        {"destination": "rows", "function": "count"},
        {"source": "n", "destination": "mean", "function": "average"},
    ]
    texts = {"total": "sum(n)", "people": "count(distinct who)", "rows": "count(*)", "mean": "avg(n)"}
    assert whole(BATCHES, group_by=["city"], aggregations=lines) == whole(
        BATCHES, group_by=["city"], aggregations=texts
    )


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"group_by": ["town"]}, "group_by: there is no column 'town'"),
        ({"group_by": ["upper(city)"]}, "an expression needs a name"),
        ({"window": {"type": "tumbling", "size": "1d"}}, "windows are not there yet"),
        ({"aggregations": {"city": "count(*)"}, "group_by": ["city"]}, "made twice"),
        ({"aggregations": {"x": "sum(nope)"}}, "no column 'nope'"),
    ],
)
def test_mistakes_are_told_when_planning(config: dict[str, Any], words: str) -> None:
    settings = {"aggregations": {"n": "count(*)"}} | config
    with pytest.raises(WorkflowError, match=re.escape(words)):
        Aggregate(Aggregate.spec.config(**settings)).outputs([SCHEMA])


def test_rows_that_fail_leave_by_errors_or_fail_the_node() -> None:
    config = {"aggregations": {"t": "sum(cast(who as integer))"}}
    rows = pa.table({"city": ["a", "b"], "n": [1, 2], "who": ["5", "x"]})
    component = node(on_error="dead_letter", **config)
    assert list(component.process(Batch(rows, position={"at": 1}))) == []
    (errors,) = component.flush()  # a barrier
    assert (errors.stream, errors.num_rows, errors.rows.schema.names) == ("errors", 1, ["error", "node", "row"])
    assert [b.rows.to_pylist() for b in component.finish()] == [[{"t": 5}]]
    failing = node(**config)
    list(failing.process(Batch(rows)))
    with pytest.raises(DataError):
        list(failing.finish())


def test_its_traits_and_examples_are_declared() -> None:
    assert Aggregate.spec.traits.counts == ("absorbed", "expanded", "skipped", "dead")
    for example in Aggregate.spec.examples:
        Aggregate.spec.config(**example)
