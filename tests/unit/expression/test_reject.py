"""Bad rows: found in the one batch that failed, treated by policy, told without their values; others untouched."""

from __future__ import annotations

import json

import pyarrow as pa
import pytest

from dataflare.errors import DataError, WorkflowError
from dataflare.expression.chain import Chain, ChainResult, StepCount
from dataflare.expression.explain import reason
from dataflare.expression.step import Step
from dataflare.schema import Column, Schema

SCHEMA = Schema.of({"id": "int64", "s": "string", "t": "string"})
STEPS = [
    Step("cast", (("id", "id"), ("n", "cast(s as tinyint)"), ("t", "t"))),
    Step("positive", condition="100 // n > 0"),
    Step("date", (("id", "id"), ("n", "n"), ("d", "cast(t as date)"))),
]


def rows_of(*rows: tuple[str | None, str | None]) -> pa.Table:
    return pa.table({"id": range(len(rows)), "s": [s for s, _ in rows], "t": [t for _, t in rows]}).cast(
        SCHEMA.to_arrow()
    )


MIXED = rows_of(
    ("1", "2024-01-01"),
    ("secret", "2024-01-02"),
    ("2", "no date"),
    ("0", "2024-01-04"),
    ("-5", "never read"),
    ("300", "2024-01-06"),
    (None, "2024-01-07"),
    ("7", None),
)


def run(policy: str, rows: pa.Table = MIXED) -> ChainResult:
    return Chain(STEPS, SCHEMA, policies=[policy] * len(STEPS)).run(rows)


@pytest.mark.parametrize("policy", ["skip", "dead_letter"])
def test_bad_rows_are_left_out_and_handed_back_as_they_came_into_their_step(policy: str) -> None:
    result = run(policy)
    assert result.rows.column("id").to_pylist() == [0, 7]
    assert result.rows.schema.equals(Chain(STEPS, SCHEMA).outputs[-1].to_arrow())
    assert [(r.node, r.rows.column("id").to_pylist()) for r in result.rejected] == [
        ("cast", [1, 5]),
        ("positive", [3]),
        ("date", [2]),
    ]
    assert result.rejected[0].rows.schema.equals(SCHEMA.to_arrow())
    assert result.rejected[1].rows.schema.names == ["id", "n", "t"]
    assert [len(r.reasons) for r in result.rejected] == [2, 1, 1]
    assert result.counts == (StepCount(8, 6, 2), StepCount(6, 3, 1), StepCount(3, 2, 1))


def test_every_row_is_counted_once() -> None:
    result = run("skip")
    filtered = sum(c.rows_in - c.rows_out - c.rejected for c in result.counts)
    assert filtered + sum(c.rejected for c in result.counts) + result.rows.num_rows == MIXED.num_rows
    for before, after in zip(result.counts, result.counts[1:], strict=False):
        assert before.rows_out == after.rows_in


def test_a_failing_column_becomes_null_and_nothing_else_does() -> None:
    result = run("null")
    assert result.rejected == ()
    assert [(r["id"], r["n"], r["d"] and r["d"].day) for r in result.rows.to_pylist()] == [
        (0, 1, 1),
        (2, 2, None),
        (7, 7, None),
    ]


def test_fail_names_node_column_expression_reason_and_row_but_no_value() -> None:
    with pytest.raises(DataError) as caught:
        run("fail")
    text = str(caught.value)
    assert text.startswith("cast: column 'n': the text is not of type INT8 in cast(s as tinyint) (row 1 of its batch)")
    assert "secret" not in text
    assert "dead_letter" in caught.value.hint


def test_the_row_that_is_named_is_counted_in_the_batch_not_behind_filters() -> None:
    rows = rows_of(("-1", "x"), ("-1", "x"), ("1", "2024-01-01"), ("1", "bad"))
    with pytest.raises(DataError, match=r"date: column 'd': the text is not of type date .* \(row 3 of its batch\)"):
        run("fail", rows)


def test_policies_are_those_of_each_step() -> None:
    chain = Chain(STEPS, SCHEMA, policies=["null", "skip", "dead_letter"])
    result = chain.run(MIXED)
    assert [(r.node, r.rows.column("id").to_pylist()) for r in result.rejected] == [("positive", [3]), ("date", [2])]


def test_good_batches_before_and_after_a_bad_one_are_not_touched() -> None:
    chain = Chain(STEPS, SCHEMA, policies=["skip"] * 3)
    good = rows_of(("1", "2024-01-01"), ("-1", "anything"))
    before, _, after = chain.run(good), chain.run(MIXED), chain.run(good)
    assert before.rows.equals(after.rows)
    assert before.counts == after.counts


