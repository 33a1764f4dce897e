"""Changes on their way through a plugin: deletes, rows that it drops or sends elsewhere, keys, reserved columns."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from dataflare.batch import Batch
from dataflare.changes import BEFORE, COMMIT_TS, OP, TX, UNCHANGED, changing, may_be_unchanged
from dataflare.component import Config, Registry
from dataflare.connectors.memory.buckets import BUCKETS
from dataflare.errors import DataError, WorkflowError
from dataflare.executor.contract import RunContext
from dataflare.executor.local import LocalExecutor
from dataflare.executor.runtime import LocalRuntime
from dataflare.plan import EdgeKind
from dataflare.processors.wasm import WasmConfig, WasmProcessor
from dataflare.schema import Column, Schema
from dataflare.testing.simulation.world import World, store_of
from dataflare.testing.stage import staged
from dataflare.workflow import load

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dataflare.workflow.loading import Loaded

Row = dict[str, Any]
TABLE = Schema((Column("id", "int64", nullable=False), *Schema.of({"s": "string", "n": "int64"})))
PLAIN = changing(TABLE, ("id",), before=True)


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Any]:
    made: list[WasmProcessor] = []

    def build(code: str, schema: Schema = PLAIN, config: Row | None = None, **context: Any) -> WasmProcessor:
        (tmp_path / "rules.js").write_text(code)
        config = {"module": "rules.js", **(config or {})}
        node = staged(WasmProcessor(WasmConfig(**config)), tmp_path, schemas={"0": schema}, key=("id",), **context)
        made.append(node)
        node.open()
        return node

    yield build
    for node in made:
        node.close()


def change(op: str, number: int | None, n: int | None = None, s: str | None = None) -> Row:
    before = {"id": number, "s": s, "n": 0} if op == "update" else None
    return {"id": number, "s": s, "n": n, OP: op, TX: "7", COMMIT_TS: 5, BEFORE: before}


def through(node: WasmProcessor, *rows: Row) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    schema = node.context.schemas["0"].to_arrow()
    for batch in node.process(Batch(pa.Table.from_pylist(list(rows), schema))):
        planned = node.outputs([node.context.schemas["0"]])[batch.stream].to_arrow()
        assert batch.stream == "errors" or batch.rows.schema.equals(planned)
        found.setdefault(batch.stream, []).extend(batch.rows.to_pylist())
    return found


def told(rows: list[Row], *names: str) -> list[tuple[Any, ...]]:
    return [tuple(row[name] for name in (OP, "id", *names)) for row in rows]


GONE = [change("delete", 9, s="old"), change("truncate", None)]
DROPPING = "export const process = (r) => r.n > 5 ? { ...r, n: r.n + 1 } : null;"


def test_updates_that_are_dropped_become_deletes_in_their_place(opened: Any) -> None:
    rows = [change("read", 1, 1), change("insert", 2, 7), change("update", 2, 1), GONE[0], change("update", 3, 8)]
    found = through(opened(DROPPING), *rows, GONE[1], change("insert", 4, 9))[""]
    assert told(found, "n") == [
        ("insert", 2, 8),
        ("delete", 2, None),
        ("delete", 9, None),
        ("update", 3, 9),
        ("truncate", None, None),
        ("insert", 4, 10),
    ]
    assert {r[TX] for r in found} == {"7"}
    assert found[3][BEFORE] == {"id": 3, "s": None, "n": 0}


def test_what_carries_changes_is_not_shown(opened: Any) -> None:
    node = opened("export const process = (r) => ({ ...r, s: Object.keys(r).join() });")
    assert told(through(node, change("update", 1, 1))[""], "s") == [("update", 1, "id,s,n")]


def test_columns_are_made_beside_those_that_pass_and_deletes_have_none(opened: Any) -> None:
    node = opened(
        "export const input = ['n'], adds = { twice: 'int64' }; export const process = (r) => ({ twice: 2 * r.n });"
    )
    found = through(node, change("insert", 1, 4, "a"), change("delete", 9, s="old"))[""]
    assert told(found, "s", "twice") == [("insert", 1, "a", 8), ("delete", 9, "old", None)]
    assert found[0][BEFORE] is None
    assert node.reads([PLAIN], frozenset({"twice"})) is None, "the key and what carries changes are wanted, too"


def test_an_output_of_its_own_has_the_key_and_what_carries_changes(opened: Any) -> None:
    head = "export const output = { id: 'int64', text: 'string' };"
    node = opened(f"{head}\nexport const process = (r) => ({{ id: r.id, text: r.s }});")
    planned = node.outputs([PLAIN])[""]
    assert planned.names == ["id", "text", OP, COMMIT_TS, TX, BEFORE]
    assert not planned["id"].nullable
    found = through(node, change("insert", 1, 4, "a"), *GONE)[""]
    assert told(found, "text") == [("insert", 1, "a"), ("delete", 9, None), ("truncate", None, None)]


def test_an_update_that_goes_to_one_output_is_a_delete_in_the_others(opened: Any) -> None:
    node = opened(
        "export const outputs = { big: null };\nexport const process = (r) => r.n > 5 ? dataflare.to('big', r) : r;"
    )
    rows = [change("insert", 1, 1), change("update", 1, 7), change("update", 1, 2), *GONE]
    found = through(node, *rows)
    gone = [("delete", 9), ("truncate", None)]
    assert told(found[""]) == [("insert", 1), ("delete", 1), ("update", 1), *gone]
    assert told(found["big"]) == [("update", 1), ("delete", 1), *gone]


def test_rows_whose_key_or_number_is_changed_are_put_aside_and_are_no_deletes(opened: Any) -> None:
    code = """export const outputs = { big: null };
    export const process = (r) => {
      if (r.n === 1) return { ...r, id: 77 };
      if (r.n === 2) return [r, { ...r, s: "again" }];
      if (r.n === 3) throw new Error("no");
      if (r.n === 4) return { ...r, id: null };
      return [r, dataflare.to("big", r)];
    };"""
    found = through(opened(code, on_error="dead_letter"), *(change("update", n, n) for n in range(6)), GONE[0])
    assert [r["error"] for r in found["errors"]] == [
        "the plugin changed the key column 'id', by which changes are told apart",
        "the plugin returned several rows for one change",
        "no (5)",
        "column 'id' must not be null",
    ]
    assert told(found[""]) == told(found["big"]) == [("update", 0), ("update", 5), ("delete", 9)]


def test_a_changed_key_ends_the_run_if_it_may(opened: Any) -> None:
    with pytest.raises(DataError, match="changed the key column 'id'"):
        through(opened("export const process = (r) => ({ ...r, id: 3 });"), change("insert", 1, 1))


def test_the_plan_refuses_a_key_that_is_made_anew_and_columns_of_changes(opened: Any) -> None:
    with pytest.raises(WorkflowError, match="makes the key column 'id' anew"):
        opened("export const adds = { id: 'int64' };\nexport const process = (r) => r;")
    with pytest.raises(WorkflowError, match="makes the key column 'id' anew"):
        opened("export const output = { id: 'string' };\nexport const process = (r) => r;")
    for head in ("input = ['id', '_op']", "output = { id: 'int64', _op: 'string' }"):
        with pytest.raises(WorkflowError, match="'_op' tells of a change, which passes the plugin by"):
            opened(f"export const {head};\nexport const process = (r) => r;")


def test_state_is_by_columns_of_the_key_alone(opened: Any) -> None:
    with pytest.raises(WorkflowError, match="key: the changes are told apart by id"):
        opened("export const process = (r) => r;", config={"key": ["s"]})
    node = opened("export const process = (r) => r;", config={"key": ["id"]}, parallelism=2, index=1)
    with pytest.raises(DataError, match="several tasks cannot put in order"):
        through(node, GONE[1])
    assert told(through(opened("export const process = (r) => r;", config={"key": ["id"]}), GONE[1])[""]) == [
        ("truncate", None)
    ]


def test_what_is_made_is_told_in_each_change(opened: Any) -> None:
    schema = changing(TABLE, ("id",), unchanged=[])
    schema = Schema((*(c for c in schema), Column(UNCHANGED, "list<string>", told="value")))
    node = opened("export const adds = { t: 'string' }; export const process = (r) => r;", schema)
    assert may_be_unchanged(node.outputs([schema])[""]) <= may_be_unchanged(schema)


WORKFLOW = """
id: changes
runtime: {{parallelism: {tasks}}}
sources:
  shop:
    type: memory
    config:
      columns: {{id: int64, s: string, n: int64}}
      changes: {{key: [id], unchanged: {unchanged}}}
      rows: {rows}
