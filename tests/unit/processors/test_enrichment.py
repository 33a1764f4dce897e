"""The enrichment node: what is taken, what a miss and a repeated key mean, and rows that wait for a lookup."""

from __future__ import annotations

from functools import partial
from typing import Any

import pyarrow as pa
import pytest

from dataflare.batch import Batch
from dataflare.component import Registry, StageContext, lookup
from dataflare.errors import DataError, WorkflowError
from dataflare.executor.runtime import LocalRuntime
from dataflare.executor.snapshots import gathered_state
from dataflare.processors.enrichment import Enrichment
from dataflare.schema import Column, Schema
from dataflare.testing.stage import HeldSegments

MAIN = Schema((Column("id", "int64"), Column("code", "string", tags=("pii.code",))))
SIDE = Schema((Column("key", "string"), Column("name", "string", tags=("pii.name",)), Column("n", "int64")))
ROWS = [{"key": "a", "name": "Ada", "n": 1}, {"key": "b", "name": "Bo", "n": 2}, {"key": None, "name": "?", "n": 3}]
BATCH = pa.table({"id": [1, 2, 3, 4], "code": ["b", "x", None, "a"]}, schema=MAIN.to_arrow())

SEGMENTS = HeldSegments()


def node(on_error: str = "fail", schemas: tuple[Schema, ...] = (MAIN,), memory: int = 256 << 20, **config: Any) -> Any:
    """Return an open node over inline rows, or over a second input where there is one."""
    from dataflare.component import Budget

    settings = {"keys": {"code": "key"}, **config}
    if len(schemas) == 1 and "from" not in settings:
        settings.setdefault("rows", ROWS)
    component = Enrichment(Enrichment.spec.config.model_validate(settings))
    component.context = StageContext(
        runtime=LocalRuntime(),
        workflow="w",
        node="n",
        schemas={str(n): s for n, s in enumerate(schemas)},
        on_error=on_error,
        lookup=len(schemas) > 1,
        lookups=partial(Registry.installed().find, lookup),
        budget=Budget(memory),
        segments=SEGMENTS,
    )
    component.outputs(schemas)
    component.open()
    return component


def out(component: Any, rows: pa.Table = BATCH) -> list[dict[str, Any]]:
    found = [b for b in component.process(Batch(rows)) if not b.stream]
    planned = component.outputs(list(component.context.schemas.values()))[""].to_arrow()
    assert all(b.rows.schema == planned for b in found)
    return [row for b in found for row in b.rows.to_pylist()]


def names(component: Any) -> list[Any]:
    return [(r["id"], r["name"]) for r in out(component)]


def test_what_is_found_stands_beside_the_rows_in_their_order() -> None:
    component = node()
    assert out(component) == [
        {"id": 1, "code": "b", "name": "Bo", "n": 2},
        {"id": 2, "code": "x", "name": None, "n": None},
        {"id": 3, "code": None, "name": None, "n": None},
        {"id": 4, "code": "a", "name": "Ada", "n": 1},
    ]
    assert {k: n for k, n in component.fates().items() if n} == {}


def test_expressions_over_the_lookup_get_names_and_a_prefix() -> None:
    component = node(take={"label": "upper(name) || n"}, prefix="the_", matched="known")
    assert [(r["the_label"], r["known"]) for r in out(component)] == [
        *(("BO2", True), (None, False), (None, False), ("ADA1", True)),
    ]


@pytest.mark.parametrize(
    ("miss", "kept", "fates"),
    [
        ("keep", [(1, "Bo"), (2, None), (3, None), (4, "Ada")], {}),
        ("drop", [(1, "Bo"), (4, "Ada")], {"filtered": 2}),
        ("default", [(1, "Bo"), (2, "-"), (3, "-"), (4, "Ada")], {}),
    ],
)
def test_a_miss_is_kept_dropped_or_gets_a_default(miss: str, kept: list[Any], fates: dict[str, int]) -> None:
    component = node(miss=miss, **({"defaults": {"name": "-"}} if miss == "default" else {}))
    assert names(component) == kept
    assert {k: n for k, n in component.fates().items() if n} == fates


