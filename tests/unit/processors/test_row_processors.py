"""Mapping and filter: what they ask of the engine, and what comes out of it."""

from __future__ import annotations

from typing import Any, cast

import pyarrow as pa
import pytest
from pydantic import ValidationError

from dataflare.component import StageContext
from dataflare.errors import WorkflowError
from dataflare.expression.chain import Chain
from dataflare.plan import EdgeKind
from dataflare.processors.filter import Filter
from dataflare.processors.mapping import TRANSFORMS, Mapping
from dataflare.schema import Schema

SCHEMA = Schema.of(
    {
        "id": "int64",
        "Email": "string",
        "amount": "string",
        "user": "struct<name: string, address: struct<city: string>>",
        "order id": "int64",
    }
)
ROWS = pa.Table.from_pylist(
    [
        {
            "id": 1,
            "Email": " A@X.Com ",
            "amount": "10.5",
            "user": {"name": "Ann", "address": {"city": "Rome"}},
            "order id": 7,
        }
    ],
    schema=SCHEMA.to_arrow(),
)


def node(cls: Any, schema: Schema = SCHEMA, **config: Any) -> Any:
    component = cls(cls.spec.config(**config))
    component.context = StageContext(runtime=cast("Any", None), workflow="w", node="n", schemas={"0": schema})
    return component


def through(cls: Any, rows: pa.Table = ROWS, **config: Any) -> list[dict[str, Any]]:
    schema = Schema.from_arrow(rows.schema)
    step = node(cls, schema, **config).step([schema])
    found: list[dict[str, Any]] = Chain([step], schema).run(rows).rows.to_pylist()
    return found


def told(cls: Any, **config: Any) -> str:
    with pytest.raises(WorkflowError) as caught:
        through(cls, **config)
    return str(caught.value)


def test_set_keeps_the_place_of_a_column_and_puts_new_ones_last() -> None:
    (row,) = through(Mapping, set={"Email": "lower(trim(Email))", "new": "id + 1"})
    assert list(row) == ["id", "Email", "amount", "user", "order id", "new"]
    assert (row["Email"], row["new"]) == ("a@x.com", 2)


def test_set_takes_numbers_and_booleans_as_they_are() -> None:
    (row,) = through(Mapping, set={"n": 1, "x": 0.5, "yes": True, "nothing": None})
    assert (row["n"], float(row["x"]), row["yes"], row["nothing"]) == (1, 0.5, True, None)


def test_rename_drop_and_keep_follow_set() -> None:
    (row,) = through(
        Mapping,
        set={"v": "cast(amount as double)"},
        rename={"Email": "mail", "v": "value"},
        drop=["user"],
        keep=["value", "order id", "mail"],
    )
    assert row == {"value": 10.5, "order id": 7, "mail": " A@X.Com "}


def test_two_columns_may_swap_names() -> None:
    (row,) = through(Mapping, rename={"id": "amount", "amount": "id"}, keep=["id", "amount"])
    assert row == {"id": "10.5", "amount": 1}


def test_columns_that_carry_changes_always_stay() -> None:
    rows = pa.table({"id": [1], "x": [2], "_op": ["u"]})
    assert through(Mapping, rows, keep=["id"]) == [{"id": 1, "_op": "u"}]
    assert through(Mapping, rows, drop=["x", "_op"]) == [{"id": 1, "_op": "u"}]


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"drop": ["emial"]}, "drop: there is no column 'emial' (did you mean 'Email'?)"),
        ({"keep": ["nothing at all"]}, "keep: there is no column 'nothing at all' (known: id, Email"),
        ({"rename": {"idd": "x"}}, "rename: there is no column 'idd' (did you mean 'id'?)"),
        ({"rename": {"id": "amount"}}, "there is a column 'amount' already"),
        ({"rename": {"id": "x", "amount": "x"}}, "two columns would be called 'x'"),
        ({"drop": list(SCHEMA.names)}, "no column is left"),
        ({"set": {"x": "sum(id)"}}, "`aggregate` node"),
        ({"mappings": [{"source": "emial", "destination": "x"}]}, "there is no column 'emial'"),
        ({"mappings": [{"source": "id", "destination": "x", "transform": "lowercas"}]}, "did you mean 'lowercase'?"),
        ({"mappings": [{"source": "id", "destination": "id.x"}]}, "'id' is a column of type int64, not a struct"),
        (
            {"mappings": [{"source": "id", "destination": "a"}, {"source": "id", "destination": "a.b"}]},
            "both a value and a struct",
        ),
        ({"mappings": [{"source": "id", "destination": "a..b"}]}, "both a value and a struct"),
    ],
)
def test_mistakes_are_told_with_their_cure(config: dict[str, Any], words: str) -> None:
    assert words in told(Mapping, **config)


