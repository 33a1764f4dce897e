"""Sums of hashes of rows: what may differ without a difference, and what may not."""

from __future__ import annotations

import math
import random
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataflare.expression.row_sums import row_sum

SCHEMA = pa.schema(
    [
        ("n", pa.int64()), ("s", pa.string()), ("t", pa.string()), ("f", pa.float64()), ("b", pa.bool_()),
        ("d", pa.decimal128(12, 2)), ("raw", pa.binary()), ("at", pa.timestamp("us", "UTC")),
        ("tags", pa.list_(pa.string())), ("who", pa.struct([("id", pa.int64()), ("name", pa.string())])),
        ("more", pa.map_(pa.string(), pa.int64())),
    ]
)  # fmt: skip
TEXT = st.sampled_from(["", "NULL", "null", "a", "b", "a, b", "'a'", "ü", "\x00", "x" * 40])
ROW = st.fixed_dictionaries(
    {
        "n": st.none() | st.integers(-2, 2) | st.just(2**63 - 1),
        "s": st.none() | TEXT,
        "t": st.none() | TEXT,
        "f": st.none() | st.sampled_from([0.0, 1.0, 0.1, 1e300, math.inf]),
        "b": st.none() | st.booleans(),
        "d": st.none() | st.sampled_from([0, 1]),
        "raw": st.none() | st.sampled_from([b"", b"a", b"\x00"]),
        "at": st.none() | st.sampled_from([0, 1]),
        "tags": st.none() | st.lists(st.none() | TEXT, max_size=2),
        "who": st.none()
        | st.fixed_dictionaries({"id": st.none() | st.integers(0, 1), "name": st.none() | TEXT}),
        "more": st.none() | st.dictionaries(TEXT, st.none() | st.integers(0, 1), max_size=2).map(lambda d: [*d.items()])
    }
)  # fmt: skip


def table(rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=SCHEMA)


@pytest.mark.once
@settings(max_examples=80, deadline=None)
@given(st.lists(ROW, max_size=12), st.randoms(use_true_random=False), st.integers(0, 12))
def test_order_batches_and_encoding_make_no_difference(rows: list[dict[str, Any]], rng: random.Random, at: int) -> None:
    whole = row_sum(table(rows))
    shuffled = [*rows]
    rng.shuffle(shuffled)
    parts = [table(shuffled[:at]), table(shuffled[at:])]
    assert sum(row_sum(part) for part in parts) == whole
    assert row_sum(pa.concat_tables(parts)) == whole
    assert row_sum(pa.concat_tables([table([]), table(rows)]).slice(0)) == whole
    coded = pa.concat_tables(parts)
    for name in ("n", "s", "raw"):
        at_column = coded.schema.get_field_index(name)
        coded = coded.set_column(at_column, name, coded[name].dictionary_encode())
    assert row_sum(coded) == whole
    large = coded.set_column(2, "t", coded["t"].cast(pa.large_string()))
    assert row_sum(large.set_column(2, "t", coded["t"].cast(pa.string_view()))) == row_sum(large) == whole


@pytest.mark.once
@settings(max_examples=150, deadline=None)
@given(st.lists(ROW, min_size=1, max_size=6), st.lists(ROW, min_size=1, max_size=6))
def test_other_rows_have_another_sum(one: list[dict[str, Any]], other: list[dict[str, Any]]) -> None:
    same = sorted(map(repr, one)) == sorted(map(repr, other))
    assert (row_sum(table(one)) == row_sum(table(other))) == same


@pytest.mark.once
@settings(max_examples=150, deadline=None)
@given(ROW, ROW, st.sampled_from(SCHEMA.names))
def test_values_that_change_places_are_seen(one: dict[str, Any], other: dict[str, Any], column: str) -> None:
    """A sum of hashes that are joined bit by bit would not see every value that two rows exchange."""
    changed = [one | {column: other[column]}, other | {column: one[column]}]
    same = sorted(map(repr, changed)) == sorted(map(repr, [one, other]))
    assert (row_sum(table(changed)) == row_sum(table([one, other]))) == same


def column(values: list[Any], kind: pa.DataType, name: str = "v") -> pa.Table:
    return pa.table({name: pa.array(values, kind)})


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (pa.string(), [None, "", "NULL", "\x00"]),
        (pa.int64(), [None, 0, 1, -1]),
        (pa.bool_(), [None, False, True]),
        (pa.list_(pa.int64()), [None, [], [None], [0], [None, None], [0, None], [None, 0]]),
        (pa.list_(pa.string()), [None, [], [None], [""], ["NULL"], ["a", "b"], ["a, b"], ["a,b"]]),
        (pa.list_(pa.list_(pa.int64())), [None, [], [None], [[]], [[None]], [[], []], [[], None]]),
        (pa.struct([("a", pa.string()), ("b", pa.string())]), [None, {"a": None}, {"a": ""}, {"b": ""}, {"a": "NULL"}]),
        (pa.month_day_nano_interval(), [None, (1, 0, 0), (0, 30, 0), (0, 0, 86_400_000_000_000 * 30), (0, 0, 0)]),
    ],
    ids=str,
)
def test_values_that_are_alike_are_told_apart(kind: pa.DataType, values: list[Any]) -> None:
    sums = [row_sum(column([value], kind)) for value in values]
    assert len({*sums, 0}) == len(values) + 1, "each value counts, and each in its own way"


def test_numbers_that_are_equal_have_one_hash() -> None:
    assert row_sum(column([-0.0], pa.float64())) == row_sum(column([0.0], pa.float64()))
    other_nan = pa.Array.from_buffers(pa.float64(), 1, [None, pa.py_buffer((0xFFF8000000000123).to_bytes(8, "little"))])
    assert row_sum(pa.table({"v": other_nan})) == row_sum(column([math.nan], pa.float64()))


def test_names_types_and_order_of_columns_count() -> None:
    texts = pa.table({"a": ["x"], "b": ["y"]})
    others = [
        texts.select(["b", "a"]),
        pa.table({"a": ["y"], "b": ["x"]}),
        pa.table({"a": ["xy"], "b": [""]}),
        texts.rename_columns(["a", "c"]),
        pa.table({"a": [b"x"], "b": ["y"]}),
    ]
    assert len({row_sum(t) for t in [texts, *others]}) == len(others) + 1
    assert row_sum(column([1], pa.int32())) != row_sum(column([1], pa.int64()))


def test_names_that_differ_in_case_alone_are_two_columns() -> None:
    rows = pa.table([pa.array([1, 2]), pa.array([3, 4])], names=["a", "A"])
    other = pa.table([pa.array([1, 2]), pa.array([3, 5])], names=["a", "A"])
    assert row_sum(rows) != row_sum(other)


def test_rows_without_columns_are_counted_alone() -> None:
    assert row_sum(pa.table({"a": [1, 2]}).select([])) == 2 * row_sum(pa.table({"a": [1]}).select([]))
