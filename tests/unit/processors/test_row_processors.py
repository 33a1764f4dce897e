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
from dataflare.schema import Column, Schema

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
        ({"mappings": [{"source": "id", "destination": "id.x"}]}, "'id' is of type int64, not a struct"),
        (
            {"mappings": [{"source": "id", "destination": "a"}, {"source": "id", "destination": "a.b"}]},
            "both a value and a struct",
        ),
        ({"mappings": [{"source": "id", "destination": "a..b"}]}, "mappings: 'a..b' has an empty part"),
        ({"set": {"a": "1", "a.b": "2"}}, "set: 'a.b' makes 'b' both a value and a struct"),
        ({"set": {"user.name.first": "1"}}, "set: 'user.name' is of type string, not a struct"),
        ({"drop": ["user.nam"]}, "drop: there is no field 'nam' in 'user' (did you mean 'name'?)"),
        ({"drop": ["user.address.city"], "keep": ["user.address"]}, "a struct would have no fields"),
        ({"rename": {"user.name": "user.address"}}, "there is a column 'address' already"),
        ({"rename": {"id": "user.name"}}, "there is a column 'user.name' already"),
        ({"rename": {"user.name": "v", "id": "v"}}, "two columns would be called 'v'"),
        ({"set": {"v": "user"}, "drop": ["v.name"]}, "drop: 'v' is made by an expression of this node"),
        ({"keep": ["tmp_*"]}, "keep: no column is 'tmp_*'"),
    ],
)
def test_mistakes_are_told_with_their_cure(config: dict[str, Any], words: str) -> None:
    assert words in told(Mapping, **config)


def test_every_setting_of_a_mapping_is_looked_at() -> None:
    step = node(Mapping, drop=["x", "y*"], keep=["z", "id"], rename={"w": "v"}, set={"id": "id + 1"}).step([SCHEMA])
    assert [(p.place.path, p.what) for p in step.problems] == [
        ("w", "rename: there is no column 'w'"),
        ("x", "drop: there is no column 'x'"),
        ("y*", "drop: no column is 'y*'"),
        ("z", "keep: there is no column 'z'"),
    ]
    assert step.columns == (("id", "id + 1"),)


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


def test_set_makes_and_changes_fields() -> None:
    made = {"user.name": "upper(user.name)", "user.address.zip": "id", "new.a.b": 1}
    (row,) = through(Mapping, set=made, keep=["user", "new"])
    assert row == {"user": {"name": "ANN", "address": {"city": "Rome", "zip": 1}}, "new": {"a": {"b": 1}}}


def test_fields_get_other_names_and_places_at_once() -> None:
    names = {"user.name": "user.full", "user.address.city": "city", "id": "user.id", "Email": "contact.mail"}
    (row,) = through(Mapping, set={"user.address.zip": "7"}, rename=names, drop=["amount", "order id"])
    assert list(row) == ["user", "city", "contact"]
    assert row == {
        "user": {"full": "Ann", "address": {"zip": 7}, "id": 1},
        "city": "Rome",
        "contact": {"mail": " A@X.Com "},
    }


def test_fields_may_swap_names() -> None:
    (row,) = through(Mapping, rename={"user.name": "user.address", "user.address": "user.name"}, keep=["user"])
    assert row == {"user": {"address": "Ann", "name": {"city": "Rome"}}}


def test_fields_are_dropped_and_kept_by_path() -> None:
    (row,) = through(Mapping, drop=["user.address", "Em*"])
    assert list(row) == ["id", "amount", "user", "order id"]
    assert row["user"] == {"name": "Ann"}
    (row,) = through(Mapping, keep=["user.address.city", "id", "user.name"])
    assert row == {"user": {"address": {"city": "Rome"}, "name": "Ann"}, "id": 1}
    (row,) = through(Mapping, keep=["user", "user.name", "o*"])
    assert row == {"user": {"name": "Ann", "address": {"city": "Rome"}}, "order id": 7}