def test_an_unknown_setting_is_an_error() -> None:
    with pytest.raises(ValidationError):
        node(Mapping, sets={"a": "1"})


def test_the_older_form_sets_a_destination_and_keeps_the_source() -> None:
    (row,) = through(Mapping, mappings=[{"source": "Email", "destination": "mail", "transform": "lowercase"}])
    assert (row["mail"], row["Email"]) == (" a@x.com ", " A@X.Com ")


def test_a_dotted_destination_makes_a_nested_struct() -> None:
    lines = [
        {"source": "Email", "destination": "contact.email", "transform": "trim"},
        {"source": "id", "destination": "contact.ref.id"},
        {"source": "user.address.city", "destination": "contact.ref.city"},
        {"source": "order id", "destination": "contact.order no"},
    ]
    (row,) = through(Mapping, mappings=lines)
    assert row["contact"] == {"email": "A@X.Com", "ref": {"id": 1, "city": "Rome"}, "order no": 7}


def test_a_dotted_destination_adds_to_a_struct_that_is_there() -> None:
    lines = [
        {"source": "Email", "destination": "user.email"},
        {"source": "id", "destination": "user.address.zip"},
        {"source": "amount", "destination": "user.name"},
    ]
    (row,) = through(Mapping, mappings=lines)
    assert row["user"] == {"name": "10.5", "address": {"city": "Rome", "zip": 1}, "email": " A@X.Com "}


@pytest.mark.parametrize("word", [*TRANSFORMS, "to_number", "upper", "To_Integer"])
def test_every_transform_is_an_expression(word: str) -> None:
    source = {"abs": "id", "round": "id", "to_date": "d", "to_timestamp": "d", "to_boolean": "id"}.get(word, "amount")
    source = "id" if word == "To_Integer" else source
    rows = ROWS.append_column("d", pa.array(["2024-01-02"]))
    (row,) = through(Mapping, rows, mappings=[{"source": source, "destination": "out", "transform": word}])
    assert row["out"] is not None


def test_filter_keeps_rows_that_meet_its_condition() -> None:
    rows = pa.table({"n": [1, 2, None, 3]})
    assert through(Filter, rows, condition="n >= 2") == [{"n": 2}, {"n": 3}]
    assert len(through(Filter, rows, condition=True)) == 4


def test_a_condition_that_is_no_condition_is_told() -> None:
    assert "of type int64, not bool" in told(Filter, condition="id + 1")


def test_changes_are_not_filtered_without_making_deletes() -> None:
    with pytest.raises(WorkflowError, match="over changes is not there yet"):
        node(Filter, condition="true").step([Schema.of({"id": "int64", "_op": "string"})])


def test_what_they_accept_and_how_rows_leave_is_declared() -> None:
    assert Mapping.spec.traits.accepts == (EdgeKind.APPEND, EdgeKind.UPSERT, EdgeKind.RETRACT)
    assert Mapping.spec.traits.counts == ("skipped", "dead")
    assert Filter.spec.traits.counts == ("filtered", "skipped", "dead")
    for cls in (Mapping, Filter):
        for example in cls.spec.examples:
            cls.spec.config(**example)