def test_the_fate_of_a_row_does_not_depend_on_the_rows_beside_it() -> None:
    """A batch with a bad row runs by another path; every row must fare there as it does alone."""
    steps = [
        Step("guard", condition="t <> 'skip' and cast(s as integer) >= 0"),
        Step("make", (("id", "id"), ("s", "s"), ("unused", "cast(t as date)"), ("v", "10 // cast(s as integer)"))),
        Step("pick", (("id", "id"), ("v", "v"))),
        Step("last", condition="v <> 5"),
    ]
    rows = rows_of(("1", "a"), ("bad", "skip"), ("bad", "b"), ("0", "c"), ("2", "d"), ("-3", "e"), ("10", "f"))
    whole = Chain(steps, SCHEMA, policies=["skip"] * 4)
    together = whole.run(rows)
    alone = [whole.run(rows.slice(i, 1)) for i in range(rows.num_rows)]
    assert together.rows.equals(pa.concat_tables([a.rows for a in alone]).combine_chunks())
    for n, count in enumerate(together.counts):
        assert count == StepCount(
            sum(a.counts[n].rows_in for a in alone),
            sum(a.counts[n].rows_out for a in alone),
            sum(a.counts[n].rejected for a in alone),
        )


def test_rows_of_all_kinds_are_right_around_many_bad_ones() -> None:
    rows = pa.table({"id": pa.array(range(20_000), pa.int64()), "s": [str(i) if i % 7 else "x" for i in range(20_000)]})
    steps = [Step("m", (("id", "id"), ("n", "cast(s as integer)")))]
    schema = Schema.of({"id": "int64", "s": "string"})
    result = Chain(steps, schema, policies=["dead_letter"]).run(rows)
    assert result.rows.column("n").to_pylist() == [i for i in range(20_000) if i % 7]
    assert result.rejected[0].rows.column("id").to_pylist() == list(range(0, 20_000, 7))


def test_two_bad_columns_of_a_row_reject_it_once() -> None:
    steps = [Step("m", (("a", "cast(s as integer)"), ("b", "cast(t as integer)")))]
    rows = rows_of(("x", "y"), ("1", "y"), ("1", "2"))
    result = Chain(steps, SCHEMA, policies=["dead_letter"]).run(rows)
    assert result.rejected[0].rows.column("id").to_pylist() == [0, 1]
    assert result.counts == (StepCount(3, 1, 2),)
    assert [str(r)[:10] for r in result.rejected[0].reasons.to_pylist()] == ["column 'a'", "column 'b'"]


def test_errors_tell_reason_node_and_row_and_hide_tagged_values() -> None:
    schema = Schema((Column("id", "int64"), Column("s", "string", tags=("pii",)), Column("t", "string")))
    steps = [Step("m", (("n", "cast(s as integer)"),))]
    rows = pa.table({"id": pa.array([1], pa.int64()), "s": ["secret"], "t": ["open"]})
    (rejected,) = Chain(steps, schema, policies=["dead_letter"]).run(rows).rejected
    errors = rejected.as_errors()
    assert errors.schema.names == ["error", "node", "row"]
    assert errors.column("node").to_pylist() == ["m"]
    assert json.loads(errors.column("row").to_pylist()[0]) == {"id": 1, "s": "***", "t": "open"}
    assert "secret" not in str(errors.to_pylist())


def test_an_expression_without_columns_fails_for_every_row() -> None:
    steps = [Step("m", (("id", "id"), ("n", "cast('x' || 'y' as integer)")))]
    result = Chain(steps, SCHEMA, policies=["skip"]).run(MIXED)
    assert result.rows.num_rows == 0
    assert result.counts == (StepCount(8, 0, 8),)


def test_an_unmet_policy_is_a_mistake_of_the_plan() -> None:
    with pytest.raises(WorkflowError):
        Chain(STEPS, SCHEMA, policies=["fail"])


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ("Conversion Error: Could not convert string 'it's to A' to INT32", "the text is not of type INT32"),
        (
            'Conversion Error: Could not convert string "x" to DECIMAL(12,2) when casting from source column s',
            "the text is not of type DECIMAL(12,2)",
        ),
        (
            "Conversion Error: Type INT64 with value 42 can't be cast because the value is out of range for the "  # noqa: ISC004
            "destination type INT8",
            "the INT64 value is out of range for INT8",
        ),
        ("Out of Range Error: Overflow in addition of INT64 (42 + 1)!", "overflow in addition of INT64"),
        ('Conversion Error: invalid date field format: "42", expected format is (YYYY-MM-DD)', "not of type date"),
        ('Invalid Input Error: Could not parse string "42" according to format specifier "%Y"\n42\n^', "format"),
        ("Conversion Error: Could not cast value 42 to DECIMAL(4,2)", "the value does not fit DECIMAL(4,2)"),
        ("Conversion Error: something unheard of 42", "the value cannot be converted"),
        ("Invalid Input Error: something unheard of 42", "the value is not valid input"),
    ],
)
def test_reasons_never_hold_a_value(message: str, words: str) -> None:
    import duckdb

    found = reason(duckdb.Error(message))
    assert words in found
    assert "42" not in found


@pytest.mark.parametrize(
    "columns",
    [
        (("a", "cast(s as tinyint) + 1"), ("b", "cast(s as tinyint) + 2")),
        (("a", "cast(s as tinyint) * cast(s as tinyint)"), ("b", "1")),
    ],
)
def test_a_cast_that_stands_there_twice_fails_for_its_row_alone(columns: tuple[tuple[str, str], ...]) -> None:
    result = Chain([Step("n", (("id", "id"), *columns))], SCHEMA, policies=["skip"]).run(MIXED)
    assert result.rows.column("id").to_pylist() == [0, 2, 3, 4, 6, 7]
    assert result.rejected[0].rows.column("id").to_pylist() == [1, 5]
