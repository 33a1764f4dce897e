"""A few rows run where the task runs: a thread is asked only by many rows, or where something may block."""

from __future__ import annotations

import asyncio
import os
import threading
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from dataflare.batch import Batch
from dataflare.component import (
    Config,
    DestinationConnector,
    Field,
    Registry,
    SourceConnector,
    Stream,
    destination,
    source,
)
from dataflare.executor.contract import RunContext
from dataflare.executor.gathering import FEW_ROWS
from dataflare.executor.local import LocalExecutor
from dataflare.executor.runtime import LocalRuntime
from dataflare.plan_words import Mechanism
from dataflare.schema import Schema
from dataflare.state.memory import MemoryStore
from dataflare.workflow import plan_or_raise

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


class _Size(Config):
    rows: int = Field(1, description="Rows of a batch.")


@source("drips", replay="exact", modes=("streaming",))
class _Drips(SourceConnector[_Size]):
    """Yields three batches, each when asked."""

    def declared(self) -> dict[str, Stream]:
        return {"": Stream(Schema.of({"id": "int64"}))}

    async def read(self, split: Any, since: Any, until: Any) -> AsyncIterator[Batch]:  # type: ignore[override]
        del split, since, until
        for number in range(3):
            yield Batch.of([{"id": number}] * self.config.rows, position={"row": number})


@destination("on_the_loop", mechanisms=(Mechanism.APPEND,))
class _OnTheLoop(DestinationConnector[Config]):
    """Keeps rows."""

    rows: ClassVar[list[int]] = []

    async def write(self, batch: Batch) -> None:
        self.rows.extend(batch.rows.column("twice").to_pylist())


@destination("in_a_thread", mechanisms=(Mechanism.APPEND,))
class _InAThread(DestinationConnector[Config]):
    """Keeps rows, and the threads in which it got them."""

    rows: ClassVar[list[int]] = []
    threads: ClassVar[set[int]] = set()

    def write(self, batch: Batch) -> None:
        self.rows.extend(batch.rows.column("twice").to_pylist())
        self.threads.add(threading.get_ident())


class _Watched(LocalRuntime):
    def __init__(self) -> None:
        super().__init__()
        self.ran = 0

    async def call(self, function: Any, *args: Any, **kwargs: Any) -> Any:
        self.ran += function.__name__ == "_run"
        return await super().call(function, *args, **kwargs)


def _run(tmp_path: Path, kind: str, rows: int) -> int:
    """Return how often a thread was asked to run a batch."""
    file = tmp_path / "w.yaml"
    file.write_text(
        f"id: w\nsources: {{s: {{type: drips, mode: streaming, config: {{rows: {rows}}}}}}}\n"
        'transformations: {t: {type: mapping, inputs: [s], config: {set: {twice: "id * 2"}}}}\n'
        f"destinations: {{d: {{type: {kind}, inputs: [t]}}}}\n"
    )
    registry, runtime = Registry.installed().including(_Drips, _OnTheLoop, _InAThread), _Watched()
    plan = plan_or_raise(file, registry=registry, environ=os.environ, level="sample")
    context = RunContext(registry, runtime, MemoryStore(Config()))
    outcome = asyncio.run(LocalExecutor(Config()).execute(plan, context))
    runtime.close()
    assert outcome.status == "succeeded", outcome.error
    return runtime.ran


@pytest.mark.parametrize(("rows", "asked"), [(1, 0), (FEW_ROWS, 0), (FEW_ROWS + 1, 3)])
def test_a_few_rows_ask_no_thread(tmp_path: Path, rows: int, asked: int) -> None:
    _OnTheLoop.rows.clear()
    assert _run(tmp_path, "on_the_loop", rows) == asked
    assert sorted(_OnTheLoop.rows) == sorted([0, 2, 4] * rows)


def test_what_may_block_runs_in_a_thread_however_few_the_rows(tmp_path: Path) -> None:
    _InAThread.rows.clear()
    assert _run(tmp_path, "in_a_thread", 1) == 3
    assert _InAThread.rows == [0, 2, 4]
    assert threading.get_ident() not in _InAThread.threads
