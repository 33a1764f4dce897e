"""A workflow that a program builds is the one that a file would say."""

from __future__ import annotations

import asyncio
import inspect
import subprocess
import sys
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.program import orders as module

import dataflare
from dataflare.component import Registry
from dataflare.connectors.memory.buckets import BUCKETS
from dataflare.errors import DataError, InvalidWorkflowError, WorkflowError
from dataflare.program import Workflow
from dataflare.program.plain import plain
from dataflare.program.text import yaml_text
from dataflare.workflow import load
from dataflare.workflow.findings import Findings
from dataflare.workflow.reading import read_document

ROWS = [{"id": 1, "amount": 5}, {"id": 2, "amount": -1}, {"id": 3, "amount": 7}]


@pytest.fixture(autouse=True)
def _no_buckets() -> None:
    BUCKETS.clear()


def shop(tmp_path: Path, **words: Any) -> Workflow:
    """Return a workflow whose rows end in the buckets `big` and `dead`."""
    workflow = Workflow("shop", directory=tmp_path, **words)
    found = workflow.source("orders", "memory", {"rows": ROWS, "columns": {"id": "int64", "amount": "int64"}})
    checked = found.then("checked", module.doubled, on_error="dead_letter")
    checked.then("big", "filter", {"condition": "amount > 10"}).into("kept", "memory", {"bucket": "big"})
    checked["errors"].into("dead", "memory", {"bucket": "dead"})
    return workflow


def rows(bucket: str) -> list[dict[str, Any]]:
    found = BUCKETS.rows(bucket)
    return found.to_pylist() if found is not None else []


def test_it_runs_and_rejects_rows_like_any_other(tmp_path: Path) -> None:
    outcome = shop(tmp_path).run()
    assert outcome.status == "succeeded"
    assert rows("big") == [{"id": 3, "amount": 14}]
    assert [row["error"] for row in rows("dead")] == ["ValueError: negative"]


def test_a_lambda_and_a_function_that_yields_rows_are_nodes(tmp_path: Path) -> None:
    factor = 3
    workflow = Workflow("numbers", directory=tmp_path)
    numbers = workflow.source("numbers", lambda: ({"n": n} for n in range(4)))
    numbers.then("times", lambda record: {"n": record["n"] * factor}).into("out", "memory", {"bucket": "out"})
    workflow.run()
    assert [row["n"] for row in rows("out")] == [0, 3, 6, 9]


def test_columns_and_tables_are_given_where_the_settings_say_so(tmp_path: Path) -> None:
    workflow = Workflow("modes", directory=tmp_path)
    given_rows = workflow.source("given", "memory", {"rows": [{"n": 1}, {"n": 2}], "columns": {"n": "int64"}})
    columns = {"mode": "columns", "output": {"n": "int64"}}
    added = given_rows.then("added", lambda column: {"n": [n + 1 for n in column["n"]]}, columns)
    added.then("same", lambda table: table, {"mode": "batch"}).into("out", "memory", {"bucket": "out"})
    workflow.run()
    assert [row["n"] for row in rows("out")] == [2, 3]


def test_it_runs_within_an_event_loop_both_ways(tmp_path: Path) -> None:
    async def both() -> list[str]:
        workflow = shop(tmp_path)
        awaited = await workflow.run_async()
        return [awaited.status, workflow.run().status, str((await workflow.preview_async("big")).num_rows)]

    assert asyncio.run(both()) == ["succeeded", "succeeded", "1"]


def test_findings_stand_at_the_lines_that_added_the_nodes() -> None:
    workflow = Workflow("wrong")
    line = inspect.currentframe().f_lineno  # type: ignore[union-attr]
    found = workflow.source("orders", "memory", {"rows": ROWS})
    found.then("big", "filter", {"condition": "amuont > 10"}).into("out", "memry")
    findings = workflow.validate()
    assert {(f.code, f.place.line - line) for f in findings} == {
        ("workflow.expression", 2),
        ("workflow.unknown_type", 2),
    }
    assert {f.place.file for f in findings} == {__file__}
    assert "transformations.big.config.condition" in {f.place.path for f in findings}
    with pytest.raises(InvalidWorkflowError):
        workflow.plan()
    with pytest.raises(InvalidWorkflowError):
        workflow.run()


def test_a_second_node_of_the_same_name_is_refused_at_once() -> None:
    workflow = Workflow("twice")
    workflow.source("orders", "memory", {"rows": ROWS})
    with pytest.raises(WorkflowError, match="'orders' already"):
        workflow.transformation("orders", "filter", {"condition": "true"}, inputs=["orders"])


def test_its_plan_is_the_plan_of_its_file(tmp_path: Path) -> None:
    workflow = Workflow("same", directory=tmp_path, runtime={"parallelism": 2}, description="twice")
    a = workflow.source("a", "memory", {"rows": ROWS, "columns": {"id": "int64", "amount": "int64"}})
    b = workflow.source("b", "memory", {"rows": ROWS, "columns": {"id": "int64", "amount": "int64"}}, mode="full")
    both = workflow.transformation("both", "union", inputs=[a, b])
    route = both.then("split", "route", {"routes": {"big": "amount > 5", "rest": "true"}, "match": "first"})
    route["big"].into("big", "sqlite", {"path": "x.db", "table": "big"}, write_mode="merge", key="id")
    workflow.destination("rest", "memory", {"bucket": "rest"}, inputs=["split.rest"])
    file = tmp_path / "same.yaml"
    file.write_text(workflow.to_yaml())
    loaded = load(file, registry=Registry.installed(), environ={}, level="sample")
    assert loaded.plan is not None, loaded.findings
    own, read = workflow.plan().to_json(), loaded.plan.to_json()
    for value in (own, read):
        value["directory"] = ""
        for node in value["nodes"]:
            node["place"] = {}
    assert own == read


