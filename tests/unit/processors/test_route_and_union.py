"""Route sends rows to named outputs; union brings inputs together by column name."""

from __future__ import annotations

import re
from typing import Any, cast

import pyarrow as pa
import pytest

from dataflare.batch import Batch
from dataflare.component import StageContext
from dataflare.errors import DataError, WorkflowError
from dataflare.processors.route import Route
from dataflare.processors.union import Union, wider
from dataflare.schema import Column, Schema


def opened(cls: Any, *schemas: Schema, on_error: str = "fail", **config: Any) -> Any:
    component = cls(cls.spec.config(**config))
    component.context = StageContext(
        runtime=cast("Any", None),
        workflow="w",
        node="n",
        schemas={str(n): s for n, s in enumerate(schemas)},
        on_error=on_error,
    )
    component.open()
    return component


NUMBERS = Schema.of({"n": "int64", "s": "string"})
ROWS = pa.table({"n": pa.array(range(10), pa.int64()), "s": [str(i) for i in range(10)]})
ROUTES = {"big": "n >= 7", "even": "n % 2 = 0", "two": "n = 2"}


def routed(route: Any, rows: pa.Table = ROWS) -> dict[str, list[Any]]:
    batches = list(route.process(Batch(rows, "in", {"at": 1}, 5)))
    assert all(b.position == {"at": 1} and b.watermark == 5 for b in batches)
    found = {b.stream: b.rows.column(0).to_pylist() for b in batches}
    assert len(found) == len(batches)
    return found


def test_a_row_goes_to_the_first_route_that_it_meets() -> None:
    assert routed(opened(Route, NUMBERS, routes=ROUTES)) == {"big": [7, 8, 9], "even": [0, 2, 4, 6]}


def test_a_row_goes_to_all_routes_that_it_meets() -> None:
    assert routed(opened(Route, NUMBERS, routes=ROUTES, match="all")) == {
        "big": [7, 8, 9],
        "even": [0, 2, 4, 6, 8],
        "two": [2],
    }


@pytest.mark.parametrize("match", ["first", "all"])
def test_a_null_condition_is_not_met(match: str) -> None:
    rows = pa.table({"n": pa.array([None, 8], pa.int64()), "s": ["a", "b"]})
    routes = {"big": "n >= 7", "rest": "true"}
    found = routed(opened(Route, NUMBERS, routes=routes, match=match), rows)
    assert found == {"big": [8], "rest": [None] if match == "first" else [None, 8]}


def test_the_outputs_are_the_routes_with_the_schema_of_the_input() -> None:
    route = opened(Route, NUMBERS, routes=ROUTES)
    assert route.outputs([NUMBERS]) == dict.fromkeys(ROUTES, NUMBERS)
    (batch, *_) = route.process(Batch(ROWS))
    assert batch.rows.schema.equals(NUMBERS.to_arrow())


def test_an_earlier_route_guards_the_condition_of_a_later_one() -> None:
    routes = {"zero": "n = 0", "some": "100 // n > 20"}
    assert routed(opened(Route, NUMBERS, routes=routes)) == {"zero": [0], "some": [1, 2, 3, 4]}


@pytest.mark.parametrize("match", ["first", "all"])
def test_rows_whose_condition_fails_leave_by_errors(match: str) -> None:
    rows = pa.table({"n": [1, 2, 3], "s": ["1", "x", "3"]})
    routes = {"one": "cast(s as integer) = 1", "rest": "true"}
    found = routed(opened(Route, NUMBERS, routes=routes, match=match, on_error="dead_letter"), rows)
    assert found["one"] == [1]
    assert found["rest"] == ([3] if match == "first" else [1, 3])
    assert "not of type INT32" in found["errors"][0]
    skipped = routed(opened(Route, NUMBERS, routes=routes, match=match, on_error="skip"), rows)
    assert "errors" not in skipped
    with pytest.raises(DataError):
        routed(opened(Route, NUMBERS, routes=routes, match=match), rows)


