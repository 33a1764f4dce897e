"""JSON lines that a record function is given as dicts: the same rows as by way of a table, or none at all."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataflare.formats.jsonl.decode import JsonlDecoder
from dataflare.processors import python_lines
from dataflare.processors.python_lines import LineFeeder, is_plain
from dataflare.processors.python_modes import RecordMode, Rejected
from dataflare.schema import Schema

GIVEN = Schema.of({"a": "int64", "b": "string", "u": "struct<x: int8, y: list<float64>>", "on": "bool"})
OUTPUT = Schema.of({"a": "int64", "b": "string", "x": "int64", "on": "bool"})


def work(record):
    """Filter, expand, fail, or go on."""
    if record["b"] == "gone":
        return None
    if record["b"] == "fails":
        raise ValueError("no")
    x = record["u"]["x"] if record["u"] else None
    made = {"a": record["a"], "b": record["b"], "x": x, "on": record["on"]}
    return [made, made] if record["b"] == "two" else made


def by_lines(data):
    return LineFeeder(work, GIVEN.to_arrow(), OUTPUT.to_arrow()).run(data)


def by_rows(data):
    decoder = JsonlDecoder(GIVEN)
    decoded = decoder.decode(data)
    decoder.close()
    rejected = Rejected("", first_only=False)
    answer = RecordMode(work, OUTPUT.to_arrow(), memoryview(bytearray(8)).cast("Q")).run(decoded.rows, rejected)
    return decoded.rows.num_rows, answer.rows, len(decoded.rejected) + len(rejected.rows)


LINE = st.fixed_dictionaries(
    {},
    optional={
        "a": st.none() | st.integers(-5, 5) | st.sampled_from([2**63 - 1, -(2**63), 2**63, 1.5, 2.0, "3", True]),
        "b": st.none() | st.sampled_from(["gone", "two", "fails", "é\U0001f600", 4]),
        "u": st.none() | st.fixed_dictionaries(
            {}, optional={"x": st.integers(-128, 128), "y": st.lists(st.floats(allow_nan=False) | st.integers(0, 3))}
        ),
        "on": st.none() | st.booleans() | st.just(1),
        "other": st.text(max_size=3),
    },
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.lists(LINE, max_size=5))
def test_lines_that_are_taken_give_what_rows_give(records):
    data = "".join(json.dumps(r) + "\n" for r in records).encode()
    taken = by_lines(data)
    count, rows, bad = by_rows(data)
    if bad:
        assert taken is None
    elif taken is not None:
        assert taken[0] == count == len(records)
        assert taken[1].equals(rows)


def test_plain_lines_are_taken_and_a_lacking_column_is_null():
    data = b'{"a":1,"b":"x","u":{"x":3,"y":[1,2.5]},"on":true}\n{"b":"two","z":[1]}\r\n{"b":"gone"}'
    count, rows = by_lines(data)
    assert count == 3
    assert rows.to_pylist() == [
        {"a": 1, "b": "x", "x": 3, "on": True},
        *([{"a": None, "b": "two", "x": None, "on": None}] * 2),
    ]


@pytest.mark.parametrize(
    "data",
    [b"no json\n", b'{"b":"fails"}\n', b'{"a":1}{"a":2}\n', b'{"a":1}\n\n{"a":2}\n', b'{"a":\n1}\n',
     b'\n{"a":1}{"a":2}\n', b' \n{"a":1} {"a":2}\n', b'{"b":"\xff"}\n', b"[1]\n", b"null\n", b'{"a":1e400}\n',
     b'{"u":{"x":1}}\n', b'{"u":{"x":300,"y":[]}}\n'],
)  # fmt: skip
def test_any_other_line_leaves_the_block_alone(data):
    assert by_lines(b'{"a":1,"b":"x"}\n' + data) is None


def test_a_result_that_does_not_fit_leaves_the_block_alone():
    feeder = LineFeeder(lambda r: {**r, "more": 1}, GIVEN.to_arrow(), OUTPUT.to_arrow())
    assert feeder.run(b'{"a":1}\n') is None


def test_a_block_is_worked_on_in_parts(monkeypatch):
    monkeypatch.setattr(python_lines, "CHUNK_BYTES", 40)
    data = b"".join(b'{"a":%d,"b":"x"}\n' % n for n in range(100))
    count, rows = by_lines(data)
    assert (count, rows.column("a").to_pylist()) == (100, list(range(100)))


def test_types_that_json_has_no_exact_value_of_are_not_plain():
    kinds = ["timestamp", "decimal(5,2)", "binary", "json", "float32", "uint64", "map<string, int64>", "date",
             "struct<x: json>", "time"]  # fmt: skip
    plain = ["int8", "uint32", "int64", "float64", "bool", "string", "list<struct<json: int32, b: list<string>>>"]
    assert [k for k in kinds + plain if is_plain(Schema.of({"v": k}).columns[0])] == plain
