"""Nodes that hold rows go on by name where the plan has other columns than the one that held them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from dataflare.batch import Batch
from dataflare.component import Registry, processor
from dataflare.errors import StateError
from dataflare.executor.partition import partitions
from dataflare.executor.snapshots import gathered_state
from dataflare.schema import Schema
from dataflare.testing.stage import HeldSegments, staged

if TYPE_CHECKING:
    from collections.abc import Sequence

BEFORE = Schema.of({"id": "int32", "name": "string", "qty": "int32"})
AFTER = Schema.of({"note": "string", "id": "int64", "label": "string"})
"""What is called `label` was `name`; `qty` is gone, `note` is new, `id` is wider, and all stand elsewhere."""
OLD = [{"id": 2, "name": "b", "qty": 1}, {"id": 1, "name": "a", "qty": 2}]
NEW = [{"note": "x", "id": 1 << 40, "label": "c"}]
KEPT = [
    {"note": None, "id": 1, "label": "a"},
    {"note": None, "id": 2, "label": "b"},
    {"note": "x", "id": 1 << 40, "label": "c"},
]
Rows = list[dict[str, Any]]


class Resumed:
    """A node that goes on under a later plan with what it held under the former one."""

    def __init__(self, kind: str, config: dict[str, Any], plans: Sequence[Sequence[Schema]], **changes: Any) -> None:
        self._cls, self._config, self._changes = Registry.installed().find(processor, kind), config, changes
        self._plans, self.segments = plans, HeldSegments()

    def made(self, plan: int, config: dict[str, Any] | None = None) -> Any:
        component = self._cls(self._cls.spec.config.model_validate(config or self._config))
        schemas = {str(n): s for n, s in enumerate(self._plans[plan])}
        former = {"name": "label"} if "label" in self._plans[1][0] else {}
        changes = {"inputs": ("one", "other")[: len(schemas)], "former": former, **self._changes}
        one = staged(component, schemas=schemas, segments=self.segments, **changes)
        one.open()
        return one

    def after(self, *held: Rows, config: dict[str, Any] | None = None) -> Any:
        """Let the first plan take rows, by port; return the node of the second."""
        first = self.made(0)
        for port, rows in enumerate(held):
            given(first, rows, self._plans[0][port], port)
        assert [*getattr(first, "flush", tuple)()] == []  # as before a barrier
        state = gathered_state([first.snapshot()])
        first.close()
        assert state
        second = self.made(1, config)
        second.restore(state)
        return second


def given(one: Any, rows: Rows, schema: Schema, port: int = 0) -> Rows:
    found = one.process(Batch(pa.Table.from_pylist(rows, schema=schema.to_arrow())), port)
    return [row for batch in found for row in batch.rows.to_pylist()]


def ended(one: Any) -> Rows:
    found = [row for batch in one.finish() for row in batch.rows.to_pylist()]
    one.close()
    return found


@pytest.mark.parametrize(
    ("kind", "config"),
    [
        ("sort", {"by": ["id"]}),
        ("top_n", {"rows": 3, "by": ["id"]}),
        ("deduplicate", {"keys": ["id"], "keep": "last"}),
        ("sql", {"query": "select note, id, label from one order by id"}),
    ],
)
def test_rows_that_wait_go_on_by_name(kind: str, config: dict[str, Any]) -> None:
    if kind == "sql":
        resumed = Resumed(kind, config, [[BEFORE], [AFTER]])
        resumed._config = {"query": "select * from one"}
        one = resumed.after(OLD, config=config)
    else:
        one = Resumed(kind, config, [[BEFORE], [AFTER]]).after(OLD)
    given(one, NEW, AFTER)
    assert sorted(ended(one), key=lambda r: r["id"]) == KEPT


def test_both_sides_of_a_join_go_on_by_name() -> None:
    right = Schema.of({"id": "int32", "city": "string"}), Schema.of({"more": "int64", "city": "string", "id": "int64"})
    resumed = Resumed("join", {"keys": ["id"]}, [[BEFORE, right[0]], [AFTER, right[1]]])
    one = resumed.after(OLD, [{"id": 1, "city": "Oslo"}])
    given(one, NEW, AFTER)
    given(one, [{"more": 7, "city": "Bergen", "id": 2}], right[1], 1)
    assert sorted(ended(one), key=lambda r: r["id"]) == [
        {**KEPT[0], "more": None, "city": "Oslo"},
        {**KEPT[1], "more": 7, "city": "Bergen"},
    ]


def test_keys_that_were_seen_are_known_under_their_new_name_and_type() -> None:
    one = Resumed("deduplicate", {"keys": ["name"]}, [[BEFORE], [AFTER]]).after(OLD, config={"keys": ["label"]})
    rows = [{"note": "again", "id": 9, "label": "a"}, {"note": "new", "id": 9, "label": "z"}]
    assert given(one, rows, AFTER) == rows[1:]
    one.close()
    one = Resumed("deduplicate", {"keys": ["id"]}, [[BEFORE], [AFTER]]).after(OLD)
    rows = [{"note": "again", "id": 1, "label": "a"}, *NEW]
    assert given(one, rows, AFTER) == NEW
    one.close()


def test_rows_that_are_the_same_in_all_columns_are_so_with_null_in_a_new_one() -> None:
    wider = Schema.of({"id": "int32", "name": "string", "qty": "int32", "note": "string"})
    resumed = Resumed("deduplicate", {}, [[BEFORE], [wider]])
    one = resumed.after(OLD)
    rows = [{**OLD[0], "note": None}, {**OLD[0], "note": "x"}]
    assert given(one, rows, wider) == rows[1:]
    state = gathered_state([one.snapshot()])  # and so they are written down
    one.close()
    again = resumed.made(1)
    again.restore(state)
    assert given(again, [*rows, {**OLD[1], "note": None}], wider) == []
    again.close()


def test_keys_are_known_by_name_wherever_they_stand() -> None:
    plans = [[Schema.of({"a": "string", "b": "string"})], [Schema.of({"b": "string", "a": "string"})]]
    one = Resumed("deduplicate", {}, plans).after([{"a": "1", "b": "2"}])
    rows = [{"b": "1", "a": "2"}, {"b": "2", "a": "1"}]
    assert given(one, rows, plans[1][0]) == rows[:1]
    one.close()


def test_what_was_seen_goes_to_several_tasks_again_by_the_columns_that_there_are_now() -> None:
    before, after = Schema.of({"id": "int32"}), Schema.of({"id": "int32", "note": "string"})
    resumed = Resumed("deduplicate", {}, [[before], [after]])
    rows = pa.table({"id": pa.array(range(200), pa.int32())})
    states = []
    for index, part in partitions(rows, ("id",), 2):
        resumed._changes = {"index": index, "parallelism": 2}
        one = resumed.made(0)
        given(one, part.to_pylist(), before)
        states.append(one.snapshot())
        one.close()
    resumed._changes = {}
    alone = resumed.made(1)
    alone.restore(gathered_state(states))
    states = [alone.snapshot()]
    alone.close()
    again = rows.append_column("note", pa.nulls(200, pa.string()))
    for index, part in partitions(again, ("id", "note"), 2):
        resumed._changes = {"index": index, "parallelism": 2}
        one = resumed.made(1)
        one.restore(gathered_state(states))
        assert given(one, part.to_pylist(), after) == []
        one.close()


def test_rows_that_went_to_several_tasks_by_other_columns_are_refused_with_the_cure() -> None:
    wider = Schema.of({"id": "int32", "name": "string", "qty": "int32", "note": "string"})
    with pytest.raises(StateError, match="went to several tasks") as caught:
        Resumed("deduplicate", {}, [[BEFORE], [wider]], parallelism=2).after(OLD)
    assert "parallelism: 1" in caught.value.hint


def test_named_keys_that_are_others_are_refused() -> None:
    with pytest.raises(StateError, match="by other keys"):
        Resumed("deduplicate", {"keys": ["id"]}, [[BEFORE], [AFTER]]).after(OLD, config={"keys": ["label", "note"]})


GROUPS = {"group_by": ["name"], "aggregations": {"total": "sum(qty)", "most": "max(qty)", "rows": "count(*)"}}
WIDE = Schema.of({"note": "string", "qty": "int64", "label": "string"})


def test_groups_go_on_with_wider_values_and_a_key_of_another_name() -> None:
    later = {**GROUPS, "group_by": ["label"]}
    one = Resumed("aggregate", GROUPS, [[BEFORE], [WIDE]]).after(OLD, config=later)
    given(one, [{"note": "x", "qty": 1 << 40, "label": "a"}], WIDE)
    assert ended(one) == [
        {"label": "a", "total": (1 << 40) + 2, "most": 1 << 40, "rows": 2},
        {"label": "b", "total": 1, "most": 1, "rows": 1},
    ]


@pytest.mark.parametrize(
    "later",
    [
        {"aggregations": {"total": "max(qty)", "most": "sum(qty)", "rows": "count(*)"}},
        {"aggregations": {**GROUPS["aggregations"], "least": "min(qty)"}},  # type: ignore[dict-item]
    ],
)
def test_groups_are_not_taken_for_what_other_expressions_make(later: dict[str, Any]) -> None:
    with pytest.raises(StateError, match="what other expressions have made") as caught:
        Resumed("aggregate", GROUPS, [[BEFORE], [BEFORE]]).after(OLD, config={**GROUPS, **later})
    assert "as it was" in caught.value.hint


def test_states_that_only_the_engine_reads_are_not_taken_for_another_type() -> None:
    config = {"group_by": ["name"], "aggregations": {"few": "approx_count_distinct(qty)"}}
    plans = [[BEFORE], [Schema.of({"name": "string", "qty": "string"})]]
    with pytest.raises(StateError, match="what other expressions have made"):
        Resumed("aggregate", config, plans).after(OLD)
