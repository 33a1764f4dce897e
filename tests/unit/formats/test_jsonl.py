"""JSON lines: types, values that would be bent, bad lines, and what is written comes back."""

from __future__ import annotations

import contextlib
import datetime as dt
import io
import json
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataflare.errors import WorkflowError
from dataflare.formats.jsonl.decode import JsonlDecoder
from dataflare.formats.jsonl.encode import JsonlEncoder, JsonTexts
from dataflare.formats.jsonl.infer import infer, unite
from dataflare.schema import Schema

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 60), 1 << 60) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", min_size=1), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


def decode(data, types):
    decoder = JsonlDecoder(types if isinstance(types, Schema) else Schema.of(types))
    try:
        return decoder.decode(data)
    finally:
        decoder.close()


def encode(rows, json_columns=()):
    sink, texts = io.BytesIO(), JsonTexts()
    encoder = JsonlEncoder(sink, texts, json_columns)
    encoder.write(rows)
    encoder.finish()
    texts.close()
    return sink.getvalue()


def test_lines_become_rows_by_name():
    found = decode(b'{"b":"x","a":1,"c":9}\n\n{"a":null}\r\n  {"b":5}', {"a": "int64", "b": "string"})
    assert not found.rejected
    assert found.rows.to_pylist() == [{"a": 1, "b": "x"}, {"a": None, "b": None}, {"a": None, "b": "5"}]


def test_nested_values_keep_their_types():
    types = {"o": "struct<x: int64, at: timestamp>", "l": "list<struct<k: string>>", "m": "map<string, float64>"}
    line = b'{"o":{"x":1,"at":"2025-01-01T00:00:00Z"},"l":[{"k":"a"},{}],"m":{"p":1.5}}\n'
    found = decode(line, types)
    assert found.rows.schema.types == Schema.of(types).to_arrow().types
    assert found.rows.to_pylist() == [
        {
            "o": {"x": 1, "at": dt.datetime(2025, 1, 1, tzinfo=dt.UTC)},
            "l": [{"k": "a"}, {"k": None}],
            "m": [("p", 1.5)],
        }
    ]


BENT = [
    ("int64", "3.7"), ("int64", '"3.7"'), ("int64", '"tru"'), ("int64", "15e-1"), ("int64", '"x"'), ("int64", "{}"),
    ("int64", "99999999999999999999"), ("uint8", "300"), ("bool", "1"), ("bool", '"x"'), ("date", '"2025-01-01T10:00"'),
    ("datetime", '"2025-01-01T10:00:00Z"'), ("datetime", '"2025-01-01 10:00:00+02"'), ("decimal(5,2)", "1.555"),
    ("decimal(5,2)", "99999"), ("timestamp", "1700000000"), ("timestamp", '"x"'), ("list<int64>", "[1,2.5]"),
    ("list<int64>", "5"), ("struct<x: int64>", '{"x":2.5}'), ("struct<x: int64>", "[1]"),
    ("struct<x: date>", '{"x":"q"}'),
    ("binary", '"no base64"'), ("map<string, int64>", '{"k":2.5}'), ("list<list<int64>>", "[[1],[2.5]]"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "value"), BENT)
def test_what_does_not_fit_exactly_is_a_bad_line_and_never_bent(kind, value):
    data = b'{"v":null}\n{"v":' + value.encode() + b',"w":1}\n{"w":2}\n'
    found = decode(data, {"v": kind, "w": "int64"})
    assert found.rows["w"].to_pylist() == [None, 2]
    assert [(r.line, "column 'v'" in r.reason) for r in found.rejected] == [(1, True)]


@pytest.mark.parametrize(
    ("kind", "value", "read"),
    [
        ("int64", "1.0", 1), ("int64", "1e3", 1000), ("int64", '"12"', 12), ("float64", "1", 1.0),
        ("int64", "true", 1), ("int64", '"1e3"', 1000), ("struct<x: int64>", '{"x":"1e3"}', {"x": 1000}),
        ("int64", "9007199254740993", 9007199254740993), ("int64", "-9223372036854775808", -(2**63)),
        ("uint64", "18446744073709551615", 2**64 - 1), ("struct<x: int64>", '{"x":9007199254740993}', {"x": 2**53 + 1}),
        ("struct<x: int64>", '{"x":null}', {"x": None}), ("struct<x: int64, y: string>", "null", None),
        ("bool", '"true"', True),
        ("string", "1.5", "1.5"), ("string", '{"a":1}', '{"a":1}'), ("decimal(5,2)", '"1.5"', Decimal("1.50")),
        ("date", '"2025-01-01"', dt.date(2025, 1, 1)), ("json", "[2, {}]", "[2,{}]"), ("json", '"s"', '"s"'),
        ("float64", '"NaN"', None), ("list<int64>", "[1,2,null]", [1, 2, None]),
    ],
)  # fmt: skip
def test_what_fits_is_read(kind, value, read):
    found = decode(b'{"v":' + value.encode() + b"}\n", {"v": kind})
    assert not found.rejected
    (row,) = found.rows.to_pylist()
    assert row["v"] == read or row["v"] != row["v"]