def test_a_value_that_is_found_null_gets_no_default() -> None:
    rows = [{"key": "a", "name": None}, {"key": "b", "name": "Bo"}]
    assert names(node(rows=rows, miss="default", defaults={"name": "-"})) == [(1, "Bo"), (2, "-"), (3, "-"), (4, None)]


def test_a_miss_fails_or_is_a_dead_letter_that_shows_no_tagged_value() -> None:
    with pytest.raises(DataError, match=r"2 rows of a batch have no row in the lookup \(code\)"):
        out(node(miss="fail"))
    component = node("dead_letter", miss="dead_letter")
    errors, kept = component.process(Batch(BATCH))
    assert errors.stream == "errors"
    assert errors.rows["row"].to_pylist() == ['{"id":2,"code":"***"}', '{"id":3,"code":"***"}']
    assert kept.rows["id"].to_pylist() == [1, 4]
    assert {k: n for k, n in component.fates().items() if n} == {}  # the engine counts dead letters
    with pytest.raises(WorkflowError, match="needs an output for dead letters"):
        node(miss="dead_letter")


TWICE = [{"key": "a", "name": "one"}, {"key": "b", "name": "Bo"}, {"key": "a", "name": "two"}]


@pytest.mark.parametrize(
    ("multiple", "found", "expanded"),
    [
        ("first", [(1, "Bo"), (2, None), (3, None), (4, "one")], 0),
        ("last", [(1, "Bo"), (2, None), (3, None), (4, "two")], 0),
        ("all", [(1, "Bo"), (2, None), (3, None), (4, "one"), (4, "two")], 1),
    ],
)
def test_a_key_that_comes_again_means_what_is_said(multiple: str, found: list[Any], expanded: int) -> None:
    component = node(rows=TWICE, multiple=multiple)
    assert names(component) == found
    assert component.fates().get("expanded", 0) == expanded


def test_a_key_that_comes_again_is_an_error_where_nothing_is_said() -> None:
    with pytest.raises(DataError, match=r"1 keys of the lookup \(key\) have several rows"):
        names(node(rows=TWICE))


def test_numbers_of_several_types_meet_and_others_are_refused() -> None:
    main = Schema.of({"id": "int32"})
    rows = pa.table({"id": pa.array([1, 2], pa.int32())})
    component = node(schemas=(main,), keys={"id": "n"}, rows=ROWS, take=["name"])
    assert [r["name"] for r in out(component, rows)] == ["Ada", "Bo"]
    decimals = [{"price": "1.00", "name": "one"}]
    component = node(
        schemas=(main,), keys={"id": "price"}, rows=decimals, columns={"price": "decimal(8,2)", "name": "text"}
    )
    assert [r["name"] for r in out(component, rows)] == ["one", None]
    with pytest.raises(WorkflowError, match="id is int32 and key is string"):
        node(schemas=(main,), keys={"id": "key"}, rows=ROWS)


def test_several_columns_make_a_key_and_a_path_leads_into_a_struct() -> None:
    main = Schema.of({"who": "struct<code: string, n: int64>"})
    rows = pa.table({"who": [{"code": "a", "n": 1}, {"code": "a", "n": 2}, None]}, schema=main.to_arrow())
    component = node(schemas=(main,), keys={"who.code": "key", "who.n": "n"}, rows=ROWS)
    assert [r["name"] for r in out(component, rows)] == ["Ada", None, None]


def test_what_is_taken_may_go_into_a_struct() -> None:
    main = Schema.of({"user": "struct<id: string>"})
    rows = pa.table({"user": [{"id": "b"}, {"id": "z"}]}, schema=main.to_arrow())
    component = node(schemas=(main,), keys={"user.id": "key"}, rows=ROWS, into="user.more")
    assert out(component, rows) == [
        {"user": {"id": "b", "more": {"name": "Bo", "n": 2}}},
        {"user": {"id": "z", "more": None}},
    ]


