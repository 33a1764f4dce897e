"""Chains: planned types, exact counts, order, columns that pass by untouched, and the epoch's time."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from dataflare.errors import DataError, WorkflowError
from dataflare.expression.chain import Chain, StepCount
from dataflare.expression.session import quoted
from dataflare.expression.step import Step
from dataflare.expression.typed import typed
from dataflare.schema import Column, Schema

if TYPE_CHECKING:
    from collections.abc import Sequence

SCHEMA = Schema.of({"id": "int64", "s": "string", "amount": "decimal(12,2)", "ts": "timestamp", "k": "string"})


def mapped(schema: Schema, **columns: str) -> tuple[tuple[str, str], ...]:
    """Return a select list: all columns of the schema, some set anew."""
    return tuple(({n: quoted(n) for n in schema.names} | columns).items())


def rows_of(count: int) -> pa.Table:
    return pa.table(
        {
            "id": pa.array(range(count), pa.int64()),
            "s": [str(i) for i in range(count)],
            "amount": pa.array([Decimal(i) / 4 for i in range(count)], pa.decimal128(12, 2)),
            "ts": pa.array([i * 1_000_000 for i in range(count)], pa.timestamp("us", "UTC")),
            "k": ["abc"[i % 3] for i in range(count)],
        }
    )


def statements(chain: Chain) -> list[str]:
    return [r._segment.sql(0) for r in chain._runs if r._segment.computes]


STEPS = [
    Step("map", mapped(SCHEMA, amount="amount * 2", n="cast(s as integer)")),
    Step("even", condition="n % 2 = 0 and amount >= 0"),
    Step("pick", (("id", "id"), ("m", "n + 1"), ("k", "k"))),
    Step("a", condition="k = 'a'"),
    Step("rename", (("key", "id"), ("m", "m"))),
]


def test_counts_are_exact_for_each_step_of_a_fused_chain() -> None:
    chain = Chain(STEPS, SCHEMA)
    result = chain.run(rows_of(30))
    assert result.counts == (StepCount(30, 30), StepCount(30, 15), StepCount(15, 15), StepCount(15, 5), StepCount(5, 5))
    assert result.rows.to_pydict() == {"key": [0, 6, 12, 18, 24], "m": [1, 7, 13, 19, 25]}
    assert len(statements(chain)) == 2


def test_a_statement_has_at_most_one_condition() -> None:
    steps = [Step(f"f{n}", condition=f"id <> {n}") for n in range(3)]
    chain = Chain(steps, SCHEMA)
    assert [sql.count("where") for sql in statements(chain)] == [1, 1, 1]
    assert [c.rows_out for c in chain.run(rows_of(5)).counts] == [4, 3, 2]


def test_a_chain_that_only_picks_and_renames_runs_no_statement_and_copies_nothing() -> None:
    chain = Chain([Step("m", (("b", "s"), ("a", "id")))], SCHEMA)
    rows = rows_of(10)
    result = chain.run(rows)
    assert statements(chain) == []
    assert result.rows.column("a").chunk(0).buffers()[1].address == rows.column("id").chunk(0).buffers()[1].address


def test_columns_that_no_expression_reads_do_not_enter_the_statement() -> None:
    chain = Chain([Step("m", mapped(SCHEMA, up="upper(k)"))], SCHEMA)
    assert chain._runs[0]._reads == ["k"]
    rows = rows_of(10)
    out = chain.run(rows).rows
    assert out.column("s").chunk(0).buffers()[2].address == rows.column("s").chunk(0).buffers()[2].address


def test_computed_columns_that_are_dropped_again_are_not_computed() -> None:
    steps = [Step("m", mapped(SCHEMA, x="upper(s)", y="lower(k)")), Step("d", (("id", "id"), ("y", "y")))]
    (sql,) = statements(Chain(steps, SCHEMA))
    assert "upper" not in sql
    assert "lower" in sql


def test_a_filter_that_keeps_all_rows_hands_the_same_columns_on() -> None:
    rows = rows_of(10)
    out = Chain([Step("f", condition="id >= 0")], SCHEMA).run(rows).rows
    assert out.column("s").chunk(0).buffers()[2].address == rows.column("s").chunk(0).buffers()[2].address


def test_rows_keep_their_order_beside_computed_columns_over_many_chunks() -> None:
    rows = pa.concat_tables([rows_of(700).slice(n * 7, 7) for n in range(100)] * 40)
    steps = [Step("m", mapped(SCHEMA, twice="id * 2")), Step("f", condition="twice % 5 <> 0")]
    out = Chain(steps, SCHEMA).run(rows).rows
    expected = [i for i in rows.column("id").to_pylist() if i * 2 % 5]
    assert out.column("id").to_pylist() == expected
    assert out.column("twice").to_pylist() == [2 * i for i in expected]
    assert out.column("s").to_pylist() == [str(i) for i in expected]


@pytest.mark.parametrize("count", [0, 1, 2048, 5000])
def test_batches_of_any_size_come_out_in_the_planned_schema(count: int) -> None:
    chain = Chain(STEPS, SCHEMA)
    out = chain.run(rows_of(count)).rows
    assert out.schema.equals(chain.outputs[-1].to_arrow())
    assert out.num_rows == len([i for i in range(count) if i % 2 == 0 and i % 3 == 0])


def test_outputs_are_planned_without_data() -> None:
    assert [str(o) for o in Chain(STEPS, SCHEMA).outputs] == [
        "id int64, s string, amount decimal(18,2), ts timestamp, k string, n int32",
        "id int64, s string, amount decimal(18,2), ts timestamp, k string, n int32",
        "id int64, m int32, k string",
        "id int64, m int32, k string",
        "key int64, m int32",
    ]


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("ts + interval 1 day", "timestamp", None),
        ("cast(ts as date)", "date", None),
        ("cast(ts as timestamp)", "datetime", None),
        ("amount / 3", "float64", None),
        ("amount * amount", "decimal(18,4)", Decimal("0.0625")),
        ("[id, id]", "list<int64>", [1, 1]),
        ("{'a': id, 'b': [s]}", "struct<a: int64, b: list<string>>", {"a": 1, "b": ["1"]}),
        ("map {'a': id}", "map<string, int64>", [("a", 1)]),
        ("cast(id as hugeint)", "decimal(38,0)", Decimal(1)),
        ("cast(k as enum('a', 'b', 'c'))", "string", "b"),
        ("timestamp_ns '2020-01-01 00:00:00.123456789'", "datetime", None),
        ("cast('{}' as json)", "string", "{}"),
        ("cast(k as blob)", "binary", b"b"),
        ("time '10:00'", "time", None),
        ("interval 1 hour", "interval", None),
        ("id = 1", "bool", True),
        ("cast(id as utinyint)", "uint8", 1),
        ("null", "null", None),
        ("'constant'", "string", "constant"),
    ],
)
def test_types_come_out_as_planned(text: str, kind: str, value: object) -> None:
    chain = Chain([Step("m", (("c", text),))], SCHEMA)
    assert chain.outputs[0]["c"].type == kind
    out = chain.run(rows_of(2)).rows
    assert out.schema.equals(chain.outputs[0].to_arrow())
    assert value is None or out.column("c").to_pylist()[1] == value


def test_a_column_keeps_its_nullability_and_tags_and_hands_tags_to_what_is_made_of_it() -> None:
    schema = Schema((Column("id", "int64", nullable=False), Column("mail", "string", tags=("pii",))))
    (after,), problems = typed([Step("m", (("id", "id"), ("to", "mail"), ("n", "length(mail)"), ("o", "1")))], schema)
    assert problems == []
    assert after.columns == (
        Column("id", "int64", nullable=False),
        Column("to", "string", tags=("pii",)),
        Column("n", "int64", tags=("pii",)),
        Column("o", "int32", nullable=False),
    )


def test_swapped_names_are_not_mixed_up() -> None:
    schema = Schema.of({"a": "int64", "b": "int64"})
    steps = [Step("swap", (("a", "b"), ("b", "a"))), Step("sum", mapped(schema, c="a * 10 + b", a="b + 0"))]
    out = Chain(steps, schema).run(pa.table({"a": [1], "b": [2]})).rows
    assert out.to_pylist() == [{"a": 1, "b": 1, "c": 21}]


def test_an_expression_reads_the_input_not_what_the_same_node_makes() -> None:
    schema = Schema.of({"a": "int64"})
    out = Chain([Step("m", (("a", "a + 1"), ("b", "a * 10")))], schema).run(pa.table({"a": [1]})).rows
    assert out.to_pylist() == [{"a": 2, "b": 10}]
    with pytest.raises(WorkflowError, match="made by this node itself"):
        Chain([Step("m", (("x", "a + 1"), ("y", "x * 10")))], schema)


def test_a_condition_reads_the_input_of_its_step() -> None:
    schema = Schema.of({"a": "int64"})
    out = Chain([Step("both", (("a", "a + 1"),), condition="a = 1")], schema).run(pa.table({"a": [1, 2, 0]})).rows
    assert out.to_pylist() == [{"a": 2}]


def test_names_that_only_quoting_makes_names_work() -> None:
    schema = Schema.of([('a "b"', "int64"), ("select", "int64"), ("__row", "int64"), ("c0", "int64")])
    steps = [Step("m", mapped(schema, x='"a ""b""" + "select" + __row + c0')), Step("f", condition='"select" > 1')]
    out = Chain(steps, schema).run(pa.table({'a "b"': [1, 1], "select": [1, 2], "__row": [3, 3], "c0": [4, 4]}))
    assert out.rows.column("x").to_pylist() == [10]


