"""Reading YAML and JSON: values, positions, bounds."""

from __future__ import annotations

import json

import pytest

from dataflare.workflow.document import DEPTH_MAX
from dataflare.workflow.findings import Findings
from dataflare.workflow.reading import read_document


def read(text, *, as_json=False):
    findings = Findings("w.yaml")
    return read_document(text, findings, json=as_json), findings.found()


def only(findings):
    (finding,) = findings
    return finding.code.removeprefix("workflow."), finding.place.line, finding.place.column


def test_every_key_and_value_knows_its_place():
    document, findings = read("id: a\nnodes:\n  - x: 1\n    y: {z: [p, q]}\n")
    assert findings == []
    place = document.place(("nodes", 0, "y", "z", 1))
    assert (place.line, place.column, place.path) == (4, 16, "nodes[0].y.z[1]")
    key = document.place(("nodes", 0, "y"), key=True)
    assert (key.line, key.column) == (4, 5)
    missing = document.place(("nodes", 0, "y", "nothing", 3))
    assert (missing.line, missing.column) == (4, 8)


def test_columns_count_characters_not_bytes():
    document, _ = read("{ä€😀: {b: 1}}")
    assert document.place(("ä€😀", "b")).column == 11


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1), ("-7", -7), ("0x1F", 31),
        ("1.5", 1.5), ("1e3", 1000.0), (".5", 0.5), ("true", True), ("False", False),
        ("~", None), ("", None), ("null", None), ("'1'", "1"), ("2024-01-01", "2024-01-01"), ("1:30", "1:30"),
        ("007", "007"), ("1_000", "1_000"), ("1e999", "1e999"), (".inf", ".inf"), ("!!str 5", "5"), ("<<", "<<"),
        ("9" * 50, "9" * 50), ("=", "="), ('"a\\nb"', "a\nb"),
    ],
)  # fmt: skip
def test_unquoted_words_mean_the_least_surprising_thing(text, value):
    document, findings = read(f"a: {text}\n")
    assert findings == []
    assert document.plain() == {"a": value}
    assert type(document.plain()["a"]) is type(value)


def test_json_is_read_with_positions():
    text = json.dumps({"id": "a", "rows": [{"x": 1.5, "y": None, "z": "\U0001f600"}]}, indent=1)
    document, findings = read(text, as_json=True)
    assert findings == []
    assert document.plain() == json.loads(text)
    assert document.place(("rows", 0, "z"), key=True).line == 7
    assert document.place(("rows", 0, "z")).column == 9


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"a": 1,}', ("syntax", 1, 9)),
        ('{"a": 1, "a": 2}', ("duplicate_key", 1, 10)),
        ('{"a" 1}', ("syntax", 1, 6)),
        ('{"a": tru}', ("syntax", 1, 7)),
        ('{"a": 1}\n x', ("syntax", 2, 2)),
        ('{"a": "\\ud83d"}', ("syntax", 1, 7)),
        ("{\"a\": 'x'}", ("syntax", 1, 7)),
        ("[" * 100, ("too_deep", 1, DEPTH_MAX + 2)),
        ("", ("syntax", 1, 1)),
        ("[1]", ("not_a_map", 1, 1)),
    ],
)
def test_bad_json_is_told_at_its_place(text, expected):
    assert only(read(text, as_json=True)[1]) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\nb: [1, 2\n", ("syntax", 3, 1)),
        ("a: 1\n\tb: 2\n", ("syntax", 2, 1)),
        ("a: 1\na: 2\n", ("duplicate_key", 2, 1)),
        ("a: {b: 1, c: 2, b: 3}\n", ("duplicate_key", 1, 17)),
        ("a: 1\non: 2\n", ("ambiguous_key", 2, 1)),
        ("a: {b: ${X}}\n", ("unquoted_reference", 1, 8)),
        ("a:\n  - {b: p, c: x${X:-y}z}\n", ("unquoted_reference", 2, 16)),
        ("a: [${X}, 1]\n", ("unquoted_reference", 1, 5)),
        ("a: {b: decimal(10,2), c: 1}\n", ("unquoted_comma", 1, 8)),
        ("a: {c: 1, b: coalesce(x, f(y, 2), 3)}\n", ("unquoted_comma", 1, 14)),
        ("a: [decimal(10, 2), x]\n", ("unquoted_comma", 1, 5)),
        ("a: {b: decimal(10, c: 1, d: 2}\n", ("unquoted_comma", 1, 8)),
        ("a: b: c\n", ("syntax", 1, 5)),
        ("? [a]\n: 1\n", ("complex_key", 1, 3)),
        ("a: !!python/object:os.system x\n", ("yaml_tag", 1, 4)),
        ("a: *nothing\n", ("syntax", 1, 4)),
        ("a: &x [1, *x]\n", ("syntax", 1, 11)),
        ("a: 1\n---\nb: 1\n", ("syntax", 2, 1)),
        ("a: x\x01y\n", ("syntax", 1, 5)),
        ("", ("empty", 1, 1)),
        ("- a\n", ("not_a_map", 1, 1)),
        ("just text\n", ("not_a_map", 1, 1)),
        (b"a: 1\nb: \xff\n", ("syntax", 2, 4)),
        (b"x" * ((8 << 20) + 1), ("too_large", 0, 0)),
    ],
)
def test_bad_yaml_is_told_at_its_place(text, expected):
    assert only(read(text)[1]) == expected


