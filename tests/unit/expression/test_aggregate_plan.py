"""Aggregates in two phases equal DuckDB's own over all rows at once, for any split of the rows."""

from __future__ import annotations

import math
import random
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa
import pytest

from dataflare.errors import DataError, InvalidWorkflowError, WorkflowError
from dataflare.expression.aggregate import AggregatePlan
from dataflare.expression.pieces import call_text
from dataflare.schema import Column, Schema

if TYPE_CHECKING:
    from collections.abc import Callable

SCHEMA = Schema.of(
    {
        "k": "string",
        "x": "int64",
        "d": "decimal(12,2)",
        "f": "float64",
        "s": "string",
        "ts": "timestamp",
        "b": "bool",
    }
)


def random_rows(count: int, seed: int) -> pa.Table:
    chance = random.Random(seed)

    def some(make: Callable[[], Any]) -> list[Any]:
        return [None if chance.random() < 0.1 else make() for _ in range(count)]

    columns = {
        "k": some(lambda: chance.choice("abcd")),
        "x": some(lambda: chance.randrange(100)),
        "d": some(lambda: Decimal(chance.randrange(10_000)) / 100),
        "f": some(lambda: chance.randrange(1000) / 8),
        "s": some(lambda: chance.choice(["u", "v", "{}", "it's"])),
        "ts": some(lambda: chance.randrange(10**12)),
        "b": some(lambda: chance.random() < 0.5),
    }
    return pa.Table.from_pydict(columns, schema=SCHEMA.to_arrow())


AGGREGATES = [
    "sum(x)",
    "sum(d)",
    "sum(f)",
    "avg(x)",
    "avg(d)",
    "avg(f)",
    "avg(ts)",
    "count(*)",
    "count(x)",
    "count_if(b)",
    "min(ts)",
    "max(s)",
    "min(d)",
    "min(b)",
    "any_value(k)",
    "bool_and(b)",
    "bit_or(x)",
    "product(f / 100)",
    "count(distinct s)",
    "count(distinct ts)",
    "count(distinct (s, x))",
    "sum(distinct x)",
    "avg(distinct d)",
    "stddev(f)",
    "var_samp(d)",
    "median(f)",
    "quantile_cont(f, [0.1, 0.9])",
    "quantile_cont(ts, 0.5)",
    "percentile_cont(0.5) within group (order by f)",
    "approx_count_distinct(s)",
    "arg_max(s, ts)",
    "first(s order by ts, x)",
    "last(s order by ts, x)",
    "first(s order by ts desc, x desc)",
    "first(x order by ts nulls first, f nulls first, s)",
    "last(f order by ts desc nulls first, x desc)",
    "last(x order by lower(s || ', desc'), ts, f)",
    "first(x order by s desc, ts asc, f)",
    "first(x order by ts, f) filter (where b)",
    "last(f order by ts desc) filter (where ts is not null)",
    "min(x, 3)",
    "max(s, 2) filter (where b)",
    "max_by(s, ts, 3)",
    "arg_min(x, ts, 2) filter (where f > 20)",
    "approx_count_distinct(ts)",
    "map_from_entries(list((ts, x) order by ts) filter (where ts is not null))",
    "string_agg(s, ',' order by s)",
    "list_sort(array_agg(ts))",
    "corr(x, f)",
    "regr_slope(f, x)",
    "skewness(f)",
    "entropy(s)",
    "histogram(s)",
    "mode(k)",
    "sum(f) filter (where x > 1 and s = 'u')",
    "count(*) filter (where f > 20)",
    "count(distinct x) filter (where b)",
    "first(x) filter (where b) is null or true",
    "sum(case when s = '{}' then d else 0 end)",
    "sum(x) * 2 + count(*)",
    "round(avg(x), 2)",
    "sum(x) / count(*)",
    "max(x) - min(x)",
    "max(struct_pack(a := s, b := x))",
    "sum(x == 3 && b)",
    "sum(all x)",
    'sum("x")',
    "count( /* all */ * ) + 0",
]


def near(left: Any, right: Any) -> bool:
    if isinstance(left, float) and isinstance(right, float):
        return math.isclose(left, right, rel_tol=1e-9) or (math.isnan(left) and math.isnan(right))
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(near, left, right))
    return bool(left == right)


def expected(text: str, rows: pa.Table, keys: str) -> list[tuple[Any, ...]]:
    connection = duckdb.connect(config={"threads": 1})
    connection.execute("set timezone = 'UTC'")
    connection.register("input", rows)
    order = "group by 1 order by 1" if keys else ""
    text = text.replace("==", "=").replace("&&", "and")
    found = connection.execute(f"create table r as select {keys} {text} as r from input {order}")
    assert found is not None
    table = connection.sql("from r").to_arrow_table()
    return [tuple(row.values()) for row in table.to_pylist()]


