"""Conditions and columns over changes: deletes for what stops to match, unchanged values, rows that have no values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from dataflare.changes import OP, UNCHANGED, changing
from dataflare.errors import DataError, WorkflowError
from dataflare.expression.chain import Chain, StepCount
from dataflare.expression.session import quoted
from dataflare.expression.step import Step
from dataflare.schema import Column, Schema

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dataflare.expression.chain import ChainResult

TABLE = Schema((Column("id", "int64", nullable=False), *Schema.of({"s": "string", "n": "int64"})))
PLAIN = changing(TABLE, ("id",))
LEFT_OUT = changing(TABLE, ("id",), unchanged=["s"])


def change(op: str, number: int | None, s: str | None = None, n: int | None = None, *names: str) -> dict[str, Any]:
    return {"id": number, "s": s, "n": n, OP: op, UNCHANGED: list(names) or None}


CHANGES = [
    change("read", 1, "1", 5),
    change("insert", 2, "2", 0),
    change("update", 2, "3", 9),
    change("update", 1, "4", 1),
    change("delete", 1),
    change("truncate", None),
]


def ran(steps: Sequence[Step], rows: list[dict[str, Any]], schema: Schema = PLAIN, **options: Any) -> ChainResult:
    chain = Chain(steps, schema, **options)
    try:
        return chain.run(pa.Table.from_pylist(rows, schema.to_arrow()))
    finally:
        chain.close()


def told(result: ChainResult) -> list[tuple[str, Any]]:
    return list(zip(result.rows.column(OP).to_pylist(), result.rows.column("id").to_pylist(), strict=True))


def mapped(schema: Schema, **columns: str) -> tuple[tuple[str, str], ...]:
    return tuple(({n: quoted(n) for n in schema.names} | columns).items())


def test_an_update_that_does_not_match_becomes_a_delete_and_the_counts_balance() -> None:
    result = ran([Step("f", condition="n > 4")], CHANGES)
    assert told(result) == [("read", 1), ("update", 2), ("delete", 1), ("delete", 1), ("truncate", None)]
    assert result.counts == (StepCount(6, 5),)
    assert result.rows.column("n").to_pylist() == [5, 9, 1, None, None]


def test_filters_are_fused_with_what_stands_around_them() -> None:
    steps = [
        Step("m", mapped(PLAIN, n="n * 2")),
        Step("f", condition="n > 9 -- a comment"),
        Step("r", tuple((("key" if n == "id" else n), t) for n, t in mapped(PLAIN))),
        Step("g", condition="key = 2 or now() < timestamptz '1970-01-02'"),
    ]
    chain = Chain(steps, PLAIN, epoch_time=lambda: 86_400_000_000 * 365)
    result = chain.run(pa.Table.from_pylist(CHANGES, PLAIN.to_arrow()))
    assert result.rows.column("key").to_pylist() == [2, 1, 1, None]
    assert result.rows.column(OP).to_pylist() == ["update", "delete", "delete", "truncate"]
    assert result.counts == (StepCount(6, 6), StepCount(6, 5), StepCount(5, 5), StepCount(5, 4))
    assert sum(run._segment.computes for run in chain._runs) == 2, "a statement for each condition"
    chain.close()


@pytest.mark.parametrize(("policy", "rejected"), [("skip", 1), ("dead_letter", 1), ("null", 0)])
def test_a_condition_that_fails_follows_the_policy(policy: str, rejected: int) -> None:
    rows = [
        change("insert", 1, "7"),
        change("update", 2, "none"),
        change("update", 3, "1"),
        change("delete", 4, "none"),
    ]
    result = ran([Step("f", condition="cast(s as int) > 4")], rows, policies=[policy])
    failing = [("delete", 2)] if policy == "null" else []  # not met: it may have been met before
    assert told(result) == [("insert", 1), *failing, ("delete", 3), ("delete", 4)]
    assert result.counts == (StepCount(4, 3 + (policy == "null"), rejected),)
    assert [r.rows.column("id").to_pylist() for r in result.rejected] == [[2]] * rejected
    with pytest.raises(DataError, match=r"condition: .* in cast\(s as int\) > 4 \(row 1 of its batch\)"):
        ran([Step("f", condition="cast(s as int) > 4")], rows)


def test_a_value_that_means_nothing_may_fail() -> None:
    rows = [
        change("insert", 1, "1"),
        change("update", 1, "left out", None, "s"),
        change("delete", 1, "gone"),
        change("update", 1, "2"),
    ]
    step = Step("m", mapped(LEFT_OUT, s="cast(s as int)"))
    result = ran([step], rows, LEFT_OUT)
    assert result.rows.column("s").to_pylist() == [1, None, None, 2]
    assert result.rows.column(UNCHANGED).to_pylist() == [None, ["s"], None, None]
    with pytest.raises(DataError, match="row 2 of its batch"):
        ran([step], [*rows[:2], change("update", 1, "bad")], LEFT_OUT)


def test_the_key_of_a_delete_must_not_fail() -> None:
    schema = changing(Schema((Column("id", "string", nullable=False), Column("n", "int64"))), ("id",))
    step = Step("m", mapped(schema, id="cast(cast(id as int) as varchar)"))
    with pytest.raises(DataError, match="column 'id'"):
        ran([step], [{"id": "x", OP: "delete"}], schema)


def test_names_of_unchanged_values_follow_their_columns() -> None:
    columns = (("id", "id"), ("t", "s"), ("u", "upper(s)"), ("v", "s || id"), ("w", "n + 1"))
    reserved = tuple((n, quoted(n)) for n in LEFT_OUT.names if n.startswith("_"))
    rows = [change("update", 1, None, 3, "s"), change("update", 1, "a", 3)]
    result = ran([Step("m", (*columns, *reserved))], rows, LEFT_OUT)
    assert result.rows.column(UNCHANGED).to_pylist() == [["t", "u", "v"], None]
    assert result.rows.column("w").to_pylist() == [4, 4]
    without = tuple(c for c in columns if c[0] in ("id", "w"))
    assert ran([Step("m", (*without, *reserved))], rows, LEFT_OUT).rows.column(UNCHANGED).to_pylist() == [[], None]


def test_a_column_that_is_set_anew_is_not_unchanged_though_a_left_out_one_had_its_name() -> None:
    schema = Schema(tuple(c for c in LEFT_OUT if c.name != "s"))  # narrowed: nobody reads s
    step = Step("m", (*((n, quoted(n)) for n in schema.names), ("s", "'new'")))
    result = ran([step], [{"id": 1, OP: "update", UNCHANGED: ["s"]}], schema)
    assert result.rows.column(UNCHANGED).to_pylist() == [[]]
    overwritten = ran([Step("m", mapped(LEFT_OUT, s="'new'"))], [change("update", 1, None, 1, "s")], LEFT_OUT)
    assert overwritten.rows.column(UNCHANGED).to_pylist() == [[]]


@pytest.mark.parametrize("condition", ["s = 'a'", "n > 1", "_op = 'insert'", "id > 1 and n > 1"])
def test_a_condition_reads_the_key_alone_where_values_may_be_unchanged(condition: str) -> None:
    with pytest.raises(WorkflowError, match="may leave out as unchanged"):
        Chain([Step("f", condition=condition)], LEFT_OUT)
    assert told(ran([Step("f", condition="id = 1")], CHANGES[:4], LEFT_OUT))[:2] == [("read", 1), ("delete", 2)]
