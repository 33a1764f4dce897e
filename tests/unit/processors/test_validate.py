"""Rules over rows: what meets them, what is said of what does not, and what is remembered."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from tests.unit.processors.shaping import opened, planned, through

from dataflare.batch import Batch
from dataflare.errors import DataError, WorkflowError
from dataflare.executor.snapshots import gathered_state
from dataflare.processors.validate import Validate
from dataflare.schema import Column, Schema

SCHEMA = Schema.of({"id": "int64", "s": "string", "at": "timestamp"})


def table(*rows: tuple[int | None, str | None]) -> pa.Table:
    return pa.Table.from_pylist([{"id": i, "s": s, "at": None} for i, s in rows], schema=SCHEMA.to_arrow())


def failing(rule: dict[str, Any], *rows: tuple[int | None, str | None]) -> list[int]:
    """Return the places of the rows that fail a rule."""
    found = through(Validate, table(*rows), SCHEMA, rules={"r": rule | {"severity": "warn"}}, warnings="w")
    return [n for n, row in enumerate(found) if row["w"] == "r"]


ROWS = ((1, "a"), (None, "b"), (3, None), (-4, "ab"), (1, "A"))


@pytest.mark.parametrize(
    ("rule", "places"),
    [
        ({"check": "id > 0"}, [3]),
        ({"check": "id > 0 or s = 'ab'"}, []),
        ({"check": "100 // id > 0"}, [3]),
        ({"check": "cast(s as bigint) is not null"}, [0, 1, 3, 4, 2]),
        ({"columns": "id", "not_null": True}, [1]),
        ({"columns": ["id", "s"], "not_null": True}, [1, 2]),
        ({"columns": "id", "min": 0}, [3]),
        ({"columns": "id", "min": -4, "max": 1}, [2]),
        ({"columns": "s", "min": "a", "max": "b"}, [4]),
        ({"columns": "s", "values": ["a", "ab", "it's"]}, [1, 4]),
        ({"columns": "id", "values": [1, 3]}, [3]),
        ({"columns": "s", "matches": "^[a-z]$"}, [3, 4]),
        ({"columns": "s", "matches": "'"}, [0, 1, 3, 4]),
        ({"columns": "id", "unique": True}, [4]),
        ({"columns": ["id", "s"], "unique": True}, []),
        ({"columns": "id", "unique": True, "where": "s <> 'a'"}, []),
        ({"columns": "id", "not_null": True, "where": "s = 'a'"}, []),
        ({"check": "false", "where": "id = 1"}, [0, 4]),
        ({"columns": "id", "unique": True, "not_null": True, "check": "id <> 3"}, [1, 2, 4]),
    ],
)
def test_which_rows_fail_a_rule(rule: dict[str, Any], places: list[int]) -> None:
    assert failing(rule, *ROWS) == sorted(places)


def test_a_row_is_told_all_rules_of_severity_error_that_it_fails() -> None:
    rules = {
        "known": {"columns": "id", "not_null": True, "message": "nobody knows it"},
        "short": {"check": "length(s) < 2"},
        "low": {"columns": "s", "max": "a", "severity": "warn"},
    }
    component = opened(Validate, SCHEMA, "dead_letter", rules=rules, warnings="w")
    errors, good = component.process(Batch(table((None, "xyz"), (1, "b"), (2, "a"), (3, "cc")), position={"at": 1}))
    assert errors.stream == "errors"
    assert errors.rows["error"].to_pylist() == [
        "rule 'known': nobody knows it; rule 'short': not length(s) < 2",
        "rule 'short': not length(s) < 2",
    ]
    assert [(r["id"], r["w"]) for r in good.rows.to_pylist()] == [(1, "low"), (2, None)]
    assert component.fates() == {"rule.known": 1, "rule.short": 2, "rule.low": 3}
    assert component.fates() == {"rule.known": 0, "rule.short": 0, "rule.low": 0}


def test_tagged_values_of_rejected_rows_are_hidden() -> None:
    schema = Schema((Column("id", "int64"), Column("mail", "string", tags=("pii",))))
    rows = pa.Table.from_pylist([{"id": 1, "mail": "ann@example.org"}], schema=schema.to_arrow())
    component = opened(Validate, schema, "dead_letter", rules={"mail": {"columns": "mail", "matches": "^x"}})
    errors, _ = component.process(Batch(rows))
    assert "ann" not in str(errors.rows.to_pylist())


def test_skipped_rows_are_counted() -> None:
    component = opened(Validate, SCHEMA, "skip", rules={"r": {"columns": "id", "min": 2}})
    (good,) = component.process(Batch(table((1, "a"), (2, "b"))))
    assert good.num_rows == 1
    assert component.fates() == {"rule.r": 1, "skipped": 1}


@pytest.mark.parametrize(("severity", "on_error"), [("fail", "dead_letter"), ("fail", "skip"), ("error", "fail")])
def test_a_rule_may_end_the_run(severity: str, on_error: str) -> None:
    component = opened(Validate, SCHEMA, on_error, rules={"r": {"check": "id < 2", "severity": severity}})
    list(component.process(Batch(table((1, "a")))))
    with pytest.raises(DataError, match=r"rule 'r': not id < 2 \(row 1 of its batch\)") as caught:
        list(component.process(Batch(table((1, "a"), (2, "b"), (3, "c")))))
    assert caught.value.place.path == "n"


def duplicates(numbers: list[int], within: int | None) -> list[bool]:
    """Tell of each number whether it was let pass less than `within` + 1 numbers before."""
    passed: dict[int, int] = {}
    found = []
    for at, number in enumerate(numbers):
        again = number in passed and (within is None or at - passed[number] <= within)
        found.append(again)
        if not again:
            passed[number] = at
    return found


@pytest.mark.once
@settings(deadline=None, max_examples=40)
@given(
    numbers=st.lists(st.integers(0, 8), min_size=1, max_size=60),
    size=st.integers(1, 20),
    killed=st.integers(0, 60),
    within=st.one_of(st.none(), st.integers(1, 10)),
)
def test_duplicates_are_told_across_batches_and_kills(
    numbers: list[int], size: int, killed: int, within: int | None
) -> None:
    rule = {"columns": "id", "unique": True, "severity": "warn"} | ({"within": within} if within else {})
    config = {"rules": {"once": rule}, "warnings": "w"}
    component = opened(Validate, SCHEMA, **config)
    found = []
    for start in range(0, len(numbers), size):
        if start // size == killed // size:
            state = component.snapshot()
            component = opened(Validate, SCHEMA, **config)
            component.restore(gathered_state([state]))
        (out,) = component.process(Batch(table(*((n, "x") for n in numbers[start : start + size]))))
        found += [value is not None for value in out.rows["w"].to_pylist()]
    assert found == duplicates(numbers, within)


@pytest.mark.parametrize(
    ("config", "totals", "words"),
    [
        ({"expect": {"rows": {"min": 2}}}, {"in": 1, "out": 1}, "1 rows came in, fewer than 2"),
        ({"expect": {"rows": {"max": 2}}}, {"in": 3, "out": 3}, "3 rows came in, more than 2"),
        ({"expect": {"passed": {"min": 2}}}, {"in": 3, "out": 1, "dead": 2}, "1 rows passed, fewer than 2"),
        ({"expect": {"rejected_max": "50%"}}, {"in": 4, "out": 1, "skipped": 3}, "3 of 4 rows were rejected"),
        (
            {"rules": {"r": {"check": "true", "rate_max": 0.1}}},
            {"in": 10, "rule.r": 2},
            "2 of 10 rows fail the rule 'r'",
        ),
        ({"expect": {"rows": {"min": 1}}}, {}, "0 rows came in"),
    ],
)
def test_what_is_expected_of_all_rows_is_judged_by_their_counts(
    config: dict[str, Any], totals: dict[str, int], words: str
) -> None:
    component = opened(Validate, SCHEMA, **config)
    with pytest.raises(DataError, match=words):
        component.verdict(totals)


def test_counts_that_are_as_expected_are_good() -> None:
    expect = {"rows": {"min": 1, "max": 4}, "passed": {"min": 2}, "rejected_max": "50%"}
    rules = {"r": {"check": "true", "rate_max": "50%"}}
    opened(Validate, SCHEMA, rules=rules, expect=expect).verdict({"in": 4, "out": 2, "dead": 2, "rule.r": 2})
    opened(Validate, SCHEMA, rules=rules).verdict({})


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ({"columns": "nope", "not_null": True}, "rule 'r': columns: there is no column 'nope'"),
        ({"check": "nope > 1"}, "no column 'nope'"),
        ({"check": "sum(id) > 1"}, "looks at many rows"),
        ({"check": "id +"}, "syntax error"),
        ({"columns": "id", "max": "many"}, "many"),
        ({"columns": "s", "matches": "("}, "missing"),
        ({"check": "true", "where": "nope"}, "no column 'nope'"),
    ],
)
def test_mistakes_are_told_when_planning(rule: dict[str, Any], words: str) -> None:
    with pytest.raises(WorkflowError, match=words):
        planned(Validate, SCHEMA, rules={"r": rule})


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({}, "write rules, or what to expect"),
        ({"rules": {"r": {}}}, "write a check"),
        ({"rules": {"a,b": {"check": "true"}}}, "no name of a rule"),
        ({"rules": {"r": {"columns": "id"}}}, "columns go with"),
        ({"rules": {"r": {"not_null": True}}}, "columns go with"),
        ({"rules": {"r": {"check": "true", "within": 5}}}, "within goes with unique"),
        ({"rules": {n: {"columns": "id", "unique": True} for n in "ab"}}, "one rule of a node may be unique"),
        ({"expect": {"rows": {"min": 2, "max": 1}}}, "min is greater than max"),
        ({"expect": {"rejected_max": "101%"}}, "between 0% and 100%"),
    ],
)
def test_settings_that_mean_nothing_are_told(config: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Validate.spec.config(**config)


def test_rows_meet_where_they_may_be_equal_and_the_order_matters_only_then() -> None:
    unique = opened(Validate, SCHEMA, rules={"r": {"columns": ["id", "s"], "unique": True}})
    assert unique.keys() == ("id", "s")
    assert "order" in unique.varies()
    other = opened(Validate, SCHEMA, rules={"r": {"check": "true"}})
    assert other.keys() == ()
    assert other.varies() == ""


def test_a_column_of_warnings_must_be_new() -> None:
    with pytest.raises(WorkflowError, match="two columns would be called 'S'"):
        planned(Validate, SCHEMA, rules={"r": {"check": "true"}}, warnings="S")


def test_columns_of_like_names_do_not_come_in_the_way() -> None:
    rows = [{"__rule0": 1, "__rule_": 2}]
    assert through(Validate, rows, rules={"r": {"check": "__rule0 = 1"}}) == rows


def test_its_examples_are_settings() -> None:
    for example in Validate.spec.examples:
        Validate.spec.config(**example)
