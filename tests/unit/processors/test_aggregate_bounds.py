"""What an aggregate keeps of a group: as little as can be, and never more than values_max."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.processors.shaping import opened, planned, through

from dataflare.batch import Batch
from dataflare.errors import DataError, WorkflowError
from dataflare.executor.snapshots import gathered_state
from dataflare.expression.aggregate import AggregatePlan
from dataflare.processors.aggregate import Aggregate
from dataflare.schema import Schema

if TYPE_CHECKING:
    from collections.abc import Iterator

SCHEMA = Schema.of({"k": "int64", "t": "int64", "v": "string"})
RESULTS = {
    "newest": "last(v order by t)",
    "three": "max_by(v, t, 3)",
    "different": "approx_count_distinct(v)",
    "middle": "quantile_disc(t, 0.5)",
    "spread": "stddev(t)",
    "all": "list(v order by t)",
}


def rows_of(seed: int, count: int, keys: int = 3) -> pa.Table:
    chance = random.Random(seed)
    times = chance.sample(range(10 * count), count)
    columns = {"k": [chance.randrange(keys) for _ in times], "t": times, "v": [f"v{t % 97}" for t in times]}
    return pa.Table.from_pydict(columns, schema=SCHEMA.to_arrow())


@pytest.mark.parametrize(
    ("text", "bytes_max"),
    [
        ("first(v order by t)", 100),
        ("last(v order by t desc nulls first)", 100),
        ("arg_max(v, t)", 100),
        ("min(v, 10)", 200),
        ("max_by(v, t, 10)", 300),
        ("stddev(t)", 100),
        ("approx_count_distinct(t)", 2_000),
        ("approx_quantile(t, 0.9)", 10_000),
        ("approx_top_k(v, 5)", 20_000),
    ],
)
def test_the_state_of_a_group_does_not_grow_with_its_rows(text: str, bytes_max: int) -> None:
    plan = AggregatePlan([], [("r", text)], SCHEMA)
    partials = [plan.partial(rows_of(seed, 20_000))[0] for seed in range(3)]
    merged = plan.merge(partials)
    assert merged.combine_chunks().get_total_buffer_size() < bytes_max
    assert plan.final(merged).num_rows == 1


def test_different_values_are_counted_within_a_tenth() -> None:
    for count in (1, 10, 1_000, 100_000):
        rows = rows_of(count, count, keys=1)
        ((found),) = through(Aggregate, rows, SCHEMA, aggregations={"n": "approx_count_distinct(t)"})
        assert abs(found["n"] - count) <= 0.1 * count


def test_quantiles_of_a_sketch_are_near_the_exact_ones() -> None:
    rows = rows_of(5, 50_000, keys=1)
    texts = {"exact": "quantile_cont(t, 0.95)", "about": "approx_quantile(t, 0.95)"}
    (found,) = through(Aggregate, rows, SCHEMA, aggregations=texts)
    assert abs(found["about"] - found["exact"]) < 0.01 * found["exact"]


def cut(rows: pa.Table, ends: list[int]) -> Iterator[pa.Table]:
    at = 0
    for end in [*sorted(ends), rows.num_rows]:
        yield rows.slice(at, end - at)
        at = end


@pytest.mark.once
@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 1000), ends=st.lists(st.integers(0, 200), min_size=1, max_size=5), killed=st.integers(0, 5))
def test_a_killed_run_goes_on_as_if_it_had_not_been(seed: int, ends: list[int], killed: int) -> None:
    config: dict[str, Any] = {"group_by": ["k"], "aggregations": RESULTS}
    rows = rows_of(seed, 200)
    parts = list(cut(rows, ends))
    first = opened(Aggregate, SCHEMA, **config)
    for part in parts[:killed]:
        assert list(first.process(Batch(part))) == []
    assert list(first.flush()) == []
    state = gathered_state([first.snapshot()])
    list(first.process(Batch(rows_of(seed + 1, 50))))  # lost with the process
    second = opened(Aggregate, SCHEMA, **config)
    second.restore(state)
    for part in parts[killed:]:
        list(second.process(Batch(part)))
    found = [row for batch in second.finish() for row in batch.rows.to_pylist()]
    wanted = through(Aggregate, rows, SCHEMA, **config)
    for left, right in zip(found, wanted, strict=True):
        assert left.pop("spread") == pytest.approx(right.pop("spread"))
        assert left == right


@pytest.mark.parametrize(
    "text",
    [
        "list(v)",
        "list(v order by t)",
        "count(distinct t)",
        "median(t)",
        "mode(t)",
        "histogram(t)",
        "string_agg(v, ',')",
    ],
)
@pytest.mark.parametrize("group_by", [[], ["k"]])
def test_more_values_than_a_group_may_hold_end_the_run(text: str, group_by: list[str]) -> None:
    config = {"group_by": group_by, "aggregations": {"kept": text}}
    rows = rows_of(1, 100, keys=1)
    with pytest.raises(DataError, match=r"kept: one group holds .* of the 99 that values_max allows") as caught:
        through(Aggregate, rows, SCHEMA, values_max=99, **config)
    assert "approx_count_distinct" in str(caught.value.hint)
    assert len(through(Aggregate, rows, SCHEMA, values_max=1000, **config)) == 1


def test_the_bound_is_one_of_a_group_and_of_different_values() -> None:
    config = {"group_by": ["k"], "aggregations": {"n": "count(distinct t)", "l": "list(distinct v)"}}
    rows = pa.concat_tables([rows_of(1, 300, keys=3)] * 4)
    assert len(through(Aggregate, rows, SCHEMA, values_max=150, **config)) == 3


def test_few_values_are_no_gathered_ones() -> None:
    rows = rows_of(1, 300, keys=1)
    texts = {"few": "min(t, 5)", "about": "approx_quantile(t, 0.5)", "top": "approx_top_k(v, 3)", "least": "min(v)"}
    assert len(through(Aggregate, rows, SCHEMA, values_max=10, aggregations=texts)) == 1


def test_the_older_form_knows_the_same_functions() -> None:
    lines = [
        {"source": "v", "destination": "newest", "function": "last", "by": "t"},
        {"source": "v", "destination": "oldest", "function": "first", "by": "t"},
        {"source": "t", "destination": "high", "function": "quantile", "argument": 0.9},
        {"source": "t", "destination": "highest", "function": "max", "argument": 2},
        {"source": "v", "destination": "different", "function": "approx_distinct"},
        {"source": "t", "destination": "middle", "function": "median"},
    ]
    texts = {
        "newest": "arg_max_null(v, t)",
        "oldest": "arg_min_null(v, t)",
        "high": "quantile_cont(t, 0.9)",
        "highest": "max(t, 2)",
        "different": "approx_count_distinct(v)",
        "middle": "median(t)",
    }
    rows = rows_of(3, 500)
    assert planned(Aggregate, SCHEMA, aggregations=lines) == planned(Aggregate, SCHEMA, aggregations=texts)
    older, newer = (through(Aggregate, rows, SCHEMA, group_by=["k"], aggregations=a) for a in (lines, texts))
    assert older == newer


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ({"function": "sum", "by": "t"}, "sum takes no `by`"),
        ({"function": "quantile"}, "quantile needs an `argument`"),
        ({"function": "mean", "argument": 3}, "mean takes no `argument`"),
        ({"function": "last", "by": "nope"}, "there is no column 'nope'"),
    ],
)
def test_mistakes_in_the_older_form_are_told(line: dict[str, Any], words: str) -> None:
    with pytest.raises(WorkflowError, match=words):
        planned(Aggregate, SCHEMA, aggregations=[{"source": "t", "destination": "r"} | line])
