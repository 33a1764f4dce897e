"""A run that catches up reads endless sources as far as they stand when it starts, and the next one goes on there."""

from __future__ import annotations

import asyncio
import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from dataflare.batch import Batch
from dataflare.clock import SystemClock
from dataflare.component import Config, Registry, SourceConnector, Stream, source
from dataflare.errors import WorkflowError
from dataflare.executor.contract import Outcome, RunContext
from dataflare.executor.local import LocalExecutor
from dataflare.executor.runtime import LocalRuntime
from dataflare.schema import Schema
from dataflare.state.memory import MemoryStore
from dataflare.workflow import plan_or_raise

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WORKFLOW = """
id: ever
runtime:
  parallelism: 2
  restart: {{initial: 10ms}}
sources:
  ticks: {{type: {type}, mode: streaming, config: {config}}}
  fixed: {{type: memory, config: {{rows: [{{id: -1}}]}}}}
transformations:
  both: {{type: union, inputs: [ticks, fixed]}}
destinations:
  out: {{type: file, inputs: [both], config: {{path: out, format: jsonl}}}}
"""
TICKS = {
    "rows": None,
    "rate": 10,
    "begin": "1970-01-01",
    "partitions": 3,
    "batch_rows": 7,
    "columns": {"id": "sequence"},
}


class WallClock(SystemClock):
    """Tells the seconds since 1970 that it is set to."""

    seconds = 0.0

    def now(self) -> int:
        return int(self.seconds * 1e6)


@source("blind", replay="exact", modes=("streaming",))
class Blind(SourceConnector[Config]):
    """Never ends and cannot tell where it stands."""

    def declared(self) -> dict[str, Stream]:
        return {"": Stream(Schema.of({"id": "int64"}))}

    def read(self, split: Any, since: Any, until: Any) -> Iterator[Batch]:
        raise AssertionError("it was read")


class Runs:
    """Runs one workflow again and again with one state."""

    def __init__(self, folder: Path, kind: str = "generator", config: Any = None) -> None:
        self._file = folder / "ever.yaml"
        self._file.write_text(WORKFLOW.format(type=kind, config=json.dumps(TICKS if config is None else config)))
        self._out = folder / "out"
        self._store = MemoryStore(Config())
        self._registry = Registry.installed().including(Blind)

    def at(self, seconds: float) -> Outcome:
        clock = WallClock()
        clock.seconds = seconds
        runtime = LocalRuntime(clock=clock)
        plan = plan_or_raise(self._file, registry=self._registry, environ=os.environ, level="sample")
        context = RunContext(self._registry, runtime, self._store, catch_up=True)
        try:
            return asyncio.run(LocalExecutor(Config()).execute(plan, context))
        finally:
            runtime.close()

    @property
    def ids(self) -> list[int]:
        lines = [line for f in self._out.glob("part-*.jsonl") for line in f.read_text().splitlines()]
        return sorted(i for i in (json.loads(line)["id"] for line in lines) if i >= 0)


def test_each_run_reads_what_has_come_since_the_one_before(tmp_path: Path) -> None:
    runs = Runs(tmp_path)
    for seconds in (10.0, 25.0, 25.0):
        outcome = runs.at(seconds)
        assert (outcome.status, outcome.more) == ("succeeded", False)
        assert outcome.nodes["fixed"]["rows_in"] == 1, "a bounded source is read whole"
        assert runs.ids == list(range(int(seconds * 10)))


def test_a_failure_on_the_way_loses_and_repeats_nothing(tmp_path: Path) -> None:
    runs = Runs(tmp_path, config={**TICKS, "faults": [{"at_row": 150, "kind": "error"}]})
    assert runs.at(10.0).attempts == 1
    assert runs.at(25.0).attempts == 2
    assert runs.ids == list(range(250))


@pytest.mark.parametrize(("kind", "config"), [("blind", {}), ("generator", {**TICKS, "begin": None})])
def test_a_source_that_cannot_tell_where_it_stands_is_not_read(tmp_path: Path, kind: str, config: Any) -> None:
    outcome = Runs(tmp_path, kind, config).at(10.0)

    assert outcome.status == "failed"
    assert isinstance(outcome.error, WorkflowError)
    assert "where it" in outcome.error.what
    assert outcome.error.hint
    assert "ticks" in str(outcome.error.place)
    assert not list((tmp_path / "out").glob("part-*"))
