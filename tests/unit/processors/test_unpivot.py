"""Unpivot makes rows of columns."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.processors.shaping import planned, through

from dataflare.errors import WorkflowError
from dataflare.processors.unpivot import Unpivot
from dataflare.schema import Column, Schema

SALES = Schema.of({"shop": "string", "q1": "int32", "q2": "int64", "note": "string"})
ROWS = [
    {"shop": "a", "q1": 1, "q2": None, "note": "x"},
    {"shop": "b", "q1": None, "q2": None, "note": None},
    {"shop": "c", "q1": 5, "q2": 6, "note": "z"},
]


def test_columns_become_rows_of_names_and_values() -> None:
    found = through(Unpivot, ROWS, SALES, columns=["q2", "q1"], name="quarter", value="sales")
    assert found == [
        {"shop": "a", "note": "x", "quarter": "q1", "sales": 1},
        {"shop": "c", "note": "z", "quarter": "q1", "sales": 5},
        {"shop": "c", "note": "z", "quarter": "q2", "sales": 6},
    ]


def test_nulls_make_rows_where_that_is_asked() -> None:
    found = through(Unpivot, ROWS, SALES, columns=["q*"], nulls="keep")
    assert [(r["shop"], r["name"], r["value"]) for r in found] == [
        (s, q, v) for s, a, b in (("a", 1, None), ("b", None, None), ("c", 5, 6)) for q, v in (("q1", a), ("q2", b))
    ]


def test_columns_may_be_written_by_other_names() -> None:
    found = through(Unpivot, ROWS, SALES, columns={"q2": "second 'half'"})
    assert [r["name"] for r in found] == ["second 'half'"]


def test_text_holds_every_type() -> None:
    schema = Schema.of({"n": "int64", "s": "string", "l": "list<int64>", "b": "bool"})
    found = through(Unpivot, [{"n": 1, "s": "x", "l": [1, 2], "b": None}], schema, columns=["*"], type="string")
    assert [(r["name"], r["value"]) for r in found] == [("n", "1"), ("s", "x"), ("l", "[1,2]")]


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"columns": ["q3"]}, "no column is 'q3' (known: shop, q1"),
        ({"columns": {"q3": "x"}}, "there is no column 'q3'"),
        ({"columns": ["q1", "note"]}, "of different types: q1 int32, note string"),
        ({"columns": ["q*"], "type": "int32"}, "'q2' is of type int64, whose values need not be int32"),
        ({"columns": ["q*"], "name": "shop"}, "two columns would be called 'shop'"),
        ({"columns": ["q*"], "name": "v", "value": "v"}, "two columns would be called 'v'"),
        ({"columns": ["q*"], "type": "nonsense"}, "'nonsense' is not a type"),
    ],
)
def test_mistakes_are_told(config: dict[str, Any], words: str) -> None:
    with pytest.raises(WorkflowError) as caught:
        planned(Unpivot, SALES, **config)
    assert words in str(caught.value)


def test_the_values_carry_the_tags_of_their_columns() -> None:
    schema = Schema((Column("a", "string", tags=("pii",)), Column("b", "string", tags=("x",)), Column("c", "int64")))
    assert [(c.name, c.tags) for c in planned(Unpivot, schema, columns=["a", "b"])] == [
        ("c", ()), ("name", ()), ("value", ("pii", "x")),
    ]  # fmt: skip