def test_names_that_differ_in_case_pass_by_but_are_not_mixed() -> None:
    schema = Schema.of({"a": "int64", "A": "int64", "b": "int64"})
    rows = pa.table({"a": [1], "A": [2], "b": [3]})
    assert Chain([Step("m", mapped(schema, c="b + 1"))], schema).run(rows).rows.to_pylist() == [
        {"a": 1, "A": 2, "b": 3, "c": 4}
    ]
    with pytest.raises(WorkflowError, match="differ only in upper and lower case"):
        Chain([Step("m", mapped(schema, c='a + "A"'))], schema)


def test_clocks_stand_for_the_epoch_and_move_on_with_it() -> None:
    epoch = [1_700_000_000_000_000]
    steps = [Step("m", (("seen", "now()"), ("day", "current_date"))), Step("f", condition="seen <= now()")]
    chain = Chain(steps, SCHEMA, epoch_time=lambda: epoch[0])
    first = [chain.run(rows_of(2)).rows.to_pylist() for _ in range(2)]
    assert first[0] == first[1]
    assert first[0][0]["seen"].isoformat() == "2023-11-14T22:13:20+00:00"
    epoch[0] += 86_400_000_000
    assert chain.run(rows_of(1)).rows.to_pylist()[0]["day"].isoformat() == "2023-11-15"