def test_columns_carry_the_tags_of_the_lookup() -> None:
    taken = {"a": "upper(name)", "b": "n"}
    output = node(schemas=(MAIN, SIDE), take=taken).outputs((MAIN, SIDE))[""]
    assert [c.tags for c in output] == [(), ("pii.code",), ("pii.name",), ()]
    output = node(tags={"name": "pii.name"}, take=taken).outputs((MAIN,))[""]
    assert [c.tags for c in output] == [(), ("pii.code",), ("pii.name",), ()]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"keys": {"cod": "key"}}, "keys: the rows have no column 'cod'"),
        ({"keys": {"code": "kye"}}, "keys: the lookup has no column 'kye'"),
        ({"take": ["nam"]}, "take: the lookup has no column 'nam'"),
        ({"take": {"id": "n"}}, "there is a column 'id' already"),
        ({"take": {"x": "nam"}}, "there is no column 'nam'"),
        ({"miss": "default", "defaults": {"n": "many"}}, "the value for 'n' is no int64"),
        ({"miss": "default", "defaults": {"nn": 1}}, "defaults: 'nn' is not taken"),
        ({"rows": [{"key": "a"}]}, "nothing is taken"),
        ({"rows": []}, "rows is empty"),
        ({"tags": {"nam": "pii"}}, "tags: the lookup has no column 'nam'"),
    ],
)
def test_a_mistake_is_told_when_the_workflow_is_planned(config: dict[str, Any], message: str) -> None:
    with pytest.raises(WorkflowError, match=message):
        node(**config)


def side_rows(*rows: tuple[str, str, int]) -> Batch:
    columns = [list(c) for c in zip(*rows, strict=True)]
    return Batch(pa.table(columns, schema=SIDE.to_arrow()))


def test_rows_wait_until_the_lookup_is_complete_and_all_are_counted() -> None:
    component = node(schemas=(MAIN, SIDE))
    assert list(component.process(Batch(BATCH), 0)) == []
    assert list(component.process(side_rows(("a", "Ada", 1)), 1)) == []
    assert list(component.end(0)) == []
    assert component.fates() == {"absorbed": 5}
    (found,) = component.end(1)
    assert found.rows["name"].to_pylist() == [None, None, None, "Ada"]
    assert component.fates()["expanded"] == 4
    assert names(component)[3] == (4, "Ada")


def test_rows_that_wait_go_to_disk_and_come_back_in_order() -> None:
    component = node(schemas=(MAIN, SIDE), memory=8 << 10)
    batches = [
        pa.table({"id": range(n * 50, n * 50 + 50), "code": ["a"] * 50}, schema=MAIN.to_arrow()) for n in range(40)
    ]
    for rows in batches:
        list(component.process(Batch(rows), 0))
    assert component._held.spilled_bytes > 0
    list(component.process(side_rows(("a", "Ada", 1)), 1))
    resumed = node(schemas=(MAIN, SIDE))
    resumed.restore(gathered_state([component.snapshot()]))
    for each in (component, resumed):
        found = [r for b in each.end(1) for r in b.rows.to_pylist()]
        assert [r["id"] for r in found] == list(range(2000))
        assert {r["name"] for r in found} == {"Ada"}


def test_a_resume_knows_the_lookup_again() -> None:
    component = node(schemas=(MAIN, SIDE))
    list(component.process(side_rows(("a", "Ada", 1)), 1))
    list(component.end(1))
    state = component.snapshot()
    assert list(state) == [-1]
    resumed = node(schemas=(MAIN, SIDE))
    resumed.restore(state)
    assert list(resumed.end(1)) == []
    assert names(resumed) == [(1, None), (2, None), (3, None), (4, "Ada")]


def test_a_lookup_that_does_not_wait_takes_the_newest_row_of_a_key() -> None:
    component = node(schemas=(MAIN, SIDE), wait=False)
    assert names(component)[3] == (4, None)
    list(component.process(side_rows(("a", "Ada", 1)), 1))
    assert names(component)[3] == (4, "Ada")
    list(component.process(side_rows(("a", "Eva", 1)), 1))
    assert names(component)[3] == (4, "Eva")
    assert component.varies() == "looks rows up in what has come so far"


def test_a_lookup_that_is_too_large_says_what_to_do() -> None:
    component = node(schemas=(MAIN, SIDE), cache_bytes="2KiB")
    many = side_rows(*((f"k{n}", "x" * 100, n) for n in range(100)))
    with pytest.raises(DataError, match="the rows of the lookup take more than 2,048 bytes") as caught:
        list(component.process(many, 1))
    assert "cache_bytes" in caught.value.hint