@pytest.mark.once
@pytest.mark.parametrize("keys", ["", "k,"])
@pytest.mark.parametrize("text", AGGREGATES)
def test_two_phases_equal_one(text: str, keys: str) -> None:
    rows = random_rows(1000, seed=len(text))
    plan = AggregatePlan([("k", "k")] if keys else [], [("r", text)], SCHEMA)
    parts = [plan.partial(rows.slice(at, size))[0] for at, size in ((0, 300), (300, 0), (300, 1), (301, 699))]
    merged = plan.merge([plan.merge(parts[:2]), plan.merge([]), *parts[2:]])
    assert merged.schema.equals(plan.partial_schema)
    assert merged.num_rows == (5 if keys else 1)
    result = plan.final(merged)
    assert result.schema.equals(plan.output.to_arrow())
    found = [tuple(row.values()) for row in result.to_pylist()]
    wanted = expected(text, rows, keys)
    assert len(found) == len(wanted)
    assert all(near(a, b) for left, right in zip(found, wanted, strict=True) for a, b in zip(left, right, strict=True))


@pytest.mark.once
@pytest.mark.parametrize("text", [t for t in AGGREGATES if "is null" not in t])
def test_no_rows_without_keys_are_one_result_and_with_keys_none(text: str) -> None:
    nothing = SCHEMA.to_arrow().empty_table()
    alone = AggregatePlan([], [("r", text)], SCHEMA)
    found = [tuple(row.values()) for row in alone.final(alone.merge([alone.partial(nothing)[0]])).to_pylist()]
    assert found == expected(text, nothing, "")
    keyed = AggregatePlan([("k", "k")], [("r", text)], SCHEMA)
    assert keyed.final(keyed.merge([])).num_rows == 0


def test_partial_rows_survive_arrow_streams_and_another_plan() -> None:
    """Partial rows travel between processes and lie in checkpoints."""
    rows = random_rows(500, seed=7)
    texts = [("a", "avg(d)"), ("q", "median(f)"), ("h", "approx_count_distinct(s)"), ("n", "count(distinct s)")]
    first, second = (AggregatePlan([("k", "k")], texts, SCHEMA) for _ in range(2))
    sink = pa.BufferOutputStream()
    partial = first.partial(rows)[0]
    with pa.ipc.new_stream(sink, partial.schema) as writer:
        writer.write_table(partial)
    back = pa.ipc.open_stream(sink.getvalue()).read_all()
    assert second.final(second.merge([back])).equals(first.final(partial))


def test_results_are_sorted_by_key_and_nulls_are_a_key() -> None:
    rows = random_rows(300, seed=1)
    plan = AggregatePlan([("b", "b"), ("k", "k")], [("n", "count(*)")], SCHEMA)
    found = [(r["b"], r["k"]) for r in plan.final(plan.partial(rows)[0]).to_pylist()]
    assert found == sorted(found, key=lambda r: (r[0] is None, r[0] or False, r[1] is None, r[1] or ""))
    assert (None, None) in found


def test_keys_may_be_expressions_with_names() -> None:
    rows = random_rows(300, seed=2)
    plan = AggregatePlan([("day", "cast(ts as date)"), ("up", "upper(k)")], [("n", "count(*)")], SCHEMA)
    assert [str(c.type) for c in plan.output] == ["date", "string", "int64"]
    assert sum(plan.final(plan.partial(rows)[0]).column("n").to_pylist()) == 300


def test_equal_parts_of_several_results_are_kept_once() -> None:
    plan = AggregatePlan([], [("a", "avg(x)"), ("s", "sum(x)"), ("n", "count(x)"), ("t", "sum(x) + 1")], SCHEMA)
    assert plan.partial_schema.names == ["_s0", "_s1"]


def test_sums_of_integers_are_int64_and_fail_when_they_do_not_fit() -> None:
    plan = AggregatePlan([], [("r", "sum(x)")], SCHEMA)
    big = random_rows(2, seed=1).set_column(1, "x", pa.array([2**62, 2**62], pa.int64()))
    partial = plan.merge([plan.partial(big)[0]])
    assert plan.output["r"].type == "int64"
    with pytest.raises(DataError, match="out of range"):
        plan.final(partial)


