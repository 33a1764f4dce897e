"""Parse reads texts into typed columns, and tells which rows it could not read."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.processors.shaping import opened, planned, through

from dataflare.batch import Batch
from dataflare.errors import DataError, WorkflowError
from dataflare.processors.parse import Parse
from dataflare.schema import Column, Schema

TEXTS = Schema.of({"t": "string"})


def parsed(*texts: str | None, **config: Any) -> list[dict[str, Any]]:
    """Return what comes of texts that can all be read."""
    return through(Parse, [{"t": text} for text in texts], TEXTS, column="t", keep=False, **config)


def faults(*texts: str | None, **config: Any) -> list[str | None]:
    """Return why each text cannot be read, None where it can."""
    node = opened(Parse, TEXTS, column="t", **config)
    return node._reader.run(pa.chunked_array([pa.array(texts, pa.string())]))[1].to_pylist()


def told(schema: Schema = TEXTS, **config: Any) -> str:
    with pytest.raises(WorkflowError) as caught:
        planned(Parse, schema, **{"column": "t", **config})
    return str(caught.value)


JSON = {"format": "json", "columns": {"id": "int64", "name": "string"}}


def test_the_members_of_an_object_become_columns() -> None:
    assert parsed('{"id": 1, "name": "Ann", "more": [1]}', '{"name": null}', None, **JSON) == [
        {"id": 1, "name": "Ann"},
        {"id": None, "name": None},
        {"id": None, "name": None},
    ]


def test_what_is_no_object_or_of_another_type_is_a_fault_and_no_null() -> None:
    texts = ("", "{", "[1]", "null", '{"id": "x"}', '{"id": 1.5}', '{"id": {}}', '{"name": [1]}', '{"id": 1e3}', None)
    wrong = "column {!r}: the value is not of type {}"
    assert faults(*texts, **JSON) == [
        *["the text is no JSON"] * 2,
        *["the JSON is no object"] * 2,
        *[wrong.format("id", "int64")] * 3,
        wrong.format("name", "string"),
        None,
        None,
    ]


def test_nested_values_are_read_whole_or_not_at_all() -> None:
    columns = {"s": "struct<x: int64, l: list<struct<y: string>>>", "m": "map<string, int64>", "j": "json"}
    config = {"format": "json", "columns": columns}
    assert parsed('{"s": {"l": [{"y": 5}, null], "z": 1}, "m": {"a": 1}, "j": {"b": [1]}}', **config) == [
        {"s": {"x": None, "l": [{"y": "5"}, None]}, "m": [("a", 1)], "j": '{"b":[1]}'}
    ]
    bad = ['{"s": 1}', '{"s": {"x": "a"}}', '{"s": {"l": {}}}', '{"s": {"l": [{"y": {}}]}}', '{"m": {"a": "b"}}']
    assert all(why and "is not of type" in why for why in faults(*bad, '{"m": {"a": 1, "a": 2}}', **config))
    (row,) = through(Parse, [{"t": bad[3]}], TEXTS, column="t", keep=False, on_error="null", **config)
    assert row == {"s": None, "m": None, "j": None}


def test_members_are_found_by_paths() -> None:
    paths = {"mail": "user.email", "first": "/items/0/id", "odd": "/a~1b"}
    columns = {"mail": "string", "first": "int64", "odd": "int64", "dotted.name": "int64"}
    text = '{"user": {"email": "x"}, "items": [{"id": 7}], "a/b": 8, "dotted.name": 9}'
    assert parsed(text, format="json", columns=columns, paths=paths) == [
        {"mail": "x", "first": 7, "odd": 8, "dotted.name": 9}
    ]


def test_what_is_required_must_be_there() -> None:
    assert faults('{"id": null}', "{}", None, **JSON, required=["id"]) == [*["column 'id' is missing"] * 2, None]


VALUES = st.fixed_dictionaries(
    {},
    optional={
        "i": st.none() | st.integers(-(2**63), 2**63 - 1),
        "s": st.none() | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
        "b": st.none() | st.booleans(),
        "f": st.none() | st.floats(allow_nan=False, allow_infinity=False),
        "l": st.none() | st.lists(st.none() | st.integers(-9, 9)),
        "o": st.none() | st.fixed_dictionaries({"x": st.none() | st.integers(-9, 9)}),
    },
)


@settings(max_examples=40, deadline=None)
@given(st.lists(VALUES, max_size=6))
def test_json_that_python_wrote_is_read_as_it_was(records: list[dict[str, Any]]) -> None:
    types = {"i": "int64", "s": "string", "b": "bool", "f": "float64", "l": "list<int64>", "o": "struct<x: int64>"}
    found = parsed(*map(json.dumps, records), format="json", columns=types)
    assert found == [{name: record.get(name) for name in types} for record in records]


def test_the_fields_of_a_line_are_read_in_order() -> None:
    config = {"format": "csv", "columns": {"a": "int64", "b": "string", "c": "date"}}
    assert parsed('1,"x, ""y""\nz",2024-01-02', ",,", '2,"",', **config) == [
        {"a": 1, "b": 'x, "y"\nz', "c": dt.date(2024, 1, 2)},
        {"a": None, "b": None, "c": None},
        {"a": 2, "b": "", "c": None},
    ]
    why = faults("1,2", "1,2,3,4", "x,y,", '1,"y,', '1,y"z,', "1,y,never", **config)
    assert why[:2] == ["the text has another number of fields than 3"] * 2
    assert [w and w.partition(":")[0] for w in why[2:]] == [
        "column 'a'",
        *["the quotes of the text are not closed, or stand inside a field"] * 2,
        "column 'c'",
    ]
    assert parsed("1|'a|b'", format="csv", columns=["x", "y"], delimiter="|", quote="'") == [{"x": "1", "y": "a|b"}]
    assert parsed('1;"a', format="csv", columns=["x", "y"], delimiter=";", quote="") == [{"x": "1", "y": '"a'}]


def test_pairs_of_keys_and_values_are_read_by_their_keys() -> None:
    config = {"format": "key_value", "columns": {"n": "int64", "s": "string", "flag": "bool"}, "pairs": "all"}
    assert parsed(r'n=1 flag s="a \"b\" \\" n=2', "x=", **config) == [
        {"n": 1, "s": 'a "b" \\', "flag": True, "all": [("n", "1"), ("flag", "true"), ("s", 'a "b" \\')]},
        {"n": None, "s": None, "flag": None, "all": [("x", "")]},
    ]
    assert faults("no pair here", "", "n=x", **config) == [
        *["the text holds no pair of a key and a value"] * 2,
        "column 'n': the value is not of type int64",
    ]
    assert parsed("a: 1; b: two words", format="key_value", columns=["a", "b"], separator=";", sign=":") == [
        {"a": "1", "b": "two words"}
    ]


def test_named_groups_become_columns() -> None:
    config = {"format": "regex", "pattern": r"^(?P<user>[(\w]+)( (?<n>\S+))?$", "columns": {"n": "int64"}}
    assert parsed("ann 12", "(ann", None, **config) == [
        {"user": "ann", "n": 12},
        {"user": "(ann", "n": None},
        {"user": None, "n": None},
    ]
    assert faults("", "a b c", "ann x", **config) == [
        *["the text does not match the pattern"] * 2,
        "column 'n': the value is not of type int64",
    ]


def test_one_of_several_patterns_must_match() -> None:
    config = {"format": "regex", "pattern": ["^a(?P<x>.)(?P<y>.)?$", "^b(?P<y>.)$"]}
    assert parsed("a12", "b3", "a4", **config) == [{"x": "1", "y": "2"}, {"x": None, "y": "3"}, {"x": "4", "y": None}]
    assert faults("c", **config) == ["the text does not match the pattern"]


def test_a_pattern_that_others_choke_on_costs_nothing() -> None:
    assert faults("a" * 20000 + "!", format="regex", pattern="^(?P<x>(a+)+)$") == [
        "the text does not match the pattern"
    ]


def test_times_are_read_as_they_are_written() -> None:
    config = {"format": "regex", "pattern": "(?P<at>.*)", "columns": {"at": "timestamp"}}
    written = {"at": "%d/%b/%Y:%H:%M:%S %z"}
    (row,) = parsed("10/Oct/2000:13:55:36 -0700", **config, times=written)
    assert row["at"] == dt.datetime(2000, 10, 10, 20, 55, 36, tzinfo=dt.UTC)
    assert faults("2000-10-10", **config, times=written) == [
        "column 'at': the value is not of type timestamp written as %d/%b/%Y:%H:%M:%S %z"
    ]


def test_the_text_stays_unless_it_is_not_wanted_and_prefixes_part_names() -> None:
    assert through(Parse, [{"t": "a=1"}], TEXTS, column="t", format="key_value", columns=["a"], prefix="p_") == [
        {"t": "a=1", "p_a": "1"}
    ]
    assert parsed("t=1", format="key_value", columns=["t"]) == [{"t": "1"}]
    assert "two columns would be called 't'" in told(format="key_value", columns=["t"])


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"column": "tt", **JSON}, "did you mean 't'?"),
        ({"format": "json"}, "columns: none is named"),
        ({"format": "json", "columns": {"a": "int"}, "pattern": "x"}, "pattern: the format json does not know it"),
        ({"format": "json", "columns": {"a": "int"}, "paths": {"b": "x"}}, "paths: there is no column 'b'"),
        ({"format": "json", "columns": {"a": "int"}, "required": ["b"]}, "required: there is no column 'b'"),
        ({"format": "json", "columns": {"a": "int"}, "times": {"a": "%Y"}}, "'a' is of type int64, not a time"),
        ({"format": "csv", "columns": {"a": "list<int64>"}}, "cannot be of type list<int64> in this format"),
        ({"format": "csv", "columns": {"a": "nonsense"}}, "'nonsense' is not a type"),
        ({"format": "regex"}, "pattern: it is missing"),
        ({"format": "regex", "pattern": "a(b)"}, "no named group"),
        ({"format": "regex", "pattern": "(?P<a>"}, "missing )"),
        ({"format": "regex", "pattern": "(?P<a>x)(?<!y)"}, "looks neither ahead nor behind"),
        ({"format": "regex", "pattern": "(?P<a>x)", "columns": {"b": "int64"}}, "the pattern has no group 'b'"),
        ({"format": "url", "columns": ["hots"]}, "did you mean 'host'?"),
        ({"format": "url", "columns": {"port": "string"}}, "port is of type uint16"),
    ],
)
def test_mistakes_are_told(config: dict[str, Any], words: str) -> None:
    assert words in told(**config)


def test_only_texts_are_parsed() -> None:
    assert "is of type int64, not text" in told(Schema.of({"t": "int64"}), **JSON)


SECRET = Schema((Column("t", "string", tags=("pii",)), Column("n", "int64")))
MIXED = pa.table({"t": ['{"id": 1}', "hush hush", '{"id": "hush"}'], "n": [1, 2, 3]})


def test_what_is_read_carries_the_tags_of_its_text() -> None:
    assert [(c.name, c.tags) for c in planned(Parse, SECRET, column="t", **JSON)] == [
        ("t", ("pii",)), ("n", ()), ("id", ("pii",)), ("name", ("pii",)),
    ]  # fmt: skip
    assert all(not c.tags for c in opened(Parse, SECRET, column="t", **JSON).outputs([SECRET])["errors"])


def test_rows_at_fault_follow_the_policy_and_their_reasons_tell_no_value() -> None:
    node = opened(Parse, SECRET, on_error="dead_letter", column="t", **JSON)
    errors, good = list(node.process(Batch(MIXED)))
    assert errors.stream == "errors"
    assert good.rows.to_pylist() == [{"t": '{"id": 1}', "n": 1, "id": 1, "name": None}]
    assert errors.rows.to_pylist() == [
        {"error": "t: the text is no JSON", "node": "n", "row": '{"t":"***","n":2}'},
        {"error": "t: column 'id': the value is not of type int64", "node": "n", "row": '{"t":"***","n":3}'},
    ]
    (skipped,) = opened(Parse, SECRET, on_error="skip", column="t", **JSON).process(Batch(MIXED))
    assert skipped.num_rows == 1
    (nulls,) = opened(Parse, SECRET, on_error="null", column="t", **JSON).process(Batch(MIXED))
    assert nulls.rows["id"].to_pylist() == [1, None, None]
    with pytest.raises(DataError) as caught:
        list(opened(Parse, SECRET, column="t", **JSON).process(Batch(MIXED)))
    assert "row 1 of its batch" in str(caught.value)
    assert "hush" not in str(caught.value)