def test_a_function_of_a_module_is_written_by_its_name_and_runs_from_the_file(tmp_path: Path) -> None:
    (tmp_path / "orders_of_test.py").write_text(Path(str(module.__file__)).read_text())
    program = (
        "from dataflare import Workflow\n"
        "from orders_of_test import doubled, orders\n"
        "w = Workflow('shop')\n"
        "w.source('orders', orders).then('twice', doubled, on_error='skip').into('out', 'stdout')\n"
        "print(w.to_yaml())\n"
    )
    (tmp_path / "program.py").write_text(program)
    done = subprocess.run([sys.executable, "program.py"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "function: orders_of_test:doubled" in done.stdout.replace('"', "")
    (tmp_path / "shop.yaml").write_text(done.stdout)
    dataflare_ = Path(sys.executable).with_name("dataflare")
    ran = subprocess.run([dataflare_, "run", "shop.yaml"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.stdout == '{"id":1,"amount":10}\n{"id":3,"amount":14}\n', ran.stderr


def test_a_function_that_no_file_can_name_is_not_written() -> None:
    workflow = Workflow("lambda")
    workflow.source("n", lambda: [{"n": 1}]).into("out", "stdout")
    with pytest.raises(WorkflowError, match="no file can name"):
        workflow.to_yaml()


def test_the_error_of_a_run_is_raised(tmp_path: Path) -> None:
    workflow = Workflow("fails", directory=tmp_path)
    found = workflow.source("orders", "memory", {"rows": ROWS})
    found.then("twice", module.doubled).into("out", "memory", {"bucket": "out"})
    with pytest.raises(DataError, match="negative") as raised:
        workflow.run()
    assert raised.value.place.file.endswith("orders.py")


def test_a_run_with_a_name_is_done_once(tmp_path: Path) -> None:
    workflow = shop(tmp_path)
    workflow.run(run_id="monday")
    workflow.run(run_id="monday")
    assert len(rows("big")) == 1
    workflow.run(run_id="tuesday", deadline=timedelta(seconds=30))
    assert len(rows("big")) == 2


def test_a_preview_shows_the_first_rows_and_writes_nothing(tmp_path: Path) -> None:
    workflow = shop(tmp_path)
    assert workflow.preview("orders", 2).to_pylist() == ROWS[:2]
    assert workflow.preview("kept").to_pylist() == [{"id": 3, "amount": 14}]
    assert workflow.preview("checked.errors").num_rows == 1
    assert list(tmp_path.iterdir()) == []
    assert BUCKETS.rows("big") is None
    with pytest.raises(WorkflowError, match="no node 'bigg'"):
        workflow.preview("bigg")


def test_a_preview_hides_tagged_values(tmp_path: Path) -> None:
    workflow = Workflow("tagged", directory=tmp_path)
    people = [{"id": 1, "email": "ada@example.org"}]
    found = workflow.source("people", "memory", {"rows": people}, tags={"email": "pii.email"})
    found.then("lower", "mapping", {"set": {"mail": "upper(email)"}}).then("bare", "mapping", {"keep": ["id"]}).into(
        "out", "memory"
    )
    assert workflow.preview("lower").to_pylist() == [{"id": 1, "email": "***", "mail": "***"}]


def test_values_of_python_become_those_of_a_file() -> None:
    value = {"path": Path("a/b"), "wait": timedelta(seconds=1.5), "amount": Decimal("1.50"), "list": (1, None), 3: True}
    assert plain(value) == {"path": "a/b", "wait": "1500000us", "amount": "1.50", "list": [1, None], "3": True}
    with pytest.raises(WorkflowError, match="cannot be object"):
        plain({"x": object()})


TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=("Cs",)), max_size=12)
WORDS = st.sampled_from(
    ["on", "No", "1e3", "0x1F", "007", "~", "null", "${A}", "a: b", "# c", "- x", "1_000", " s ", "x\ny\n"]
)
SCALARS = st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    SCALARS | TEXTS | WORDS, lambda v: st.lists(v, max_size=4) | st.dictionaries(TEXTS, v, max_size=4), max_leaves=12
)


@given(st.dictionaries(st.sampled_from(["id", "metadata", "tests"]), VALUES, min_size=1))
def test_any_document_reads_back_as_it_was_written(document: dict[str, Any]) -> None:
    findings = Findings()
    read = read_document(yaml_text(document), findings)
    unreadable = [f for f in findings.items if "not allowed" not in f.message]
    assert unreadable == []
    if read is not None:
        assert read.plain() == document


def test_importing_the_package_loads_no_data_library() -> None:
    code = "import sys; from dataflare import Workflow; Workflow('w').source('s', 'file', {}); "
    code += "print({'pyarrow', 'duckdb', 'pydantic', 'yaml'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
    assert dataflare.Workflow is Workflow
