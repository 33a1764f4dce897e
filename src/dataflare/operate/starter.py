"""Runs the runs of one workflow, each in a thread and on an event loop of its own.

So a component that blocks its loop, or a worker thread that hangs, holds up its own workflow and no other one.
"""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from dataflare.component import Config
from dataflare.errors import LeaseHeldError
from dataflare.executor.faults import as_error
from dataflare.executor.local import LocalExecutor
from dataflare.operate.history import ended

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from dataflare.errors import DataFlareError
    from dataflare.executor.contract import Outcome, RunContext
    from dataflare.operate.agenda import PlannedRun
    from dataflare.operate.history import RunRecord
    from dataflare.plan import Plan

FAREWELL_SECONDS = 10.0
"""A run that is broken off and has not ended by then is left behind; its thread dies with the process."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a run is run with: its plan, its surroundings, and a function that hides the secrets in a text."""

    plan: Plan
    context: RunContext
    hide: Callable[[str], str] = str


class Prepare(Protocol):
    """Makes the plan and the surroundings of a run, and puts them away when left. Blocking; any error fails the run."""

    def __call__(self, planned: PlannedRun) -> AbstractContextManager[Prepared]:
        """Return them; `planned` has no name where the run has none."""
        ...


class ThreadStarter:
    """Runs one run at a time. `places` bounds how many runs of all workflows of this process run at once."""

    def __init__(self, prepare: Prepare, places: asyncio.Semaphore | None = None) -> None:
        """Start no thread yet."""
        self._prepare, self._places = prepare, places
        self._executor: LocalExecutor | None = None
        self._drained = asyncio.Event()

    async def run(self, planned: PlannedRun, record: RunRecord) -> RunRecord:
        """Run to the end and return the record of it; raise LeaseHeldError where another process runs the workflow.

        Drained while it waits for a place, it ends as `stopped` without having begun.
        """
        self._drained.clear()
        if self._places is None:
            return await self._run(planned, record)
        if not await self._placed(self._places):
            return record.finished(record.began, "stopped")
        try:
            return await self._run(planned, record)
        finally:
            self._places.release()

    def drain(self) -> None:
        """Let the run that is under way commit what it read, and end."""
        self._drained.set()
        if self._executor is not None:
            self._executor.drain()

    async def _placed(self, places: asyncio.Semaphore) -> bool:
        """Wait for a place; False where the run is drained before there is one."""
        loop = asyncio.get_running_loop()
        place, drained = loop.create_task(places.acquire()), loop.create_task(self._drained.wait())
        try:
            await asyncio.wait([place, drained], return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                places.release()
            raise
        finally:
            drained.cancel()
            if not place.done():
                place.cancel()
        return place.done() and not place.cancelled()

    async def _run(self, planned: PlannedRun, record: RunRecord) -> RunRecord:
        self._executor = executor = LocalExecutor(Config())
        life = _Life(self._prepare, executor, planned, record)
        threading.Thread(target=life.live, name=f"run {planned.id}", daemon=True).start()
        waiting = asyncio.wrap_future(life.end)
        try:
            return await asyncio.shield(waiting)
        except asyncio.CancelledError:
            executor.break_off()
            await asyncio.wait([waiting], timeout=FAREWELL_SECONDS)
            raise
        finally:
            self._executor = None


class _Life:
    """One run in its thread."""

    def __init__(self, prepare: Prepare, executor: LocalExecutor, planned: PlannedRun, record: RunRecord) -> None:
        self._prepare, self._executor, self._planned, self._record = prepare, executor, planned, record
        self.end: Future[RunRecord] = Future()

    def live(self) -> None:
        """Run, whatever comes of it."""
        try:
            record = self._lived()
        except BaseException as error:  # noqa: BLE001 - nothing may leave the thread unheard
            self.end.set_exception(error)
        else:
            self.end.set_result(record)

    def _lived(self) -> RunRecord:
        try:
            with self._prepare(self._planned) as prepared:
                outcome: Outcome = asyncio.run(self._executor.execute(prepared.plan, prepared.context))
                if outcome.error is not None:
                    _hide(outcome.error, prepared.hide)
                return ended(self._record, outcome.plan or prepared.plan, outcome, prepared.context.runtime.clock.now())
        except LeaseHeldError:
            raise
        except Exception as error:  # noqa: BLE001 - it is the end of this run and of nothing else
            return self._failed(as_error(error))

    def _failed(self, error: DataFlareError) -> RunRecord:
        from dataflare.clock import SystemClock

        return self._record.finished(SystemClock().now(), "failed", error.as_finding())


def _hide(error: DataFlareError, hide: Callable[[str], str]) -> None:
    error.what, error.hint = hide(error.what), hide(error.hint)


__all__ = ["Prepare", "Prepared", "ThreadStarter"]