transformations:
  ruled: {{type: wasm, inputs: [shop], config: {{module: {module}, {more}}}}}
  table: {{type: materialise, inputs: [ruled]}}
destinations:
  out: {{type: memory, inputs: [table], config: {{bucket: ruled}}}}
"""


def planned(folder: Path, code: str, more: str = "", **given: Any) -> Loaded:
    (folder / "rules.js").write_text(code)
    told = {"tasks": 1, "unchanged": "false", "rows": "[]", **given}
    text = WORKFLOW.format(module=folder / "rules.js", more=more, **told)
    return load(text, registry=Registry.installed(), environ={}, level="sample")


def problems(found: Loaded) -> list[str]:
    return [f.message for f in found.findings if f.severity == "error"]


def test_a_plan_takes_whole_changes_and_their_key_alone(tmp_path: Path) -> None:
    passing = "export const process = (r) => r;"
    plan = planned(tmp_path, passing).plan
    assert plan is not None
    assert (plan.node("ruled").output().kind, plan.node("ruled").output().key) == (EdgeKind.UPSERT, ("id",))
    (left_out,) = problems(planned(tmp_path, passing, unchanged="[s]"))
    assert left_out == "ruled: wasm takes no values that may be left out as unchanged, as 's' may"
    lost, *_ = problems(planned(tmp_path, "export const output = { s: 'string' };" + passing))
    assert lost == "the key column id is dropped, but changes are told apart by it"


def test_changes_run_through_and_leave_the_table_that_there_is(tmp_path: Path) -> None:
    code = """export const process = (r) => {
      const seen = (dataflare.getState([r.id]) ?? 0) + 1;
      dataflare.setState([r.id], seen);
      return r.n < 0 ? null : { ...r, n: seen };
    };"""
    rows = [
        *({"id": n, "s": "a", "n": n, OP: "insert"} for n in range(6)),
        *({"id": n, "s": "b", "n": 2 - n, OP: "update"} for n in range(5)),
        {"id": 0, OP: "delete"},
        {"id": 0, "s": "c", "n": 1, OP: "insert"},
        {"id": 5, OP: "delete"},
    ]
    plan = planned(tmp_path, code, "key: [id]", rows=json.dumps(rows), tasks=2).plan
    assert plan is not None
    BUCKETS.put("ruled", pa.table({}))
    runtime = LocalRuntime()
    context = RunContext(Registry.installed(), runtime, store_of(World())(Config()))
    outcome = asyncio.run(LocalExecutor(Config()).execute(plan, context))
    runtime.close()
    assert outcome.status == "succeeded", outcome
    table = BUCKETS.rows("ruled")
    assert table is not None
    assert sorted((r["id"], r["s"], r["n"]) for r in table.to_pylist()) == [(0, "c", 3), (1, "b", 2), (2, "b", 2)]
