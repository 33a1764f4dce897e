"""What nodes do with deletes, truncations, unchanged values and former rows, each for itself."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from dataflare.batch import Batch
from dataflare.changes import BEFORE, OP, UNCHANGED, changing
from dataflare.errors import DataError, InvalidWorkflowError
from dataflare.processors.enrichment import Enrichment
from dataflare.processors.flatten import Flatten
from dataflare.processors.mask import Mask
from dataflare.processors.parse import Parse
from dataflare.processors.python import Python
from dataflare.processors.route import Route
from dataflare.processors.sample import Sample
from dataflare.processors.union import Union
from dataflare.processors.validate import Validate
from dataflare.schema import Column, Schema
from dataflare.testing.stage import staged

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dataflare.component import Processor

Row = dict[str, Any]
TABLE = Schema((Column("id", "int64", nullable=False), *Schema.of({"s": "string", "n": "int64"})))
PLAIN, LEFT_OUT = changing(TABLE, ("id",)), changing(TABLE, ("id",), unchanged=["s"])
GONE = [{"id": 9, OP: "delete"}, {"id": None, OP: "truncate"}]


def change(op: str, number: int | None, s: str | None = None, n: int | None = None, *names: str) -> Row:
    return {"id": number, "s": s, "n": n, OP: op, UNCHANGED: list(names) or None}


def opened(kind: type[Processor[Any]], config: Row, schema: Schema = PLAIN, **context: Any) -> Any:
    component: Any = staged(kind(kind.spec.config(**config)), schemas={"0": schema}, key=("id",), **context)
    component.outputs([schema])
    component.open()
    return component


def through(
    kind: type[Processor[Any]], config: Row, rows: list[Row], schema: Schema = PLAIN, **context: Any
) -> dict[str, list[Row]]:
    """Return what comes out of a node, by output."""
    component = opened(kind, config, schema, **context)
    found: dict[str, list[Row]] = {}
    try:
        for batch in component.process(Batch(pa.Table.from_pylist(rows, schema.to_arrow()))):
            found.setdefault(batch.stream, []).extend(batch.rows.to_pylist())
    finally:
        component.close()
    return found


def told(rows: list[Row], *names: str) -> list[tuple[Any, ...]]:
    return [tuple(row[name] for name in (OP, "id", *names)) for row in rows]


@pytest.mark.parametrize(
    ("match", "odd"),
    [
        ("first", [("read", 1), ("delete", 1), ("delete", 2), ("delete", 9), ("truncate", None)]),
        ("all", [("read", 1), ("update", 1), ("delete", 2), ("delete", 9), ("truncate", None)]),
    ],
)
def test_a_route_gets_a_delete_for_each_update_that_goes_elsewhere(match: str, odd: list[Any]) -> None:
    rows = [change("read", 1, n=0), change("insert", 2, n=7), change("update", 1, n=7), change("update", 2, n=1), *GONE]
    config = {"routes": {"big": "n > 5", "odd": "id % 2 = 1"}, "match": match}
    found = through(Route, config, rows)
    assert told(found["big"]) == [("insert", 2), ("update", 1), ("delete", 2), ("delete", 9), ("truncate", None)]
    assert told(found["odd"]) == odd


def test_no_condition_of_a_route_is_asked_of_what_leaves_no_row() -> None:
    config = {"routes": {"big": "cast(s as int) > 5"}}
    assert told(through(Route, config, [change("delete", 1, "no number"), GONE[1]])["big"]) == [
        ("delete", 1),
        ("truncate", None),
    ]


def masked(schema: Schema, rows: list[Row], rule: Row) -> list[Row]:
    return through(Mask, {"columns": {"s": rule}}, rows, schema)[""]


def test_a_mask_hides_the_former_row_and_leaves_unchanged_values_so() -> None:
    schema = changing(TABLE, ("id",), before=True)
    rows = [{"id": 1, "s": "new", OP: "update", BEFORE: {"id": 1, "s": "old", "n": 1}}, *GONE]
    found = masked(schema, rows, {"method": "redact"})
    assert [(r["s"], r[BEFORE]) for r in found] == [("***", {"id": 1, "s": "***", "n": 1}), (None, None), (None, None)]
    (row,) = masked(LEFT_OUT, [change("update", 1, None, 2, "s")], {"method": "hash"})
    assert (row["s"], row[UNCHANGED]) == (None, ["s"])


def test_what_means_nothing_need_not_be_masked() -> None:
    rule = {"method": "format_preserving", "key": "0123456789abcdef"}
    nothing = [change("update", 1, "left out!", None, "s"), change("delete", 1, "gone!")]
    assert [r["s"] for r in masked(LEFT_OUT, nothing, rule)] == [None, None], "what cannot be masked is not passed on"
    with pytest.raises(DataError, match="column 's'"):
        masked(LEFT_OUT, [*nothing, change("update", 1, "no digits!")], rule)


def test_dates_are_shifted_by_the_key_alone_where_values_may_be_unchanged() -> None:
    table = Schema((*TABLE, Column("born", "date")))
    schema = changing(table, ("id",), unchanged=["born"])
    rule = {"method": "date_shift", "key": "0123456789abcdef"}
    opened(Mask, {"columns": {"born": {**rule, "by": "id"}}}, schema).close()
    with pytest.raises(InvalidWorkflowError, match="one of both may be left out of a change"):
        opened(Mask, {"columns": {"born": {**rule, "by": "n"}}}, schema)


def test_rules_judge_no_value_that_is_not_there() -> None:
    rules = {
        "named": {"columns": "s", "not_null": True},
        "few": {"check": "n < 5"},
        "both": {"check": "s <> 'x' or n > 1", "severity": "warn"},
    }
    rows = [
        change("update", 1, None, 2, "s"),
        change("update", 2, None, 9, "s"),
        change("update", 3, None, 2),
        change("insert", 4, "x", 1),
        *GONE,
    ]
    found = through(Validate, {"rules": rules, "warnings": "doubts"}, rows, LEFT_OUT, on_error="dead_letter")
    assert [e["error"].split(":")[0] for e in found["errors"]] == ["rule 'few'", "rule 'named'"]
    assert told(found[""], "doubts") == [
        ("update", 1, None),
        ("insert", 4, "both"),
        ("delete", 9, None),
        ("truncate", None, None),
    ]


@pytest.mark.parametrize(
    ("miss", "wanted"),
    [
        ("keep", [("insert", 1, "one"), ("insert", 2, None), ("update", 3, None), ("update", 4, "one")]),
        ("drop", [("insert", 1, "one"), ("delete", 3, None), ("update", 4, "one")]),
        ("default", [("insert", 1, "one"), ("insert", 2, "?"), ("update", 3, "?"), ("update", 4, "one")]),
        ("dead_letter", [("insert", 1, "one"), ("update", 4, "one")]),
    ],
)
def test_a_lookup_lets_deletes_through_whatever_a_miss_means(miss: str, wanted: list[Any]) -> None:
    config: Row = {"keys": {"n": "number"}, "rows": [{"number": 1, "word": "one"}], "miss": miss}
    config |= {"defaults": {"word": "?"}} if miss == "default" else {}
    rows = [change("insert", 1, n=1), change("insert", 2, n=2), change("update", 3, n=3), change("update", 4, n=1)]
    rows += [change("delete", 5, n=1), GONE[1]]
    found = through(Enrichment, config, rows, on_error="dead_letter" if miss == "dead_letter" else "fail")
    nothing = "?" if miss == "default" else None
    assert told(found[""], "word") == [*wanted, ("delete", 5, nothing), ("truncate", None, nothing)]
    assert len(found.get("errors", ())) == (2 if miss == "dead_letter" else 0)


def test_changes_of_a_lookup_are_applied_to_it() -> None:
    component: Any = staged(Enrichment(Enrichment.spec.config(keys={"n": "id"}, take={"looked_s": "s"}, wait=False)))
    component.context = replace(component.context, schemas={"0": PLAIN, "1": PLAIN}, key=("id",), lookup=True)
    component.open()

    def looked(*side: Row) -> Any:
        list(component.process(Batch(pa.Table.from_pylist(list(side), PLAIN.to_arrow())), 1))
        found = component.process(Batch(pa.Table.from_pylist([change("insert", 7, n=1)], PLAIN.to_arrow())), 0)
        return [row["looked_s"] for batch in found for row in batch.rows.to_pylist()]

    try:
        assert looked(change("read", 1, "a"), change("update", 1, "b")) == ["b"]
        assert looked(change("delete", 1)) == [None]
        assert looked(change("insert", 1, "c")) == ["c"]
        assert looked(GONE[1], change("insert", 2, "d")) == [None]
        assert looked(change("insert", 1, "e")) == ["e"]
    finally:
        component.close()


def test_a_former_row_that_is_not_flattened_goes() -> None:
    table = Schema((Column("id", "int64", nullable=False), Column("user", "struct<name: string>")))
    schema = changing(table, ("id",), before=True)
    for config, kept in (({}, False), ({"columns": ["id"]}, True)):
        component = staged(Flatten(Flatten.spec.config(**config)), schemas={"0": schema})
        step = component.step([schema])
        assert [name for name, _ in step.columns or ()].count(BEFORE) == kept


def test_a_miss_that_fails_does_not_fail_for_a_delete() -> None:
    config = {"keys": {"n": "number"}, "rows": [{"number": 1, "word": "one"}], "miss": "fail"}
    assert told(through(Enrichment, config, GONE)[""]) == [("delete", 9), ("truncate", None)]
    with pytest.raises(DataError, match="1 rows of a batch have no row"):
        through(Enrichment, config, [*GONE, change("update", 1, n=3)])


def test_what_is_taken_is_told_by_each_change() -> None:
    config = {"keys": {"id": "number"}, "rows": [{"number": 1, "word": "one"}], "matched": "found"}
    component = opened(Enrichment, config, LEFT_OUT)
    assert {c.name: c.told for c in component.outputs([LEFT_OUT])[""]} == {
        "id": "key",
        "s": "",
        **dict.fromkeys(["n", OP, "_commit_ts", "_tx", UNCHANGED, "word", "found"], "value"),
    }
    component.close()


def test_texts_of_changes_are_parsed_where_each_tells_them() -> None:
    table = Schema((Column("id", "int64", nullable=False), Column("text", "string")))
    schema = changing(table, ("id",), unchanged=[])
    config = {"column": "text", "format": "json", "columns": {"a": "int64"}}
    found = through(Parse, config, [{"id": 1, "text": '{"a": 1}', OP: "insert"}, *GONE], schema)[""]
    assert told(found, "a") == [("insert", 1, 1), ("delete", 9, None), ("truncate", None, None)]


def test_a_function_sees_what_happened_and_what_is_unchanged() -> None:
    code = """
