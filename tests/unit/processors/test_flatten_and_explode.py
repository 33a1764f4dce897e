"""Flatten opens structs; explode makes rows of lists and maps."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.processors.shaping import opened, planned, through

from dataflare.batch import Batch
from dataflare.errors import WorkflowError
from dataflare.expression import expansion
from dataflare.processors.explode import Explode
from dataflare.processors.flatten import Flatten
from dataflare.schema import Column, Schema

USER = Schema.of(
    {
        "id": "int64",
        "user": "struct<name: string, address: struct<city: string, zips: list<int64>>>",
        "tags": "list<string>",
        "extra": "map<string, int64>",
    }
)
ROWS: list[dict[str, Any]] = [
    {
        "id": 1,
        "user": {"name": "Ann", "address": {"city": "Rome", "zips": [1, 2]}},
        "tags": ["a", "b"],
        "extra": [("x", 1), ("y", None)],
    },
    {"id": 2, "user": None, "tags": [], "extra": []},
    {"id": 3, "user": {"name": None, "address": None}, "tags": None, "extra": None},
]


def test_fields_become_columns_where_their_struct_stood() -> None:
    first, second, third = through(Flatten, ROWS, USER)
    assert list(first) == ["id", "user_name", "user_address_city", "user_address_zips", "tags", "extra"]
    assert (first["user_name"], first["user_address_city"], first["user_address_zips"]) == ("Ann", "Rome", [1, 2])
    assert second["user_address_city"] is second["user_name"] is third["user_address_city"] is None


def test_a_depth_leaves_deeper_structs_as_they_are() -> None:
    first, second, _ = through(Flatten, ROWS, USER, depth=1, separator=".")
    assert first["user.address"] == {"city": "Rome", "zips": [1, 2]}
    assert second["user.address"] is None


def test_only_the_named_columns_are_flattened_and_leaves_keep_their_names() -> None:
    schema = Schema.of({"a": "struct<x: int64>", "b": "struct<y: int64>"})
    (row,) = through(Flatten, [{"a": {"x": 1}, "b": {"y": 2}}], schema, columns=["a"], names="leaf")
    assert row == {"x": 1, "b": {"y": 2}}


def test_lists_and_maps_become_json_where_that_is_asked() -> None:
    first, second, third = through(Flatten, ROWS, USER, lists="json")
    assert (first["user_address_zips"], first["tags"], first["extra"]) == ("[1,2]", '["a","b"]', '{"x":1,"y":null}')
    assert (second["tags"], second["user_address_zips"], third["tags"]) == ("[]", None, None)


@pytest.mark.parametrize(
    ("schema", "config", "words"),
    [
        ({"a": "struct<b: int64>", "a_b": "int64"}, {}, "two columns would be called 'a_b'"),
        ({"a": "struct<x: int64>", "b": "struct<x: int64>"}, {"names": "leaf"}, "two columns would be called 'x'"),
        ({"user": "struct<b: int64>"}, {"columns": ["usr"]}, "did you mean 'user'?"),
    ],
)
def test_mistakes_of_flatten_are_told(schema: dict[str, str], config: dict[str, Any], words: str) -> None:
    with pytest.raises(WorkflowError) as caught:
        planned(Flatten, Schema.of(schema), **config)
    assert words in str(caught.value)


def test_the_fields_of_a_tagged_struct_are_tagged() -> None:
    schema = Schema((Column("user", "struct<a: int64, b: struct<c: string>>", tags=("pii",)), Column("n", "int64")))
    assert [c.tags for c in planned(Flatten, schema)] == [("pii",), ("pii",), ()]


def test_elements_become_rows_in_order_and_rows_without_any_go() -> None:
    found = through(Explode, ROWS, USER, columns=["tags"], ordinal="place")
    assert [(r["id"], r["tags"], r["place"]) for r in found] == [(1, "a", 1), (1, "b", 2)]
    assert found[0]["user"] == ROWS[0]["user"]


def test_rows_without_elements_may_stay() -> None:
    found = through(Explode, ROWS, USER, columns=["tags"], ordinal="place", keep_empty=True)
    assert [(r["id"], r["tags"], r["place"]) for r in found] == [
        (1, "a", 1),
        (1, "b", 2),
        (2, None, None),
        (3, None, None),
    ]


def test_a_map_becomes_keys_and_values() -> None:
    found = through(Explode, ROWS, USER, columns={"extra": ["key", "value"]})
    assert [(r["id"], r["key"], r["value"]) for r in found] == [(1, "x", 1), (1, "y", None)]
    assert "extra_key" in planned(Explode, USER, columns=["extra"]).names


def test_lists_side_by_side_are_filled_up_with_nulls() -> None:
    schema = Schema.of({"a": "list<int64>", "b": "list<string>"})
    rows = [{"a": [1, 2], "b": ["x"]}, {"a": None, "b": ["y"]}, {"a": [], "b": None}]
    found = through(Explode, rows, schema, columns={"a": "one", "b": "other"}, ordinal="n")
    assert found == [
        {"one": 1, "other": "x", "n": 1},
        {"one": 2, "other": None, "n": 2},
        {"one": None, "other": "y", "n": 1},
    ]


def test_what_comes_out_is_cut_into_batches_of_bounded_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expansion, "ROWS_MAX", 3)
    schema = Schema.of({"a": "list<int64>", "s": "string"})
    table = pa.Table.from_pylist([{"a": list(range(7)), "s": "x"}, {"a": [7], "s": "y"}], schema.to_arrow())
    batches = list(opened(Explode, schema, columns=["a"]).process(Batch(table)))
    assert [b.num_rows for b in batches] == [3, 3, 2]
    assert [v for b in batches for v in b.rows["a"].to_pylist()] == list(range(8))
    monkeypatch.setattr(expansion, "BYTES_MAX", 1)
    assert len(list(opened(Explode, schema, columns=["a"]).process(Batch(table)))) == 8


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"columns": ["tag"]}, "did you mean 'tags'?"),
        ({"columns": ["id"]}, "'id' is of type int64, not a list or a map"),
        ({"columns": {"tags": "id"}}, "two columns would be called 'id'"),
        ({"columns": {"tags": ["a", "b"]}}, "a list needs one name"),
        ({"columns": {"extra": "a"}}, "a map needs two names"),
        ({"columns": ["tags"], "ordinal": "id"}, "two columns would be called 'id'"),
    ],
)
def test_mistakes_of_explode_are_told(config: dict[str, Any], words: str) -> None:
    with pytest.raises(WorkflowError) as caught:
        planned(Explode, USER, **config)
    assert words in str(caught.value)


def test_elements_carry_the_tags_of_their_list_and_nothing_else_does() -> None:
    schema = Schema((Column("l", "list<string>", tags=("pii",)), Column("n", "int64", tags=("x",))))
    told = planned(Explode, schema, columns={"l": "e"}, ordinal="place")
    assert [(c.name, c.tags) for c in told] == [("e", ("pii",)), ("n", ("x",)), ("place", ())]


LISTS = st.lists(st.one_of(st.none(), st.lists(st.one_of(st.none(), st.integers(-9, 9)), max_size=4)), max_size=8)


@settings(max_examples=40, deadline=None)
@given(LISTS, LISTS, st.booleans())
def test_explode_makes_the_rows_that_a_loop_would_make(ones: Any, others: Any, keep: bool) -> None:
    size = min(len(ones), len(others))
    rows = [{"n": n, "a": ones[n], "b": others[n]} for n in range(size)]
    schema = Schema.of({"n": "int64", "a": "list<int64>", "b": "list<int32>"})
    expected = []
    for row in rows:
        a, b = row["a"] or [], row["b"] or []
        length = max(len(a), len(b))
        expected += [
            (row["n"], a[i] if i < len(a) else None, b[i] if i < len(b) else None, i + 1) for i in range(length)
        ]
        if not length and keep:
            expected.append((row["n"], None, None, None))
    found = through(Explode, rows, schema, columns=["a", "b"], keep_empty=keep, ordinal="i")
    assert [tuple(r.values()) for r in found] == expected