@pytest.mark.parametrize(
    "value",
    ["1", "1.0", '"1e3"', "1e3", "true", "123456789.000000001", "0.5", '"x"', "1e400", "9007199254740993", "null"],
)
@pytest.mark.parametrize("kind", ["int64", "struct<x: int64>"])
def test_a_line_is_judged_alike_whatever_is_around_it(kind, value):
    written = value if kind == "int64" else f'{{"x":{value}}}'
    line = f'{{"v":{written}}}\n'.encode()
    wide = b'{"v":9007199254740995}\n' if kind == "int64" else b'{"v":{"x":9007199254740995}}\n'
    bad = b'{"v":0.25}\n' if kind == "int64" else b'{"v":{"x":0.25}}\n'
    alone, beside_wide, beside_bad = (decode(line + more, {"v": kind}) for more in (b"", wide, bad))
    good = alone.rows.to_pylist()
    assert beside_wide.rows.to_pylist()[: len(good)] == good == beside_bad.rows.to_pylist()
    assert [len(d.rejected) for d in (alone, beside_wide, beside_bad)] == [1 - len(good), 1 - len(good), 2 - len(good)]


def test_a_reader_that_met_great_integers_stays_exact():
    decoder = JsonlDecoder(Schema.of({"a": "int64"}))
    with contextlib.closing(decoder):
        for _ in range(5):
            assert decoder.decode(b'{"a":9007199254740993}\n').rows["a"].to_pylist() == [9007199254740993]
            assert len(decoder.decode(b'{"a":9007199254740993}\n{"a":3.7}\n').rejected) == 1


def test_bad_lines_come_out_with_their_line_and_reason():
    data = b'{"a":1}\nnope\n[1]\n{"a":1\n{"a":"\xff"}\n{"a":2}{"a":3}\n\n{"a":4}\n"x"\nnull\n'
    found = decode(data, {"a": "int64"})
    assert found.rows["a"].to_pylist() == [1, 4]
    assert [r.line for r in found.rejected] == [1, 2, 3, 4, 5, 8, 9]
    assert found.rejected[0].reason == "the line is not JSON: Expecting value at column 1"
    assert found.rejected[1].reason == "the line is not a JSON object"
    assert found.rejected[3].raw == '{"a":"\\xff"}'


def test_a_null_where_none_may_be_is_a_bad_line():
    schema = Schema.from_json([{"name": "a", "type": "int64", "nullable": False}])
    found = decode(b'{"a":1}\n{"b":2}\n', schema)
    assert [(r.line, r.reason) for r in found.rejected] == [(1, "column 'a' is null")]


def test_duplicate_and_odd_names_do_no_harm():
    found = decode(b'{"a\'b":1,"c\\"d":{"e f":2}}\n', {"a'b": "int64"})
    assert found.rows.to_pylist() == [{"a'b": 1}]
    found = decode(b'{"a":1,"a":2}\n{"a":3}\n', {"a": "int64"})
    assert found.rows["a"].to_pylist() == [3]
    assert [r.line for r in found.rejected] == [0]


def test_a_very_long_line_is_read():
    text = "x" * (3 << 20)
    found = decode(json.dumps({"a": text}).encode() + b"\n", {"a": "string"})
    assert found.rows["a"].to_pylist() == [text]


# ---- writing --------------------------------------------------------------------------------------------------------


