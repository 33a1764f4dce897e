"""A mistake in an expression is told at its line and column in the file, however YAML or JSON writes the expression."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.workflow.test_planning import loaded

from dataflare.component import Registry
from dataflare.workflow.document import Mark, position_of
from dataflare.workflow.findings import Findings
from dataflare.workflow.reading import read_document

HEAD = """id: w
sources:
  rows: {type: file, config: {path: a.csv, columns: {a: int64, b: string}}}
transformations:
  m:
    type: %s
    inputs: [rows]
    config:
"""
TAIL = """
destinations:
  out: {type: file, inputs: [m], config: {path: out}}
"""


def told(config: str, kind: str = "mapping", wrong: str = "statsu") -> str:
    """Load a workflow with a mistake and return the source from the place that it is told at."""
    text = HEAD % kind + config + TAIL
    (finding,) = [f for f in loaded(text, Registry.installed()).findings if f.severity == "error"]
    assert wrong in finding.message, finding
    line = text.split("\n")[finding.place.line - 1]
    return line[finding.place.column - 1 :]


@pytest.mark.parametrize(
    "written",
    [
        "x: upper(statsu)",
        'x: "upper(statsu)"',
        "x: 'upper(statsu)'",
        "x: concat('it''s', statsu)",
        "x: 'concat(''it'', statsu)'",
        'x: "concat(\'a\\tb \\"\', \\n statsu)"',
        "x: |\n          concat(b,\n            statsu)",
        "x: |-  # a comment\n          case when a > 1\n\n            then statsu\n          end",
        "x: |2-\n            upper(\n          statsu)",
        "x: >-\n          concat(b,\n          statsu, b)",
        "x: >\n          concat(b,\n\n            b || statsu)",
        "x: concat(b,\n          statsu)",
        'x: "concat(b,\n          statsu, \\\n          b)"',
        "x: case when a == 1 && b == 'x' then statsu end",
        "x: case when a == 1 && b == 'äöü' then statsu end",
        'x: "1 + -- an == b\\n  statsu"',
    ],
)
def test_the_place_is_that_of_the_word(written: str) -> None:
    assert told(f"      set:\n        {written}\n").startswith("statsu")


def test_what_is_wrong_for_the_engine_is_told_where_the_caret_stands() -> None:
    assert told("      set:\n        x: |\n          b ||\n            uper(b)\n", wrong="uper").startswith("uper(b)")
    assert told('      set: {x: "a == 1 && uper(b)"}\n', wrong="uper").startswith("uper(b)")
    assert told('      set: {x: "a +", y: "a + 1"}\n', wrong="syntax error").startswith('", y')


def test_nodes_that_read_expressions_by_themselves_tell_the_place_too() -> None:
    keys = "      group_by: [a]\n      aggregations:\n        n: count(*)\n"
    sums = keys + "        x: |\n          max(\n            statsu)\n"
    assert told(sums, "aggregate").startswith("statsu")
    engine = keys + "        x: |\n          max(b) ||\n            uper(min(b))\n"
    assert told(engine, "aggregate", "uper").startswith("uper")
    text = HEAD % "route" + "      routes:\n        one: a > 1\n        two: statsu = 'x'\n" + TAIL
    text = text.replace("[m]", "[m.one, m.two]")
    (finding,) = [f for f in loaded(text, Registry.installed()).findings if f.severity == "error"]
    assert text.split("\n")[finding.place.line - 1][finding.place.column - 1 :].startswith("statsu")


def test_of_two_columns_with_the_same_text_each_has_its_own_place() -> None:
    text = HEAD % "mapping" + "      set:\n        x: upper(statsu)\n        y: upper(statsu)\n" + TAIL
    found = [f.place.line for f in loaded(text).findings if f.severity == "error"]
    assert found == [10, 11]


def test_where_something_was_put_in_the_beginning_of_the_text_is_told() -> None:
    assert told('      set: {x: "upper(${WRONG:-statsu})"}\n').startswith('"upper')


@settings(deadline=None, max_examples=60)
@given(st.lists(st.sampled_from("abcdn'\"\\ é\n:#"), max_size=12, unique=True), st.data())
def test_every_character_of_a_text_is_found_in_every_style(parts: list[str], data: st.DataObject) -> None:
    text = "x" + "".join(parts) + "y"
    offset = data.draw(st.integers(0, len(text) - 1).filter(lambda n: text[n].strip()))
    block = "|-\n" + "\n".join(f"    {line}" if line else "" for line in text.split("\n"))
    single = "'" + text.replace("'", "''").replace("\n", "\n\n  ") + "'"
    for written in (json.dumps(text), json.dumps(text, ensure_ascii=False), block, single):
        source = f"k:\n  deep: {written}\n"
        document = read_document(source, Findings("w.yaml"))
        value = document.at(["k", "deep"]) if document is not None else None
        if value is None or value.data != text:
            continue
        found = position_of(source, value.mark, text, offset)
        assert found is not None, written
        shown = source.split("\n")[found.line - 1][found.column - 1 :]
        assert shown.startswith((text[offset], f"\\{text[offset]}", "\\u00e9"))


def test_behind_the_last_word_is_a_place_too() -> None:
    assert position_of("x: a +\n", Mark(1, 4), "a +", 3) == Mark(1, 7)
    assert position_of("x: ''\n", Mark(1, 4), "", 0) is None
