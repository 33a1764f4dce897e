"""Sources stop to read when a limit behind them is reached, and only then."""

from __future__ import annotations

import asyncio
import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from dataflare.component import Config, Registry
from dataflare.executor.contract import Outcome, RunContext
from dataflare.executor.local import LocalExecutor
from dataflare.executor.runtime import LocalRuntime
from dataflare.state.memory import MemoryStore
from dataflare.workflow import plan_or_raise

if TYPE_CHECKING:
    from pathlib import Path

ROWS = 4_000_000
WORKFLOW = """
id: few
runtime: {{parallelism: {parallelism}}}
sources:
  made:
    type: generator
    config: {{rows: {rows}, partitions: 2, batch_rows: 1000, columns: {{id: sequence}}}}
transformations:
  even: {{type: filter, inputs: [made], config: {{condition: id % 3 = 0}}}}
  few: {{type: limit, inputs: [even], config: {{rows: 10}}}}
  {more}
destinations:
  out: {{type: file, inputs: [few], config: {{path: out, format: jsonl}}}}
  rest: {{type: file, inputs: [{rest}], config: {{path: rest, format: jsonl}}}}
"""
MORE = "many: {type: limit, inputs: [even], config: {rows: 100}}"


def run(folder: Path, parallelism: int, more: str, rest: str, rows: int = ROWS) -> Outcome:
    file = folder / "few.yaml"
    file.write_text(WORKFLOW.format(parallelism=parallelism, more=more, rest=rest, rows=rows))
    registry, runtime = Registry.installed(), LocalRuntime()
    plan = plan_or_raise(file, registry=registry, environ=os.environ, level="sample")
    try:
        context = RunContext(registry, runtime, MemoryStore(Config()))
        return asyncio.run(LocalExecutor(Config()).execute(plan, context))
    finally:
        runtime.close()


def ids(folder: Path) -> list[Any]:
    return [json.loads(line)["id"] for f in folder.glob("part-*.jsonl") for line in f.read_text().splitlines()]


@pytest.mark.parametrize("parallelism", [1, 2])
def test_a_source_is_not_read_to_its_end_for_ten_rows(tmp_path: Path, parallelism: int) -> None:
    outcome = run(tmp_path, parallelism, MORE, "many")
    assert outcome.status == "succeeded"
    assert outcome.nodes["made"]["rows_in"] < ROWS // 2
    assert (len(ids(tmp_path / "out")), len(ids(tmp_path / "rest"))) == (10, 100)


@pytest.mark.parametrize("parallelism", [1, 2])
def test_a_source_is_read_to_its_end_as_long_as_somebody_wants_its_rows(tmp_path: Path, parallelism: int) -> None:
    outcome = run(tmp_path, parallelism, "", "even", rows=30_000)
    assert outcome.nodes["made"]["rows_in"] == 30_000
    assert (len(ids(tmp_path / "out")), len(ids(tmp_path / "rest"))) == (10, 10_000)


def test_rows_that_are_grouped_before_a_limit_are_all_read(tmp_path: Path) -> None:
    more = "groups: {type: aggregate, inputs: [made], config: {aggregations: {n: count(*)}}}"
    outcome = run(tmp_path, 1, more + "\n  one: {type: limit, inputs: [groups], config: {rows: 0}}", "one", rows=30_000)
    assert outcome.nodes["groups"]["rows_in"] == 30_000