@pytest.mark.parametrize(("text", "cure"), [("a:\n  b: {c: 1\n", "since line 2"), ("a: [\n", "close the bracket")])
def test_an_open_bracket_is_told_with_where_it_was_opened(text, cure):
    (finding,) = read(text)[1]
    assert cure in finding.hint


def test_the_rest_of_a_file_is_checked_behind_an_unquoted_reference():
    _, findings = read("a: {b: ${X}, c: ${Y:-1, 2}}\nd: 1\nd: 2\n")
    assert [(f.code.removeprefix("workflow."), f.place.line, f.place.column) for f in findings] == [
        ("unquoted_reference", 1, 8),
        ("unquoted_reference", 1, 17),
        ("duplicate_key", 3, 1),
    ]
    assert findings[0].hint == 'write "${X}" in double quotes'


def test_what_commas_have_cut_is_put_together_and_nothing_else_is_said_of_it():
    value, findings = read('a: {b: decimal( 10, 2 ), c: "f(x, y)", d: g(1)}\nb:\n  c: decimal(10,2)\n')
    assert [f.hint for f in findings] == ['write "decimal( 10, 2 )" in double quotes']
    read_as = value.root.plain()
    assert read_as == {"a": {"b": "decimal( 10, 2 )", "c": "f(x, y)", "d": "g(1)"}, "b": {"c": "decimal(10,2)"}}


@pytest.mark.parametrize("text", ["[" * 200_000, "[" * 200_000 + "]" * 200_000, "{a: " * 100_000, "- " * 100_000])
def test_a_deeply_nested_text_is_refused_and_does_not_crash_the_process(text):
    code, line, column = only(read(text)[1])
    assert code == "too_deep"
    assert (line, column) != (0, 0)


def test_aliases_within_aliases_are_bounded():
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    assert only(read("\n".join(lines))[1])[0] == "too_many_values"


def test_anchors_and_merges_are_read():
    document, findings = read("base: &b {x: 1, y: 2}\nmore: {<<: *b, y: 3}\nlist: [*b, {<<: [*b, {z: 1}]}]\n")
    assert findings == []
    assert document.plain()["more"] == {"x": 1, "y": 3}
    assert document.plain()["list"] == [{"x": 1, "y": 2}, {"x": 1, "y": 2, "z": 1}]


def test_changing_an_aliased_value_leaves_the_other_alone():
    document, _ = read("a: &x {k: 1}\nb: *x\n")
    document.at(("b",)).map["k"].data = 2
    assert document.plain() == {"a": {"k": 1}, "b": {"k": 2}}
