"""Sorting and limits: against Python's own sort, whatever the batches, through checkpoints and on disk."""

from __future__ import annotations

import random
from dataclasses import replace
from functools import cmp_to_key
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataflare.batch import Batch
from dataflare.errors import WorkflowError
from dataflare.executor.snapshots import gathered_state
from dataflare.processors.limit import Limit
from dataflare.processors.ordering import OrderKey
from dataflare.processors.sort import Sort
from dataflare.schema import Schema
from dataflare.testing.stage import staged

SCHEMA = Schema.of(
    {"n": "int64", "name": "string", "x": "float64", "in": "struct<day: date, Id: int64>", "list": "list<string>"}
)


def node(kind: Any, schema: Schema = SCHEMA, **config: Any) -> Any:
    component = staged(kind(kind.spec.config(**config)), schemas={"0": schema}, key_group=0)
    component.outputs([schema])
    component.open()
    return component


def table(seed: int, count: int = 300) -> pa.Table:
    chance = random.Random(seed)
    rows = [
        {
            "n": number,
            "name": chance.choice([None, "", "a", "Z", "é", "\uffff", "\U0001f600", "ab"]),
            "x": chance.choice([None, 1.5, -2.0, 0.0, float("inf"), float("nan")]),
            "in": chance.choice([None, {"day": None, "Id": 3}, {"day": None, "Id": 1}]),
            "list": chance.choice([None, [], ["a", None], ["b"]]),
        }
        for number in range(count)
    ]
    return pa.Table.from_pylist(rows, SCHEMA.to_arrow())


def fed(component: Any, rows: pa.Table, size: int) -> list[dict[str, Any]]:
    out = [b for s in range(0, rows.num_rows, size) for b in component.process(Batch(rows.slice(s, size)))]
    return [r for b in out for r in b.rows.to_pylist()]


def finished(component: Any) -> list[dict[str, Any]]:
    found = list(component.finish())
    assert all(b.rows.schema == component.context.schemas["0"].to_arrow() for b in found)
    return [r for b in found for r in b.rows.to_pylist()]


def value(row: dict[str, Any], column: str) -> Any:
    found = row
    for part in column.split("."):
        found = None if found is None else found[part]  # type: ignore[assignment]
    return found


def compared(one: Any, other: Any) -> int:
    """Compare two values: texts by code point, NaN above all numbers."""
    ranks = [(v != v, 0 if v != v else v) for v in (one, other)]  # noqa: PLR0124 - NaN
    return (ranks[0] > ranks[1]) - (ranks[0] < ranks[1])


def slowly(rows: list[dict[str, Any]], keys: list[OrderKey]) -> list[dict[str, Any]]:
    """Sort by one key after the other, the least important one first; Python's sort is stable."""
    for key in reversed(keys):
        there = [r for r in rows if value(r, key.column) is not None]
        gone = [r for r in rows if value(r, key.column) is None]
        sign = -1 if key.order == "desc" else 1

        def order(a: dict[str, Any], b: dict[str, Any], sign: int = sign, column: str = key.column) -> int:
            return sign * compared(value(a, column), value(b, column))

        there.sort(key=cmp_to_key(order))
        rows = [*gone, *there] if key.nulls == "first" else [*there, *gone]
    return rows


KEYS = st.lists(
    st.builds(
        OrderKey,
        column=st.sampled_from(["name", "x", "in.Id"]),
        order=st.sampled_from(["asc", "desc"]),
        nulls=st.sampled_from(["first", "last"]),
    ),
    min_size=1,
    max_size=3,
)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 5), KEYS, st.integers(1, 300), st.booleans())
def test_rows_come_out_in_order_and_equal_ones_as_they_came(
    seed: int, keys: list[OrderKey], size: int, on_disk: bool
) -> None:
    rows = table(seed)
    component = node(Sort, by=keys)
    if on_disk:
        component.held["rows"]._memory_bytes_max = component.held["rows"]._part_bytes = 2000
    assert fed(component, rows, size) == []
    assert repr(finished(component)) == repr(slowly(rows.to_pylist(), keys))
    assert component.fates() == {"absorbed": 300, "expanded": 300}
    assert (component.held["rows"].rows, component.held["rows"]._file) == (0, None)


def test_a_resume_holds_the_rows_that_waited() -> None:
    rows, by = table(9), ["x desc nulls first", "name"]
    wanted = repr(slowly(rows.to_pylist(), node(Sort, by=by).config.by))
    for cut in (0, 1, 120, 300):
        first, second = node(Sort, by=by), node(Sort, by=by)
        fed(first, rows.slice(0, cut), 50)
        second.context = replace(second.context, segments=first.context.segments)
        second.open()
        second.restore(gathered_state([first.snapshot()]))
        assert set(first.segments()) == set(first.context.segments.kept)
        fed(second, rows.slice(cut), 70)
        assert repr(finished(second)) == wanted


def test_nothing_comes_of_nothing() -> None:
    assert finished(node(Sort, by=["n"])) == []
    assert node(Sort, by=["n"]).snapshot() == {}


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("n", ("n", "asc", "last")),
        ("n desc", ("n", "desc", "last")),
        ("n ASC Nulls First", ("n", "asc", "first")),
        ("n nulls first", ("n", "asc", "first")),
        ("order date desc", ("order date", "desc", "last")),
        ("desc", ("desc", "asc", "last")),
        ({"column": "a desc"}, ("a desc", "asc", "last")),
    ],
)
def test_a_key_may_be_said_in_words(text: Any, meant: tuple[str, str, str]) -> None:
    key = OrderKey.model_validate(text)
    assert (key.column, key.order, key.nulls) == meant


@pytest.mark.parametrize(
    ("by", "message"),
    [
        (["nam"], "by: there is no column 'nam'; did you mean 'name'?"),
        (["n", "in.id"], "by: 'in' has no field 'id' to order by; in is struct<day: date, Id: int64>"),
        (["list.a"], "by: 'list' has no field 'a' to order by; list is list<string>"),
        (["x desc nulls"], "by: there is no column 'x desc nulls'; known: n, name, x, in, list"),
    ],
)
def test_what_cannot_be_ordered_by_is_told(by: list[str], message: str) -> None:
    component = staged(Sort(Sort.spec.config(by=by)))
    with pytest.raises(WorkflowError) as caught:
        component.outputs([SCHEMA])
    assert f"{caught.value.what}; {caught.value.hint}" == message


@pytest.mark.parametrize("size", [1, 7, 300])
@pytest.mark.parametrize(("rows", "offset"), [(0, 0), (10, 0), (10, 15), (500, 0), (5, 298), (5, 400)])
def test_a_limit_cuts_the_rows_as_they_come(rows: int, offset: int, size: int) -> None:
    wanted = table(1).to_pylist()[offset : offset + rows]
    assert repr(fed(node(Limit, rows=rows, offset=offset), table(1), size)) == repr(wanted)
    first, second = node(Limit, rows=rows, offset=offset), node(Limit, rows=rows, offset=offset)
    before = fed(first, table(1).slice(0, 18), size)
    second.restore(first.snapshot())
    assert repr(before + fed(second, table(1).slice(18), size)) == repr(wanted)