@pytest.mark.parametrize(
    ("columns", "changed"),
    [
        ({"id": pa.array([1, 2], pa.int32())}, "narrower"),
        ({"s": pa.array(["1", "2"], pa.string_view())}, "a view"),
        ({"s": pa.array(["1", "2"]).dictionary_encode()}, "a dictionary"),
        ({"s": pa.array(["1", "2"], pa.large_string())}, "large"),
        ({"ts": pa.array([1, 2], pa.timestamp("ns", "Europe/Berlin"))}, "another zone and unit"),
        ({"extra": pa.array([1, 2])}, "one more"),
    ],
)
def test_rows_in_a_nearly_planned_schema_are_cast_once(columns: dict[str, pa.Array], changed: str) -> None:
    assert changed
    rows = rows_of(2)
    for name, column in columns.items():
        at = rows.schema.get_field_index(name)
        rows = rows.set_column(at, name, column) if at >= 0 else rows.add_column(0, name, column)
    out = Chain([Step("m", mapped(SCHEMA, x="id || s || ts"))], SCHEMA).run(rows).rows
    assert out.schema.names == [*SCHEMA.names, "x"]
    assert out.num_rows == 2


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (rows_of(2).drop_columns(["k"]), "'k' is planned but not in the data"),
        (rows_of(2).set_column(0, "id", pa.array([1, 2**63], pa.uint64())), "does not fit int64"),
        (rows_of(2).set_column(0, "id", pa.array([["secret"], []])), "does not fit int64"),
    ],
)
def test_rows_that_cannot_be_what_is_planned_are_refused(rows: pa.Table, words: str) -> None:
    with pytest.raises(DataError, match=words) as caught:
        Chain([Step("f", condition="id > 0")], SCHEMA).run(rows)
    assert "secret" not in str(caught.value)


