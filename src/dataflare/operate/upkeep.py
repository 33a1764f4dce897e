"""One workflow of a process: kept, and begun again after a failure that may pass.

With a schedule it is given to a keeper; without one it is run once, at once. A failure that may pass is such as a full
disk: what had been written is found again. One that cannot go on is told about.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dataflare.errors import DataFlareError, ExternalError, LeaseHeldError, UnavailableError
from dataflare.executor.faults import as_error
from dataflare.executor.runtime import LocalRuntime
from dataflare.executor.surroundings import TENANT
from dataflare.monitoring.events import Noticed, RunBegun, RunRecorded
from dataflare.operate.agenda import AgendaLog, PlannedRun
from dataflare.operate.history import RunRecord
from dataflare.operate.keeper import Keeper, Kept
from dataflare.operate.starter import ThreadStarter
from dataflare.security.codec import Codec

if TYPE_CHECKING:
    from dataflare.component import Lease, Runtime
    from dataflare.monitoring.events import Observer
    from dataflare.operate.calls import Answered
    from dataflare.operate.member import Member

UNSCHEDULED = "start"
"""The trigger of a run that nothing asked for but the start of the process."""
PAUSE_SECONDS, PAUSE_SECONDS_MAX = 1.0, 60.0


@dataclass(slots=True)
class Standing:
    """How a workflow stands in this process: `waiting`, `running`, `ended` or `refused`.

    `error` is why it is kept no more, or why the last attempt to keep it failed. `record` is the newest of its runs.
    """

    workflow: str
    status: str = "waiting"
    next: int | None = None
    queued: int = 0
    record: RunRecord | None = None
    error: DataFlareError | None = None


class Upkeep:
    """Keeps one workflow until it has ended, or until `stop` or `leave`."""

    def __init__(self, member: Member, observer: Observer, places: asyncio.Semaphore) -> None:
        """Keep nothing yet; `places` bounds how many scheduled runs of the process run at once."""
        self.member = member
        self._observer, self._places = observer, places
        self._standing = Standing(member.workflow)
        self._keeper: Keeper | None = None
        self._starter: ThreadStarter | None = None
        self._stopping = asyncio.Event()
        self._again = False

    @property
    def standing(self) -> Standing:
        """How it stands now."""
        if self._keeper is not None:
            agenda = self._keeper.agenda
            self._standing.next, self._standing.queued = agenda.next, len(agenda.queue)
            if self._standing.status in ("waiting", "running"):
                self._standing.status = "waiting" if self._keeper.idle else "running"
        return self._standing

    async def call(self, key: str) -> Answered:
        """Have a run planned, as `Keeper.call` does; raise UnavailableError where the schedule is not kept now."""
        if self._keeper is None:
            workflow = self.member.workflow
            raise UnavailableError(f"the schedule of {workflow} is not kept now", hint="see what is said of it")
        return await self._keeper.call(key)

    def stop(self) -> None:
        """Begin no more, and drain what runs."""
        self._stopping.set()
        self._again = False
        if self._keeper is not None:
            self._keeper.stop()
        elif self._starter is not None:
            self._starter.drain()

    def leave(self) -> None:
        """Begin no more; a scheduled run ends by itself, one without a schedule commits what it read."""
        if self._keeper is None:
            self.stop()
            return
        self._stopping.set()
        self._keeper.stop(drain=False)

    def change(self, member: Member) -> None:
        """Keep the workflow by other rules, of the same state; a run that is under way goes on."""
        self.member = member
        if self._keeper is not None and member.schedule is not None:
            self._keeper.change(member.schedule, member.history(), member.senses())

    def repeat(self) -> None:
        """Let a run without a schedule commit what it read, and go on with the workflow as it is prepared now."""
        self._again = True
        if self._starter is not None:
            self._starter.drain()

    async def keep(self, runtime: Runtime) -> None:
        """Keep it; begin again after a failure that may pass, later each time."""
        pause, self._standing.status = PAUSE_SECONDS, "waiting"
        own = LocalRuntime(self._observer) if self.member.senses() else None  # a folder may hang
        try:
            while not self._stopping.is_set():
                began = runtime.clock.monotonic()
                try:
                    await self._keep(own or runtime)
                except (UnavailableError, ExternalError) as error:
                    self._tell(error, runtime)
                except Exception as error:  # noqa: BLE001 - the others go on
                    self._standing.status = "refused"
                    self._tell(as_error(error), runtime)
                    return
                else:
                    self._standing.status = "ended"
                    if self._again:
                        self._again = False
                        continue
                    return
                if runtime.clock.monotonic() - began > PAUSE_SECONDS_MAX:
                    pause = PAUSE_SECONDS
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), pause)
                pause = min(PAUSE_SECONDS_MAX, pause * 2)
        finally:
            self._keeper = self._starter = None
            self._standing.next = None
            if own is not None and not _cancelled():
                own.close()

    async def _keep(self, runtime: Runtime) -> None:
        if self.member.schedule is None:
            await self._run_once(runtime)
            return
        lease = await self._lease(runtime)
        try:
            member = self.member  # it may have changed meanwhile
            assert member.schedule is not None
            starter = ThreadStarter(member.prepare, self._places)
            log = AgendaLog(member.store, Codec(), member.workflow, tenant=TENANT)
            parts = Kept(member.workflow, member.schedule, log, member.history(), member.senses())
            self._keeper = Keeper(parts, starter, runtime, self._told)
            self._standing.error = None
            if self._stopping.is_set():
                self._keeper.stop()
            await self._keeper.keep()
        finally:
            self._keeper = None
            lease.release()

    async def _lease(self, runtime: Runtime) -> Lease:
        member = self.member
        try:
            return await runtime.call(member.store.lease, f"{TENANT}/schedule/{member.workflow}")
        except LeaseHeldError as error:
            holder = error.what.partition(": ")[2]
            raise LeaseHeldError(
                f"another process keeps the schedule of {member.workflow}: {holder}", hint="end that one first"
            ) from error

    async def _run_once(self, runtime: Runtime) -> None:
        """Run a workflow that has no schedule, without a name: after a crash it goes on where it stood."""
        member, clock = self.member, runtime.clock
        history = member.history()
        record = await runtime.call(history.begin, RunRecord(0, "", UNSCHEDULED, began=clock.now()))
        if self._stopping.is_set():
            await runtime.call(history.forget, record)
            return
        self._standing.status, self._standing.error = "running", None
        self._told(record)
        runtime.emit(RunBegun(member.workflow, "", UNSCHEDULED, 1))
        self._again = False
        self._starter = ThreadStarter(member.prepare)
        try:
            record = await self._starter.run(PlannedRun("", 0, UNSCHEDULED), record)
        except LeaseHeldError:
            await runtime.call(history.forget, record)
            self._standing.record = None
            raise
        finally:
            self._starter = None
        await runtime.call(history.write, record)
        self._told(record)
        rows = dict(record.rows or {})
        runtime.emit(RunRecorded(member.workflow, "", record.status, UNSCHEDULED, record.message, rows))

    def _told(self, record: RunRecord) -> None:
        self._standing.record = replace(record)

    def _tell(self, error: DataFlareError, runtime: Runtime) -> None:
        self._standing.error = error
        runtime.emit(Noticed(self.member.workflow, error.code, str(error)))


def _cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


__all__ = ["Standing", "Upkeep"]