def process(record):
    if record["_op"] == "update" and "s" not in (record["_unchanged"] or ()):
        record["s"] = record["s"].upper()
    if record["n"] == 0:
        record["_op"] = "delete"
    return record
"""
    rows = [change("update", 1, "a", 1), change("update", 2, None, 1, "s"), change("update", 3, "c", 0), *GONE]
    found = through(Python, {"code": code}, rows, LEFT_OUT)[""]
    assert told(found, "s", UNCHANGED) == [
        ("update", 1, "A", None),
        ("update", 2, None, ["s"]),
        ("delete", 3, "C", None),
        ("delete", 9, None, None),
        ("truncate", None, None, None),
    ]


def test_a_sample_by_the_key_has_all_changes_of_a_row() -> None:
    rows = [change(op, number) for number in range(300) for op in ("insert", "delete")] + [GONE[1]]
    found = through(Sample, {"rate": "20%", "by": "id"}, rows)[""]
    drawn = [r["id"] for r in found if r[OP] == "insert"]
    assert 20 < len(drawn) < 120
    assert [r["id"] for r in found if r[OP] == "delete"] == drawn
    assert found[-1][OP] == "truncate"


def unions() -> Iterator[tuple[Schema, Schema, dict[str, str]]]:
    everything = changing(TABLE, ("id",), unchanged=True)
    told_by_both = {"id": "key", **dict.fromkeys(["n", OP, "_commit_ts", "_tx", UNCHANGED], "value")}
    yield LEFT_OUT, LEFT_OUT, told_by_both
    yield LEFT_OUT, everything, {n: t for n, t in told_by_both.items() if n != "n"}
    yield PLAIN, LEFT_OUT, told_by_both | {"id": "value"}
    yield PLAIN, PLAIN, {}


@pytest.mark.parametrize(("first", "second", "wanted"), list(unions()))
def test_a_union_tells_what_all_of_its_inputs_tell(first: Schema, second: Schema, wanted: dict[str, str]) -> None:
    component = staged(Union(Union.spec.config()))
    assert {c.name: c.told for c in component.outputs([first, second])[""] if c.told} == wanted
