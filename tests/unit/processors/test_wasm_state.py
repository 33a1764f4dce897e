"""State that plugins keep by key: where its rows are, in the checkpoint once, within bounds."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from dataflare.batch import Batch
from dataflare.component import StageContext
from dataflare.component.processor import SEGMENTED
from dataflare.errors import DataError, StateError, WorkflowError
from dataflare.executor.partition import groups_of, partitions
from dataflare.executor.runtime import LocalRuntime
from dataflare.executor.snapshots import gathered_state
from dataflare.processors import wasm_state
from dataflare.processors.wasm import WasmConfig, WasmProcessor
from dataflare.schema import Schema
from dataflare.testing.stage import HeldSegments

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SCHEMA = Schema.of({"id": "int64", "name": "string", "seen": "int64"})
COUNTING = """export function process(r) {
  if (r.name === "forget") { dataflare.setState([r.id], null); return r; }
  const seen = (dataflare.getState([r.id]) ?? 0) + 1;
  dataflare.setState([r.id], seen);
  if (r.name === "loop") for (;;);
  return { ...r, seen };
}"""
Make = Callable[..., WasmProcessor]


@pytest.fixture
def segments() -> HeldSegments:
    return HeldSegments()


@pytest.fixture
def make(tmp_path: Path, segments: HeldSegments) -> Iterator[Make]:
    """Return a maker of open processors, which are closed at the end."""
    runtime = LocalRuntime()
    made: list[WasmProcessor] = []

    def build(code: str = COUNTING, index: int = 0, parallelism: int = 1, **given: Any) -> WasmProcessor:
        (tmp_path / "rules.js").write_text(code)
        schema, on_error = given.pop("schema", SCHEMA), given.pop("on_error", "fail")
        node = WasmProcessor(WasmConfig(**{"module": "rules.js", "key": ["id"], **given}))
        node.context = StageContext(
            runtime,
            "w",
            "n",
            directory=tmp_path,
            schemas={"0": schema},
            on_error=on_error,
            index=index,
            parallelism=parallelism,
            key_group=groups_of(index, parallelism)[0],
            segments=segments,
        )
        made.append(node)
        node.open()
        return node

    yield build
    for node in made:
        node.close()
    runtime.close()


def rows_of(*ids: int | None, name: str = "n") -> pa.Table:
    return pa.Table.from_pylist([{"id": n, "name": name, "seen": 0} for n in ids], schema=SCHEMA.to_arrow())


def seen(node: WasmProcessor, rows: pa.Table) -> list[int]:
    (out,) = node.process(Batch(rows))
    return list(out.rows["seen"].to_pylist())


def test_each_key_has_its_state_and_nulls_are_a_key(make: Make) -> None:
    node = make()
    assert seen(node, rows_of(1, 2, 1, None, None)) == [1, 1, 2, 1, 2]
    assert seen(node, rows_of(1, name="forget")) == [0]
    assert seen(node, rows_of(1, 2, None)) == [1, 2, 3]


@pytest.mark.parametrize(("before", "after"), [(1, 3), (3, 1), (2, 3)])
def test_state_goes_where_its_keys_go(make: Make, before: int, after: int) -> None:
    rows = rows_of(*range(200), *range(0, 200, 2))
    states: list[Mapping[int, bytes]] = []
    for index, part in partitions(rows, ["id"], before):
        node = make(index=index, parallelism=before)
        seen(node, part)
        states.append(node.snapshot())
    found = {}
    for index, part in partitions(rows_of(*range(200)), ["id"], after):
        node = make(index=index, parallelism=after)
        node.restore(gathered_state(states))
        found |= dict(zip(part["id"].to_pylist(), seen(node, part), strict=True))
    assert found == {n: 3 if n % 2 == 0 else 2 for n in range(200)}


def test_state_survives_a_way_through_several_tasks(make: Make) -> None:
    states: list[Mapping[int, bytes]] = []
    for tasks in (1, 3, 2, 1):
        gathered, states = gathered_state(states), []
        for index, part in partitions(rows_of(*range(50)), ["id"], tasks):
            node = make(index=index, parallelism=tasks)
            node.restore(gathered)
            seen(node, part)
            if tasks == 2 and 7 in part["id"].to_pylist():
                seen(node, rows_of(7, name="forget"))
            states.append(node.snapshot())
    node = make()
    node.restore(gathered_state(states))
    assert seen(node, rows_of(*range(50))) == [2 if n == 7 else 5 for n in range(50)]


def test_a_key_of_another_task_is_refused(make: Make) -> None:
    reading = "export const process = (r) => ({ ...r, seen: dataflare.getState([r.seen]) ?? -1 });"
    node = make(reading, index=0, parallelism=2, on_error="dead_letter")
    here, there = (part["id"][0].as_py() for _, part in partitions(rows_of(*range(50)), ["id"], 2))
    rows = rows_of(here, here).set_column(2, "seen", [[here, there]])
    errors, out = node.process(Batch(rows))
    assert out.rows["seen"].to_pylist() == [-1]
    (error,) = errors.rows["error"].to_pylist()
    assert "the key is of no row of this task" in error


@pytest.mark.parametrize("key", ["r.id", "[]", "[r.id, 1]", "[String(r.id)]", "[1.5]", "['x']", "{id: r.id}"])
def test_what_is_no_key_of_the_columns_is_refused(make: Make, key: str) -> None:
    code = f"export const process = (r) => {{ dataflare.setState({key}, 1); return r; }};"
    errors, _ = make(code, on_error="dead_letter").process(Batch(rows_of(7)))
    assert "the key is no list" in errors.rows["error"][0].as_py()


def test_keys_of_all_types_come_back(make: Make) -> None:
    schema = Schema.of(
        {"day": "date", "at": "timestamp", "price": "decimal(12,3)", "ok": "bool", "s": "string", "seen": "int64"}
    )
    texts = ["a", 'b"\n', "", "é", "a,b"]
    days = pa.array(range(5), pa.int32()).cast(pa.date32())
    moments = pa.array([n * 1_000_001 for n in range(5)]).cast(pa.timestamp("us", "UTC"))
    prices = pa.array([Decimal(n) / 8 for n in range(5)], pa.decimal128(12, 3))
    columns = [days, moments, prices, pa.array([n % 2 == 0 for n in range(5)]), texts, [0] * 5]
    rows = pa.table(columns, names=schema.names).cast(schema.to_arrow())
    key = ["day", "at", "price", "ok", "s"]
    code = """export const process = (r) => {
      const key = [r.day, r.at, r.price, r.ok, r.s], seen = (dataflare.getState(key) ?? 0) + 1;
      dataflare.setState(key, seen);
      return { ...r, seen };
    };"""
    first = make(code, schema=schema, key=key)
    assert seen(first, rows) == [1] * 5
    states = [first.snapshot()]
    for index, part in partitions(rows, key, 3):
        node = make(code, index, 3, schema=schema, key=key)
        node.restore(gathered_state(states))
        assert seen(node, part) == [2] * part.num_rows


def test_what_a_stopped_call_set_is_forgotten(make: Make) -> None:
    node = make(on_error="dead_letter", timeout="300ms")
    seen(node, rows_of(1))
    errors, _ = node.process(Batch(rows_of(1, name="loop")))
    assert errors.num_rows == 1
    assert seen(node, rows_of(1)) == [2]


def test_a_checkpoint_has_what_changed_and_refers_to_the_rest(
    make: Make, segments: HeldSegments, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dataflare.processors.held.PART_BYTES", 1 << 12)
    node = make()
    seen(node, rows_of(*range(5000)))
    node.snapshot()
    before, written = set(node.segments()), sum(map(len, segments.kept.values()))
    seen(node, rows_of(1, 2, 3))
    node.snapshot()
    assert before <= set(node.segments())
    assert sum(map(len, segments.kept.values())) < 1.1 * written
    again = make()
    again.restore(gathered_state([node.snapshot()]))
    assert seen(again, rows_of(1, 5, 6000)) == [3, 2, 1]


def test_the_log_begins_anew_when_most_of_it_is_of_the_past(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wasm_state, "MERGE_ROWS", 100)
    node = make()
    for _ in range(60):
        seen(node, rows_of(*range(10)))
        node.snapshot()
    told = json.loads(node.snapshot()[SEGMENTED])
    assert sum(part["rows"] for part in told["log"]) <= 130
    again = make()
    again.restore(gathered_state([node.snapshot()]))
    assert seen(again, rows_of(3)) == [61]


def test_state_is_bounded_by_the_memory_of_the_node(make: Make) -> None:
    code = "export const process = (r) => { dataflare.setState([r.id], 'x'.repeat(1 << 16)); return r; };"
    node = make(code, memory="4MB")
    with pytest.raises(DataError, match=r"the state of \d+ keys takes more than 4 MB"):
        list(map(partial(seen, node), map(rows_of, range(100))))


def test_one_call_does_not_set_without_end(make: Make) -> None:
    code = """export const process = (r) => {
      for (let n = 0; ; n++) dataflare.setState([r.id], 'x'.repeat(1 << 16) + n);
    };"""
    with pytest.raises(DataError, match="takes more than 4 MB"):
        seen(make(code, memory="4MB", on_error="dead_letter"), rows_of(1))


def test_state_of_its_own_beside_that_of_keys_is_in_one_place(make: Make) -> None:
    code = COUNTING + "\nexport const exportState = () => 1;\nexport const importState = () => {};"
    node = make(code)
    assert [(p.together, p.keys) for p in node.ports(1)] == [(True, ())]
    seen(node, rows_of(1, 2))
    again = make(code)
    again.restore(gathered_state([node.snapshot()]))
    assert seen(again, rows_of(1)) == [2]
    assert [(p.together, p.keys) for p in make().ports(1)] == [(False, ("id",))]


def test_the_key_is_one_that_the_plugin_is_given(make: Make) -> None:
    with pytest.raises(WorkflowError, match="key: there is no column 'idd'"):
        make(key=["idd"])
    with pytest.raises(WorkflowError, match="key: the plugin is not given 'id'"):
        make(columns=["name"])
    with pytest.raises(WorkflowError, match="key: 'id' is float64, by which no state is kept"):
        make(schema=Schema.of({"id": "float64", "name": "string", "seen": "int64"}))


def test_a_checkpoint_of_a_node_with_another_key_is_refused(make: Make) -> None:
    node = make()
    seen(node, rows_of(1))
    stateful = "export const exportState = () => 1;\nexport const importState = () => {};"
    with pytest.raises(StateError, match="another `key`"):
        make(key=[]).restore(gathered_state([node.snapshot()]))
    free = make(COUNTING + stateful, key=[])
    seen(free, rows_of(1))
    with pytest.raises(StateError, match="another `key`"):
        make(COUNTING + stateful).restore(free.snapshot())