def test_nulls_where_none_may_be_are_refused() -> None:
    schema = Schema((Column("id", "int64", nullable=False),))
    with pytest.raises(DataError, match="holds nulls"):
        Chain([Step("f", condition="id > 0")], schema).run(pa.table({"id": [1, None]}))


def test_a_filter_keeps_bad_rows_from_what_reads_a_field_behind_it() -> None:
    schema = Schema.of({"k": "string", "user": "struct<id: int64, age: string>"})
    steps = [Step("f", condition="k = 'a'"), Step("m", columns=(("age", "cast(user.age as int64)"),))]
    rows = pa.table(
        {"k": ["a", "b"], "user": [{"id": 1, "age": "7"}, {"id": 2, "age": "old"}]}, schema=schema.to_arrow()
    )
    assert Chain(steps, schema).run(rows).rows.to_pylist() == [{"age": 7}]


def test_a_null_condition_filters_the_row() -> None:
    result = Chain([Step("f", condition="k = 'a'")], SCHEMA).run(
        rows_of(3).set_column(4, "k", pa.array(["a", None, "b"]))
    )
    assert result.counts == (StepCount(3, 1),)


def problems_of(steps: Sequence[Step], schema: Schema = SCHEMA) -> list[tuple[str, str, str]]:
    return [(p.node, p.column, p.error.what.split("\n")[0]) for p in typed(steps, schema)[1]]


def test_all_mistakes_are_told_once_with_their_node_and_column() -> None:
    steps = [
        Step("one", (("id", "id"), ("a", "idd + 1"), ("b", "upperr(s)"), ("c", "s > 5"), ("good", "id + 1"))),
        Step("two", (("d", "a + 1"), ("e", "good * 2"), ("f", "sum(good)"))),
        Step("three", condition="e"),
        Step("four", condition="d > 1 and nothing"),
    ]
    assert problems_of(steps) == [
        ("one", "a", "there is no column 'idd'"),
        ("one", "b", "there is no function upperr"),
        ("one", "c", "cannot compare values of type VARCHAR and type INTEGER - an explicit cast is required"),
        ("two", "f", "sum() looks at many rows"),
        ("three", "", "the condition is of type int64, not bool: e"),
        ("four", "", "there is no column 'nothing'"),
    ]


def test_columns_made_twice_and_none_at_all_are_mistakes() -> None:
    assert problems_of([Step("m", (("a", "id"), ("a", "s")))]) == [("m", "a", "column 'a' is made twice")]
    assert problems_of([Step("m", ())]) == [("m", "", "no column is left")]


def test_a_chain_with_a_mistake_is_not_built_and_names_the_node() -> None:
    with pytest.raises(WorkflowError) as caught:
        Chain([Step("m", (("a", "nope"),))], SCHEMA)
    assert caught.value.place.path == "m"


def test_a_step_without_columns_and_condition_passes_rows_on() -> None:
    result = Chain([Step("nothing")], SCHEMA).run(rows_of(3))
    assert result.rows.equals(rows_of(3))
    assert result.counts == (StepCount(3, 3),)


def test_as_many_policies_as_steps() -> None:
    with pytest.raises(WorkflowError, match="2 error policies"):
        Chain([Step("nothing")], SCHEMA, policies=["fail", "fail"])
