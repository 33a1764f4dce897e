"""JSON documents are cut into lines: any JSON, in pieces of any length, found behind anything."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataflare.errors import DataError
from dataflare.formats.json import document
from dataflare.formats.json.document import Document
from dataflare.formats.json.structure import structure

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
TEXTS = st.sampled_from(['"', "\\", '\\"', "[", "]{", "},{", ",", "\\\\", "a\nb", "ü€😀", ""]) | st.text()
VALUES = st.recursive(
    SCALARS | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=20,
)
RECORDS = st.lists(st.dictionaries(TEXTS, VALUES, max_size=4), max_size=8)
LAYOUTS = st.sampled_from([{}, {"indent": 2}, {"separators": (",", ":")}, {"ensure_ascii": False}])


def pieces(data, size):
    return iter([data[n : n + size] for n in range(0, len(data), size)])


def cut(data, path=(), size=1 << 20, block=1 << 20, at=0, kind=None):
    made = Document(pieces(data[at:], size), at)
    found = made.find(path) if kind is None else kind
    return found, list(made.records(found, block, alone=not path))


def values(blocks):
    return [json.loads(line) for b in blocks for line in b.lines.splitlines() if line.strip()]


@settings(max_examples=60, deadline=None)
@given(RECORDS, LAYOUTS, st.integers(1, 40), st.integers(1, 60))
def test_an_array_comes_out_as_its_elements(records, layout, size, block):
    data = json.dumps(records, **layout).encode()
    kind, blocks = cut(data, size=size, block=block)
    assert kind == "array"
    assert values(blocks) == records
    for one in blocks:  # a resume from behind any block
        assert values([*blocks[: blocks.index(one) + 1], *cut(data, at=one.end, kind=kind)[1]]) == records


@settings(max_examples=60, deadline=None)
@given(st.lists(st.dictionaries(TEXTS, VALUES, max_size=3), max_size=6), LAYOUTS, st.sampled_from(["", " ", "\n"]),
       st.integers(1, 40), st.integers(1, 60))  # fmt: skip
def test_objects_behind_each_other_come_out_each(records, layout, between, size, block):
    data = between.join(json.dumps(r, **layout) for r in records).encode()
    kind, blocks = cut(data, size=size, block=block)
    assert kind == ("values" if records else "none")
    assert values(blocks) == records


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(TEXTS, VALUES, max_size=4), RECORDS, st.dictionaries(TEXTS, VALUES, max_size=2), LAYOUTS,
       st.integers(1, 40))  # fmt: skip
def test_an_array_is_found_behind_anything(before, records, after, layout, size):
    inner = {**{f"b{k}": v for k, v in before.items()}, "items": records, **{f"a{k}": v for k, v in after.items()}}
    data = json.dumps({"meta": before, "data": inner, "rest": [1, {"items": 2}]}, **layout).encode()
    kind, blocks = cut(data, ("data", "items"), size=size, block=7)
    assert kind == "array"
    assert values(blocks) == records
    kind, blocks = cut(data, ("data",), size=size)
    assert (kind, values(blocks)) == ("values", [inner])


@settings(max_examples=60, deadline=None)
@given(VALUES, LAYOUTS)
def test_the_structure_is_that_of_the_brackets(value, layout):
    text = json.dumps(value, **layout)
    bare = re.sub(r'"(?:[^"\\]|\\.)*"', lambda m: "_" * len(m[0]), text)
    seen = structure(text.encode() if text.isascii() else bare.encode())
    depth, deepest, commas, ends = 0, 0, [], []
    for place, sign in enumerate(bare):
        depth += (sign in "[{") - (sign in "]}")
        deepest = max(deepest, depth)
        commas += [place] if sign == "," and depth == 0 else []
        ends += [place] if sign in "]}" and depth == 0 else []
    assert (seen.deepest, seen.commas(), seen.ends(), seen.inside) == (deepest, commas, ends, False)


def test_arrays_behind_each_other_are_one():
    assert values(cut(b'[{"a":1}] \n[{"a":2},{"a":3}]', block=2)[1]) == [{"a": 1}, {"a": 2}, {"a": 3}]


@pytest.mark.parametrize(
    ("text", "path", "words"),
    [
        ('{"a": {"b": 1, "c": []}}', ("a", "x"), r"no 'a\.x': there are 'b', 'c'"),
        ('{"a": 1}', ("a",), "'a' is neither an array nor an object"),
        ("[1]", ("a",), "the document is no object"),
        ('{"a": [1]}', ("a", "b"), "'a' is no object"),
        ('{"a" 1, "b": []}', ("b",), "a colon was expected at byte 5"),
        ('{"a": , "b": []}', ("b",), "a value was expected at byte 6"),
        ('{"a": [1, "b', ("b",), "ends in the middle"),
        ('{"a": "b\\', ("b",), "ends in the middle"),
        ("hello", (), "neither an array nor an object"),
        ('[{"a": 1}, {"a', (), "ends in the middle of what begins at byte"),
        ('[{"a": 1}] x', (), "something follows behind the end of the array, at byte 11"),
        ('{"a": 1} {"a"', (), "ends in the middle"),
        ("[" + "[" * 600 + "]" * 600 + "]", (), "more than 500 deep at byte 501"),
        ('{"a":' * 600 + "1" + "}" * 600, (), "more than 500 deep"),
    ],
)
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_what_is_wrong_is_told_with_its_place(text, path, words, size):
    with pytest.raises(DataError, match=words):
        cut(text.encode(), path, size=size, block=size)


@pytest.mark.parametrize(
    ("text", "path"), [("", ()), ("  \n", ()), ('{"a": null}', ("a",)), ('{"a": []}', ("a",)), ("[]", ())]
)
def test_documents_without_records_are_none(text, path):
    assert values(cut(text.encode(), path)[1]) == []


def test_a_record_without_an_end_is_told(monkeypatch):
    monkeypatch.setattr(document, "RECORD_BYTES_MAX", 1000)
    with pytest.raises(DataError, match=r"records: data\.items"):
        cut(b'[{"a": "' + b"x" * 5000 + b'"}]', size=100, block=100)


def test_records_know_where_they_began():
    text = b'[\n  {"a": 1},\n\n  {"a": 2},\n  {"a":\n 3}, {"a": 4}\n]'
    _, (block,) = cut(text)
    assert [block.origin(n) for n in range(4)] == [(1, 4), (3, 17), (4, 29), (5, 40)]
    assert [text[at : at + 6] for _, at in map(block.origin, range(4))] == [b'{"a": ', b'{"a": ', b'{"a":\n', b'{"a": ']


def test_a_document_of_any_length_is_read_a_block_at_a_time():
    element = b'{"id": 1, "text": "' + b"x" * 1000 + b'"}'
    handed = 0

    def text():
        nonlocal handed
        for part in (b'{"before": [' + element * 0, *[element + b"," for _ in range(5000)], b'0], "items": [',
                     *[element + b", " for _ in range(20_000)], element, b"]}"):  # fmt: skip
            handed += len(part)
            yield part

    made = Document(text())
    kind = made.find(["items"])
    before, count = made.at, 0
    for block in made.records(kind, 1 << 20, alone=False):
        assert len(block.lines) <= 1 << 20
        assert handed - block.end < (1 << 20) + 2000
        count += block.lines.count(b"\n")
    assert count == 20_001
    assert before > 5_000_000
