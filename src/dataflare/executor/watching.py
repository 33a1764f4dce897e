"""What a task tells those who watch it while it runs: how much went through it, and some of its rows.

Nobody who watches holds it up: it answers between two batches, keeps a bounded number of rows for who asked, and lets
the others go by.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from dataflare.actor.cell import Actor
from dataflare.security.veil import veiled

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping

    import pyarrow as pa

    from dataflare.batch import Batch
    from dataflare.clock import Clock
    from dataflare.executor.exchange import Inlets
    from dataflare.executor.job import Job
    from dataflare.schema import Schema

T = TypeVar("T")

TAPPED_ROWS_MAX = 1000
FORGET_SECONDS = 10.0
"""A tap that nobody has asked for so long is taken off."""


class Meter:
    """Seconds that a task has worked, and that it has waited for others to take its rows; since it began."""

    def __init__(self, clock: Clock) -> None:
        """Begin at nothing."""
        self._clock = clock
        self.busy_seconds = self.blocked_seconds = 0.0

    async def working(self, work: Awaitable[T]) -> T:
        """Wait for work on rows, and count it."""
        began = self._clock.monotonic()
        try:
            return await work
        finally:
            self.busy_seconds += self._clock.monotonic() - began

    async def blocking(self, wait: Awaitable[T]) -> T:
        """Wait until others have taken rows, and count it."""
        began = self._clock.monotonic()
        try:
            return await wait
        finally:
            self.blocked_seconds += self._clock.monotonic() - began


@dataclass(slots=True)
class _Tap:
    """The rows of one output that wait to be asked for, and how many went by."""

    asked: float
    rows_max: int
    waiting: deque[pa.Table] = field(default_factory=deque)
    rows: int = 0
    passed: int = 0


class Taps:
    """The outputs of a task that somebody looks at. `offer` is called for each batch, in the thread of the task."""

    def __init__(self, clock: Clock) -> None:
        """Look at none."""
        self._clock = clock
        self._taps: dict[tuple[str, str], _Tap] = {}

    def offer(self, node: str, output: str, batch: Batch) -> None:
        """Keep the first rows of a batch as far as there is room."""
        from dataflare.batch import Encoded

        tap = self._taps.get((node, output))
        if tap is None:
            return
        if self._clock.monotonic() - tap.asked > FORGET_SECONDS:
            self._taps.pop((node, output), None)
            return
        kept = 0 if isinstance(batch.payload, Encoded) else min(batch.num_rows, tap.rows_max - tap.rows)
        if kept > 0:
            tap.waiting.append(batch.rows.slice(0, kept))
            tap.rows += kept
        tap.passed += batch.num_rows - max(0, kept)

    def take(self, node: str, output: str, rows_max: int) -> tuple[list[pa.Table], int]:
        """Return what waits, and how many rows went by besides; look at this output from now on."""
        before = self._taps.get((node, output))
        self._taps[node, output] = _Tap(self._clock.monotonic(), min(rows_max, TAPPED_ROWS_MAX))
        return (list(before.waiting), before.passed) if before is not None else ([], 0)


class WatchedTask(Actor):
    """The side of a task that answers those who watch."""

    name: str
    meter: Meter
    taps: Taps
    _job: Job
    _built: Any
    _inlets: Inlets

    async def measure(self) -> dict[str, Any]:
        """Return rows in and out by node, seconds busy and blocked, and how many batches wait; since it began.

        Of the task of a source also the lag by node, where it tells one.
        """
        source = self._built.source if self._built is not None else None
        lag = source.lag() if source is not None else None
        tally = self._built.pipeline.tally if self._built is not None else None
        return {
            "task": self.name,
            "nodes": {n: list(rows) for n, rows in tally.flowed.items()} if tally is not None else {},
            "busy_seconds": self.meter.busy_seconds,
            "blocked_seconds": self.meter.blocked_seconds,
            "queue": self._inlets.waiting,
            "lag": {source.context.node: lag.figures()} if source is not None and lag is not None else {},
        }

    async def tap(self, node: str, output: str, rows_max: int) -> tuple[list[str], int]:
        """Return rows of an output as JSON, tagged values hidden, since it was last asked; and how many went by."""
        tables, passed = self.taps.take(node, output, rows_max)
        if not tables:
            return [], passed
        schema = self._job.plan.node(node).output(output).schema
        return await self._job.runtime.call(_as_texts, tables, schema), passed


def _as_texts(tables: list[pa.Table], schema: Schema) -> list[str]:
    from dataflare.formats.jsonl.encode import JsonTexts

    json_columns = [c.name for c in schema if c.type == "json" and not c.tags]
    texts = JsonTexts()
    try:
        lines = [texts.lines(veiled(rows, schema), json_columns).to_pylist() for rows in tables]
    finally:
        texts.close()
    return [line.rstrip("\n") for found in lines for line in found]


async def measured(tasks: Mapping[str, Any], known: dict[str, dict[str, Any]], seconds: float) -> None:
    """Put into `known` what each task says within so long; one that is busy for longer keeps what it said before."""
    asked = [asyncio.get_running_loop().create_task(ref.ask("measure")) for ref in tasks.values()]
    if not asked:
        return
    done, late = await asyncio.wait(asked, timeout=seconds)
    for task in done:
        if not task.cancelled() and task.exception() is None:
            known[task.result()["task"]] = task.result()
    for task in late:
        task.add_done_callback(lambda t: t.cancelled() or t.exception())


__all__ = ["TAPPED_ROWS_MAX", "Meter", "Taps", "WatchedTask", "measured"]