def test_clocks_are_the_epochs_time() -> None:
    plan = AggregatePlan([], [("r", "max(now() - ts)"), ("at", "max(now())")], SCHEMA, epoch_time=lambda: 5_000_000)
    result = plan.final(plan.partial(random_rows(5, seed=3))[0])
    assert result.column("at").to_pylist()[0].timestamp() == 5


def test_tags_go_to_results_that_hold_values_but_not_to_counts() -> None:
    schema = Schema((Column("mail", "string", tags=("pii",)), Column("n", "int64")))
    texts = [("last", "max(mail)"), ("many", "count(distinct mail)"), ("n", "sum(n)")]
    plan = AggregatePlan([("who", "mail")], texts, schema)
    assert [c.tags for c in plan.output] == [("pii",), ("pii",), (), ()]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x", "aggregates nothing"),
        ("x + 1", "aggregates nothing"),
        ("1", "aggregates nothing"),
        ("sum(sum(x))", "inside another aggregate"),
        ("x.sum()", "written as a method"),
        ("geomean(f)", "write it out: exp"),
        ("sum(x) over ()", "`sql` node"),
        ("sum(nope)", "no column 'nope'"),
        ("sum(s)", "sum"),
        ("count(*) + x", "GROUP BY"),
        ("reservoir_quantile(f, 0.5)", "may not call"),
        ("max(x, 0)", "from 1 to 10,000"),
        ("arg_min(x, f, x)", "from 1 to 10,000"),
        ("string_agg(distinct s, ',' order by s)", "cannot be computed in parts with an order"),
        ("sum(x) filter (where", "syntax error"),
        ("sum(x), sum(f)", "more than one expression"),
        ("sum(random())", "another answer"),
    ],
)
def test_what_cannot_be_aggregated_is_told(text: str, words: str) -> None:
    with pytest.raises(WorkflowError, match=words):
        AggregatePlan([("k", "k")], [("r", text)], SCHEMA)


def test_all_mistakes_are_told_each_with_its_name() -> None:
    with pytest.raises(InvalidWorkflowError) as caught:
        AggregatePlan([("day", "nope")], [("a", "sum(x)"), ("b", "sum(y)"), ("c", "x")], SCHEMA)
    assert [(f.place.path, f.message.splitlines()[0]) for f in caught.value.findings] == [
        ("day", "there is no column 'nope'"),
        ("b", "there is no column 'y'"),
    ]
    with pytest.raises(InvalidWorkflowError) as caught:
        AggregatePlan([("k", "k")], [("a", "sum(x)"), ("b", "sum(s)"), ("c", "x")], SCHEMA)
    assert [f.place.path for f in caught.value.findings] == ["b", "c"]


def test_names_are_not_made_twice() -> None:
    with pytest.raises(WorkflowError, match="made twice"):
        AggregatePlan([("k", "k")], [("K", "count(*)")], SCHEMA)


@pytest.mark.parametrize("policy", ["skip", "dead_letter", "null"])
def test_rows_that_an_argument_fails_for_are_left_out(policy: str) -> None:
    schema = Schema.of({"k": "string", "v": "string"})
    rows = pa.table({"k": ["a", "a", "b", "b"], "v": ["1", "x", "2", None]})
    plan = AggregatePlan([("k", "k")], [("t", "sum(cast(v as integer))"), ("n", "count(*)")], schema)
    partial, rejected = plan.partial(rows, "node", policy)
    assert plan.final(partial).to_pylist() == [{"k": "a", "t": 1, "n": 1}, {"k": "b", "t": 2, "n": 2}]
    assert [(r.node, r.rows.to_pylist()[0]["v"]) for r in rejected] == [("node", "x")]


def test_a_failing_argument_fails_the_node_by_default() -> None:
    schema = Schema.of({"v": "string"})
    plan = AggregatePlan([], [("t", "sum(cast(v as integer)) filter (where v <> 'y')")], schema)
    with pytest.raises(DataError, match=r"not of type INT32 .*row 1 of its batch") as caught:
        plan.partial(pa.table({"v": ["1", "secret"]}), "node")
    assert "secret" not in str(caught.value)
    assert caught.value.place.path == "node"


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("sum(x)", ("x",)),
        ("sum(f(a, b), [1, 2], ')')", ("f ( a , b )", "[ 1 , 2 ]", "')'")),
        ("sum( DISTINCT x )", ("x",)),
        ("sum({'a': 1, 'b': 2}.a)", ("{ 'a' : 1 , 'b' : 2 } . a",)),
    ],
)
def test_calls_are_taken_apart_at_their_own_commas(text: str, pieces: tuple[str, ...]) -> None:
    found = call_text("sum", text)
    assert found.arguments == pieces
    assert found.distinct == ("DISTINCT" in text)
