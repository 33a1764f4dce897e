"""Names and values become columns: which, of which types, and what stands in them."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from tests.unit.processors.shaping import opened, planned, through

from dataflare.batch import Batch
from dataflare.component.processor import TwoPhaseProcessor
from dataflare.errors import DataError, WorkflowError
from dataflare.executor.snapshots import gathered_state
from dataflare.processors.pivot import Pivot
from dataflare.processors.unpivot import Unpivot
from dataflare.schema import Column, Schema

SCHEMA = Schema.of({"shop": "string", "q": "string", "t": "int64", "n": "int64"})
ROWS = [
    {"shop": "a", "q": "Q1", "t": 1, "n": 5},
    {"shop": "b", "q": "Q2", "t": 2, "n": 7},
    {"shop": "a", "q": "Q1", "t": 3, "n": 6},
    {"shop": "a", "q": "Q2", "t": 4, "n": None},
    {"shop": "c", "q": "it's", "t": 5, "n": 1},
]


def test_values_become_columns_in_their_order() -> None:
    config = {"group_by": "shop", "column": "q", "values": ["Q2", "Q1"], "value": "sum(n)"}
    assert str(planned(Pivot, SCHEMA, **config)) == "shop string, Q2 int64, Q1 int64"
    assert through(Pivot, ROWS, SCHEMA, **config) == [
        {"shop": "a", "Q2": None, "Q1": 11},
        {"shop": "b", "Q2": 7, "Q1": None},
        {"shop": "c", "Q2": None, "Q1": None},
    ]


def test_columns_may_have_names_and_several_values() -> None:
    config = {
        "column": "q",
        "values": {"Q1": "first", "it's": "odd"},
        "value": {"rows": "count(*)", "newest": "last(n order by t)", "high": "max(n) filter (where t < 3)"},
    }
    assert through(Pivot, ROWS, SCHEMA, **config) == [
        {"first_rows": 2, "first_newest": 6, "first_high": 5, "odd_rows": 1, "odd_newest": 1, "odd_high": None}
    ]


def test_every_aggregate_of_an_expression_counts_the_rows_of_its_value() -> None:
    config = {"column": "q", "values": ["Q1"], "value": "round(sum(n) / count(*), 1) || ' of ' || count(distinct t)"}
    assert through(Pivot, ROWS, SCHEMA, **config) == [{"Q1": "5.5 of 2"}]


@pytest.mark.parametrize(
    ("kind", "values", "names"),
    [
        ("int64", [1, 2], ["1", "2"]),
        ("int64", {"1": "one", "2": "two"}, ["one", "two"]),
        ("string", [1, 2], ["1", "2"]),
        ("bool", [True, False], ["True", "False"]),
        ("date", ["1970-01-02", "1970-01-03"], ["1970-01-02", "1970-01-03"]),
    ],
)
def test_values_are_of_the_type_of_their_column(kind: str, values: Any, names: list[str]) -> None:
    schema = Schema.of({"k": kind})
    raw = pa.array([1, 2, 1], pa.int32())
    cells = pa.array([True, False, True]) if kind == "bool" else raw.cast(schema.to_arrow().field("k").type)
    rows = pa.table({"k": cells}).cast(schema.to_arrow())
    assert through(Pivot, rows, schema, column="k", values=values, value="count(*)") == [{names[0]: 2, names[1]: 1}]


CELLS = st.dictionaries(
    st.tuples(st.integers(0, 5), st.sampled_from(["x", "y", "z"])), st.integers(-9, 9), min_size=1, max_size=12
)


@settings(deadline=None, max_examples=30)
@given(cells=CELLS, killed=st.integers(0, 12))
def test_unpivot_takes_back_what_pivot_did_also_over_a_kill(cells: dict[tuple[int, str], int], killed: int) -> None:
    schema = Schema.of({"id": "int64", "name": "string", "value": "int64"})
    long = [{"id": i, "name": n, "value": v} for (i, n), v in cells.items()]
    config = {"group_by": "id", "column": "name", "values": ["x", "y", "z"], "value": "any_value(value)"}
    component = opened(Pivot, schema, **config)
    for number, row in enumerate(long):
        if number == killed:
            assert list(component.flush()) == []
            state = gathered_state([component.snapshot()])
            component = opened(Pivot, schema, **config)
            component.restore(state)
        list(component.process(Batch(pa.Table.from_pylist([row], schema=schema.to_arrow()))))
    wide = [row for batch in component.finish() for row in batch.rows.to_pylist()]
    again = through(Unpivot, wide, planned(Pivot, schema, **config), columns=["x", "y", "z"])
    assert sorted(again, key=str) == sorted(long, key=str)


def test_it_runs_in_two_phases_by_its_rows() -> None:
    component = opened(Pivot, SCHEMA, group_by=["shop"], column="q", values=["Q1"], value="sum(n)")
    assert isinstance(component, TwoPhaseProcessor)
    assert component.keys() == ("shop",)


def test_tags_go_with_the_values() -> None:
    schema = Schema((Column("k", "string"), Column("mail", "string", tags=("pii",))))
    found = planned(Pivot, schema, column="k", values=["a"], value={"m": "max(mail)", "n": "count(*)"})
    assert [(c.name, c.tags) for c in found] == [("a_m", ("pii",)), ("a_n", ())]


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"group_by": "shp"}, "group_by: there is no column 'shp'"),
        ({"column": "quarter"}, "column: there is no column 'quarter'"),
        ({"value": "n"}, "aggregates nothing"),
        ({"value": "sum(m)"}, "no column 'm'"),
        ({"value": "sum("}, "syntax error"),
        ({"column": "n", "values": ["many"]}, "values: could not convert string 'many' to INT64"),
        ({"values": {"Q1": "x", "Q2": "x"}}, "column 'x' is made twice"),
        ({"group_by": "shop", "values": ["shop"]}, "made twice"),
        ({"values": [f"v{n}" for n in range(1001)]}, "more than 1,000 columns"),
    ],
)
def test_mistakes_are_told_when_planning(config: dict[str, Any], words: str) -> None:
    with pytest.raises(WorkflowError, match=words):
        planned(Pivot, SCHEMA, **({"column": "q", "values": ["Q1"], "value": "sum(n)"} | config))


def test_values_must_be_listed() -> None:
    with pytest.raises(ValidationError, match="at least 1 item"):
        Pivot.spec.config(column="q", values=[], value="sum(n)")


def test_what_a_group_may_gather_is_bounded() -> None:
    config = {"column": "q", "values": ["Q1"], "value": "list(n)", "values_max": 1}
    with pytest.raises(DataError, match="Q1: one group holds 2 values of the 1 that values_max allows"):
        through(Pivot, ROWS, SCHEMA, **config)
