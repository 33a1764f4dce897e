"""Partial rows that Arrow makes for DISTINCT give the results of DuckDB's, and it makes only those that it can."""

from __future__ import annotations

from typing import Any

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataflare.errors import DataError
from dataflare.expression.aggregate import AggregatePlan
from dataflare.expression.check import Checker
from dataflare.expression.gathering import Gathering
from dataflare.expression.grouping import grouping
from dataflare.schema import Schema

TYPES = {"k": "string", "n": "int32", "x": "int64", "f": "float64", "day": "date", "x_sum": "int64"}
RESULTS = {
    "rows": "count(*)",
    "there": "count(f)",
    "small": "sum(n)",
    "large": "sum(x)",
    "real": "sum(f)",
    "mean": "avg(n)",
    "kinds": "count(distinct x)",
    "words": "count(distinct k)",
    "total": "sum(distinct n)",
    "other": 'sum("x_sum")',
}

values = st.fixed_dictionaries(
    {
        "k": st.sampled_from(["a", "b", "", None]),
        "n": st.one_of(st.none(), st.integers(-(2**31), 2**31 - 1)),
        "x": st.one_of(st.none(), st.integers(-5, 5)),
        "f": st.one_of(st.none(), st.sampled_from([0.0, -0.0, 0.5, 3.25])),
        "day": st.one_of(st.none(), st.dates()),
        "x_sum": st.one_of(st.none(), st.integers(0, 9)),
    }
)


def plan(keys: list[str], results: dict[str, str]) -> AggregatePlan:
    return AggregatePlan([(k, k) for k in keys], list(results.items()), Schema.of(TYPES))


def possible(keys: list[tuple[str, str]], results: dict[str, str]) -> bool:
    schema = Schema.of(TYPES)
    found = grouping(keys, list(results.items()), schema, Checker())
    return Gathering(found, schema.to_arrow(), pa.schema([])).possible


def asked(rows: pa.Table, keys: list[str], results: dict[str, str]) -> list[tuple[Any, ...]]:
    with duckdb.connect() as session:
        session.register("rows", rows)
        texts = [f"{text} as {name}" for name, text in results.items()]
        sql = f"select {', '.join([*keys, *texts])} from rows group by {', '.join(keys)} order by {', '.join(keys)}"
        return session.execute(sql).fetchall()


@pytest.mark.once
@settings(max_examples=40, deadline=None)
@given(rows=st.lists(values, max_size=60), cut=st.integers(0, 60))
def test_results_are_those_of_duckdb_for_any_split(rows: list[dict[str, Any]], cut: int) -> None:
    table = pa.Table.from_pylist(rows, schema=Schema.of(TYPES).to_arrow())
    made = plan(["k", "day"], RESULTS)
    parts = [made.partial(part)[0] for part in (table.slice(0, cut), table.slice(cut))]
    found = made.final(made.merge(parts))
    made.close()
    assert [tuple(row.values()) for row in found.to_pylist()] == asked(table, ["k", "day"], RESULTS)


def test_arrow_makes_them_where_all_parts_are_counts_sums_and_lists_of_columns() -> None:
    assert possible([("k", "k"), ("day", "day")], RESULTS)
    assert possible([], {"kinds": "count(distinct x)"})


@pytest.mark.parametrize(
    ("keys", "more"),
    [
        ({"k": "upper(k)"}, {}),
        ({"f": "f"}, {}),
        ({"k": "k"}, {"m": "max(x)"}),
        ({"k": "k"}, {"m": "sum(x + 1)"}),
        ({"k": "k"}, {"m": "sum(x) filter (where n > 0)"}),
        ({"k": "k"}, {"m": "count(distinct x) filter (where n > 0)"}),
        ({"k": "k"}, {"m": "median(x)"}),
    ],
)
def test_duckdb_makes_all_others(keys: dict[str, str], more: dict[str, str]) -> None:
    assert not possible(list(keys.items()), {"kinds": "count(distinct x)", **more})


def test_without_distinct_duckdb_is_as_fast() -> None:
    assert not possible([("k", "k")], {"rows": "count(*)"})


def test_sums_that_leave_64_bits_on_the_way_are_exact_and_those_that_stay_outside_fail() -> None:
    made = plan(["k"], {"large": "sum(x)", "kinds": "count(distinct n)"})
    schema = Schema.of(TYPES).to_arrow()

    def rows(*numbers: int) -> pa.Table:
        return pa.Table.from_pylist([{"k": "a", "x": n, "n": 1} for n in numbers], schema=schema)

    most = 2**63 - 1
    parts = [made.partial(rows(most, most))[0], made.partial(rows(-most))[0]]
    assert made.final(made.merge(parts)).to_pylist() == [{"k": "a", "large": most, "kinds": 1}]
    with pytest.raises(DataError):
        made.final(made.partial(rows(most, most))[0])
    made.close()
