"""What comes of all rows may take longer than an epoch may: the last one has no time-out where rows wait for it."""

from __future__ import annotations

import asyncio
import json
import os
import time
from typing import TYPE_CHECKING

from dataflare.batch import Batch
from dataflare.component import Config, Processor, Registry, processor
from dataflare.executor.contract import RunContext
from dataflare.executor.local import LocalExecutor
from dataflare.executor.runtime import LocalRuntime
from dataflare.state.memory import MemoryStore
from dataflare.workflow import plan_or_raise

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

TIMEOUT_SECONDS = 0.1
WORKFLOW = f"""
id: long
runtime: {{checkpoint: {{timeout: {TIMEOUT_SECONDS}s}}, restart: {{strategy: none}}}}
sources:
  made: {{type: generator, config: {{rows: 100, columns: {{id: sequence}}}}}}
transformations:
  slow: {{type: slow_end, inputs: [made]}}
destinations:
  out: {{type: file, inputs: [slow], config: {{path: out, format: jsonl}}}}
"""


@processor("slow_end", counts=("absorbed", "expanded"))
class SlowEnd(Processor[Config]):
    """Takes four time-outs to yield what it holds."""

    def process(self, batch: Batch, port: int = 0) -> Iterable[Batch]:
        self._held = [*getattr(self, "_held", []), batch]
        return ()

    def finish(self) -> Iterable[Batch]:
        time.sleep(4 * TIMEOUT_SECONDS)
        yield from self._held


def test_the_end_of_the_input_may_take_longer_than_an_epoch(tmp_path: Path) -> None:
    file = tmp_path / "long.yaml"
    file.write_text(WORKFLOW)
    registry, runtime = Registry.installed().including(SlowEnd), LocalRuntime()
    plan = plan_or_raise(file, registry=registry, environ=os.environ, level="sample")
    try:
        context = RunContext(registry, runtime, MemoryStore(Config()))
        outcome = asyncio.run(LocalExecutor(Config()).execute(plan, context))
    finally:
        runtime.close()
    assert (outcome.status, outcome.error) == ("succeeded", None)
    lines = [line for f in (tmp_path / "out").glob("part-*.jsonl") for line in f.read_text().splitlines()]
    assert sorted(json.loads(line)["id"] for line in lines) == list(range(100))