def test_all_types_come_back_as_they_were_written():
    moment = dt.datetime(2025, 3, 1, 12, 30, 0, 123456)  # noqa: DTZ001 - no zone is meant
    types = {
        "i": "int64", "u": "uint64", "f": "float64", "b": "bool", "d": "date", "t": "time", "ts": "timestamp",
        "dt": "datetime", "dec": "decimal(22,2)", "s": "string", "bin": "binary", "l": "list<timestamp>",
        "o": "struct<x: int64, s: string>", "m": "map<string, timestamp>", "j": "json",
    }  # fmt: skip
    zoned = moment.replace(tzinfo=dt.UTC)
    values = [
        1, (1 << 64) - 1, 0.1, True, moment.date(), moment.time(), zoned, moment, Decimal("12345678901234567890.25"),
        'a,"b"\n\u2028é',
        b"\xff\x00", [zoned, None], {"x": 1, "s": ""}, [("k", zoned)], '{"x":[1]}',
    ]  # fmt: skip
    rows = pa.Table.from_pylist(
        [dict(zip(types, values, strict=True)), dict.fromkeys(types)], schema=Schema.of(types).to_arrow()
    )
    found = decode(encode(rows, ["j"]), types)
    assert not found.rejected
    assert found.rows.to_pylist() == rows.to_pylist()
    assert found.rows.schema.types == rows.schema.types


def test_values_that_are_all_null_open_no_session(monkeypatch):
    monkeypatch.setattr("dataflare.formats.jsonl.encode.JsonSession", None)
    column = pa.chunked_array([[None, None]], pa.list_(pa.string()))
    texts = JsonTexts().values(column)
    assert texts.type == pa.string()
    assert texts.to_pylist() == [None, None]


def test_every_line_is_strict_json_also_with_nan():
    rows = pa.table({"f": [1.0, float("nan"), float("-inf"), None], "l": [[float("inf"), 1.0], None, [], [None]]})
    data = encode(rows)

    def refuse(word):
        raise ValueError(word)

    lines = [json.loads(line, parse_constant=refuse) for line in data.splitlines()]
    assert [line["f"] for line in lines] == [1.0, "NaN", "-Infinity", None]
    assert lines[0]["l"] == ["Infinity", 1.0]
    again = decode(data, {"f": "float64", "l": "list<float64>"})
    assert str(again.rows["f"].to_pylist()) == "[1.0, nan, -inf, None]"


def test_names_that_differ_in_case_only_are_written_apart_and_not_read_together():
    rows = pa.Table.from_arrays([pa.array([1]), pa.array(["x"]), pa.array(["{}"])], names=["a", "A", "o"])
    assert encode(rows, ["o"]) == b'{"a":1,"A":"x","o":{}}\n'
    with pytest.raises(WorkflowError, match="in case only"):
        decode(b"", {"a": "int64", "A": "int64"})
    assert infer(b'{"o":{"a":1,"A":2}}') == {"o": "json"}


def test_slices_and_chunks_are_written_once():
    rows = pa.concat_tables([pa.table({"a": range(10)}).slice(3, 4), pa.table({"a": range(20, 22)})])
    assert [json.loads(line)["a"] for line in encode(rows).splitlines()] == [3, 4, 5, 6, 20, 21]
    assert encode(rows.slice(0, 0)) == b""


@settings(max_examples=60, deadline=None)
@given(st.lists(st.dictionaries(st.text("abcd", min_size=1, max_size=2), VALUES, max_size=4), min_size=1, max_size=6))
def test_what_was_inferred_reads_every_line_of_the_sample(records):
    data = b"".join(json.dumps(r).encode() + b"\n" for r in records)
    types = {name: kind or "json" for name, kind in infer(data).items()}
    if not types:
        return
    found = decode(data, types)
    assert [r for r in found.rejected if "surrogate" not in r.raw] == []
    assert found.rows.num_rows == len(records)


def test_types_are_the_union_of_the_sample():
    data = b"""{"id":1,"at":"2025-01-01T00:00:00Z","o":{"x":1},"l":[],"n":null,"mix":1}
{"id":2.5,"at":"2025-01-02","o":{"y":"s"},"l":[{"a":1}],"mix":"x","big":99999999999999999999}
not json
{"new":true,"e":{}}
"""
    assert infer(data) == {
        "id": "float64", "at": "timestamp", "o": "struct<x: int64, y: string>", "l": "list<struct<a: int64>>",
        "n": None,
        "mix": "json", "big": "json", "new": "bool", "e": "json",
    }  # fmt: skip
    assert unite({"a": "int64", "b": None}, {"a": "string", "b": "date", "c": "bool"}) == {
        "a": "json", "b": "date", "c": "bool",
    }  # fmt: skip