@pytest.mark.parametrize(
    ("routes", "words"),
    [
        ({"errors": "true"}, "cannot be called 'errors'"),
        ({"a.b": "true"}, "cannot be called 'a.b'"),
        ({"": "true"}, "cannot be called ''"),
        ({"a": "n"}, "of type int64, not bool"),
        ({"a": "true", "b": "nn = 1"}, "did you mean 'n'"),
        ({"a": "1) then 0 when (true"}, "syntax error"),
    ],
)
def test_wrong_routes_are_told(routes: dict[str, str], words: str) -> None:
    with pytest.raises(WorkflowError, match=re.escape(words)):
        opened(Route, NUMBERS, routes=routes)


def test_columns_named_like_the_helper_column_do_not_disturb() -> None:
    schema = Schema.of({"__route": "int64", "__ROUTE_": "int64"})
    rows = pa.table({"__route": [1, 2], "__ROUTE_": [3, 4]})
    assert routed(opened(Route, schema, routes={"a": "__route = 2"}), rows) == {"a": [2]}


def test_union_matches_columns_by_name_and_fills_with_nulls() -> None:
    left = Schema((Column("id", "int64", nullable=False), Column("a", "int32"), Column("t", "string", tags=("pii",))))
    right = Schema((Column("b", "string"), Column("a", "int64"), Column("id", "int64"), Column("t", "json")))
    union = opened(Union, left, right)
    (after,) = union.outputs([left, right]).values()
    assert after.columns == (
        Column("id", "int64"),
        Column("a", "int64"),
        Column("t", "string", tags=("pii",)),
        Column("b", "string"),
    )
    rows = [
        pa.Table.from_pylist([{"id": 1, "a": 2, "t": "x"}], schema=left.to_arrow()),
        pa.Table.from_pylist([{"b": "y", "a": 2**40, "id": 3, "t": "{}"}], schema=right.to_arrow()),
    ]
    out = [next(iter(union.process(Batch(r, "x", {"at": p}), p))) for p, r in enumerate(rows)]
    assert all(b.rows.schema.equals(after.to_arrow()) and b.stream == "" for b in out)
    assert [b.position for b in out] == [{"at": 0}, {"at": 1}]
    assert [b.rows.to_pylist()[0] for b in out] == [
        {"id": 1, "a": 2, "t": "x", "b": None},
        {"id": 3, "a": 2**40, "t": "{}", "b": "y"},
    ]


def test_a_column_that_an_input_lacks_may_be_null() -> None:
    strict = Schema((Column("id", "int64", nullable=False),))
    (after,) = Union(Union.spec.config()).outputs([strict, strict]).values()
    assert after["id"].nullable is False
    (after,) = Union(Union.spec.config()).outputs([strict, Schema.of({"x": "int64"})]).values()
    assert after["id"].nullable is True


def test_types_that_do_not_go_together_name_both_inputs() -> None:
    schemas = [Schema.of({"a": "int64"}), Schema.of({"b": "int64"}), Schema.of({"a": "string"})]
    with pytest.raises(WorkflowError, match="'a' is int64 in input 1 and string in input 3"):
        Union(Union.spec.config()).outputs(schemas)


@pytest.mark.parametrize(
    ("first", "second", "both"),
    [
        ("int8", "int32", "int32"),
        ("uint8", "uint64", "uint64"),
        ("float32", "float64", "float64"),
        ("null", "string", "string"),
        ("date", "null", "date"),
        ("decimal(10,2)", "decimal(8,4)", "decimal(12,4)"),
        ("decimal(38,0)", "decimal(38,2)", None),
        ("int64", "float64", None),
        ("int64", "uint64", None),
        ("timestamp", "datetime", None),
        ("list<int64>", "list<int32>", None),
    ],
)
def test_numbers_widen_and_nothing_else_does(first: str, second: str, both: str | None) -> None:
    assert wider(first, second) == both
    assert wider(second, first) == both