def test_a_struct_that_is_null_stays_null_unless_a_field_is_set_in_it() -> None:
    kind = pa.struct({"a": pa.struct({"x": pa.int64(), "y": pa.int64()}), "b": pa.int64()})
    rows = pa.table({"s": pa.array([None, {"a": None, "b": 1}, {"a": {"x": 2, "y": 3}, "b": 4}], kind)})
    assert [r["s"] for r in through(Mapping, rows, drop=["s.a.y"])] == [
        None,
        {"a": None, "b": 1},
        {"a": {"x": 2}, "b": 4},
    ]
    assert [r["s"] for r in through(Mapping, rows, rename={"s.b": "s.c"})][:2] == [None, {"a": None, "c": 1}]
    assert [r["s"] for r in through(Mapping, rows, keep=["s.a.x"])] == [None, {"a": None}, {"a": {"x": 2}}]
    assert through(Mapping, rows, set={"s.c": "1"})[0]["s"] == {"a": None, "b": None, "c": 1}


def test_a_column_whose_name_has_dots_is_that_column() -> None:
    rows = pa.table({"a.b": [1], "a": pa.array([{"b": 2}], pa.struct({"b": pa.int64()}))})
    assert through(Mapping, rows, set={"a.b": '"a.b" + 10'}) == [{"a.b": 11, "a": {"b": 2}}]
    assert through(Mapping, rows, drop=["a.b"]) == [{"a": {"b": 2}}]


def test_a_list_is_not_looked_into() -> None:
    rows = pa.table({"l": pa.array([[{"a": 1}]])})
    with pytest.raises(WorkflowError, match=r"drop: 'l' is of type .*, not a struct .explode the list first"):
        through(Mapping, rows, drop=["l.a"])


def test_columns_that_are_not_touched_pass_by_and_keep_their_tags() -> None:
    schema = Schema((Column("user", "struct<name: string, age: int64>", tags=("pii",)), Column("n", "int64")))
    step = node(Mapping, schema, rename={"user.age": "age"}).step([schema])
    assert dict(step.columns or ())["n"] == '"n"'
    after = Chain([step], schema).outputs[-1]
    assert [(c.name, c.tags) for c in after] == [("user", ("pii",)), ("n", ()), ("age", ("pii",))]


@pytest.mark.parametrize("word", [*TRANSFORMS, "to_number", "upper", "To_Integer"])
def test_every_transform_is_an_expression(word: str) -> None:
    source = {
        "abs": "id",
        "round": "id",
        "floor": "id",
        "ceil": "id",
        "to_date": "d",
        "to_timestamp": "d",
        "to_boolean": "id",
    }.get(word, "amount")
    source = "id" if word == "To_Integer" else source
    rows = ROWS.append_column("d", pa.array(["2024-01-02"]))
    (row,) = through(Mapping, rows, mappings=[{"source": source, "destination": "out", "transform": word}])
    assert row["out"] is not None


def test_transforms_follow_one_another() -> None:
    rows = pa.table({"x": ["  ÉCOLE   no  7 ", " ", None]})
    lines = [
        {"source": "x", "destination": "a", "transform": ["squeeze", "without_accents", "Capitalize"]},
        {"source": "x", "destination": "b", "transform": ["digits", "to_int"]},
        {"source": "x", "destination": "c", "transform": "empty_to_null"},
    ]
    found = through(Mapping, rows.slice(0, 1), mappings=lines) + through(Mapping, rows.slice(1), mappings=lines[2:])
    assert [(r.get("a"), r.get("b"), r["c"]) for r in found] == [
        ("Ecole no 7", 7, "ÉCOLE   no  7"),
        (None, None, None),
        (None, None, None),
    ]


def test_filter_keeps_rows_that_meet_its_condition() -> None:
    rows = pa.table({"n": [1, 2, None, 3]})
    assert through(Filter, rows, condition="n >= 2") == [{"n": 2}, {"n": 3}]
    assert len(through(Filter, rows, condition=True)) == 4


def test_a_condition_that_is_no_condition_is_told() -> None:
    assert "of type int64, not bool" in told(Filter, condition="id + 1")


def test_what_they_accept_and_how_rows_leave_is_declared() -> None:
    assert Mapping.spec.traits.accepts == (EdgeKind.APPEND, EdgeKind.UPSERT, EdgeKind.RETRACT)
    assert Mapping.spec.traits.counts == ("skipped", "dead")
    assert Filter.spec.traits.counts == ("filtered", "skipped", "dead")
    for cls in (Mapping, Filter):
        for example in cls.spec.examples:
            cls.spec.config(**example)
