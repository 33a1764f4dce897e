"""Keeps many workflows in one process: each on its own, whatever becomes of the others.

A workflow with a schedule is given to a keeper; one without is run once, at once. A keeper that fails for a reason that
may pass, such as a full disk, is begun again, and finds all that it had written; one that cannot go on is told about,
and the others go on.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from dataflare.errors import DataFlareError, ExternalError, LeaseHeldError, UnavailableError
from dataflare.executor.faults import as_error
from dataflare.executor.runtime import LocalRuntime
from dataflare.executor.surroundings import TENANT
from dataflare.monitoring.events import Noticed, RunBegun, RunRecorded
from dataflare.operate.agenda import AgendaLog, PlannedRun
from dataflare.operate.door import Door
from dataflare.operate.history import History, RunRecord
from dataflare.operate.keeper import Keeper, Kept
from dataflare.operate.senses import AfterSense, EventLog, EventSense, FileSense, Sense
from dataflare.operate.starter import ThreadStarter
from dataflare.security.codec import Codec

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from dataflare.component import Lease, Runtime, StateStore
    from dataflare.listening.server import Address
    from dataflare.monitoring.events import Observer
    from dataflare.operate.calls import Answered
    from dataflare.operate.door import Hook
    from dataflare.operate.starter import Prepare
    from dataflare.schedule import Schedule

UNSCHEDULED = "start"
"""The trigger of a run that nothing asked for but the start of the process."""
PAUSE_SECONDS, PAUSE_SECONDS_MAX = 1.0, 60.0


@dataclass(frozen=True, slots=True)
class Member:
    """A workflow that is kept: its schedule, if it has one, its open store, and how its runs are prepared.

    `hook`: where it is called by HTTP.
    """

    workflow: str
    schedule: Schedule | None
    store: StateStore[Any]
    prepare: Prepare
    directory: Path
    hook: Hook | None = None

    def history(self) -> History:
        """Return the records of its runs."""
        if self.schedule is None:
            return History(self.store, Codec(), self.workflow, tenant=TENANT)
        return History(self.store, Codec(), self.workflow, tenant=TENANT, retained=self.schedule.retain)

    def senses(self) -> list[Sense]:
        """Return what can ask for its runs besides the clock."""
        rules, found = self.schedule, list[Sense]()
        if rules is None:
            return found
        if rules.files:
            found.append(FileSense(str(self.directory / rules.files), rules.settle_seconds))
        events = [rules.event] if rules.event else []
        events += [rules.webhook.path_of(self.workflow)] if rules.webhook is not None else []
        if events:
            found.append(EventSense(EventLog(self.store, Codec(), tenant=TENANT), events))
        if rules.after is not None:
            other = History(self.store, Codec(), rules.after.workflow, tenant=TENANT)
            found.append(AfterSense(other, rules.after))
        return found


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


@dataclass(slots=True)
class _Kept:
    member: Member
    standing: Standing
    keeper: Keeper | None = None
    starter: ThreadStarter | None = None
    stopping: asyncio.Event = field(default_factory=asyncio.Event)


class Scheduler:
    """Many workflows in one process; at most `runs_max` of those with a schedule run at once.

    Calls by HTTP come in at one address.
    """

    def __init__(self, members: Sequence[Member], observer: Observer, address: Address, *, runs_max: int) -> None:
        """Keep nothing yet."""
        self._kept = [_Kept(member, Standing(member.workflow)) for member in members]
        self._address = address
        self.door = Door(self._called)
        self._observer = observer
        self._places = asyncio.Semaphore(runs_max)

    @property
    def standings(self) -> list[Standing]:
        """How each workflow stands, in the order in which they were given."""
        for kept in self._kept:
            if kept.keeper is not None:
                agenda = kept.keeper.agenda
                kept.standing.next, kept.standing.queued = agenda.next, len(agenda.queue)
                if kept.standing.status in ("waiting", "running"):
                    kept.standing.status = "waiting" if kept.keeper.idle else "running"
        return [kept.standing for kept in self._kept]

    async def keep(self) -> None:
        """Keep all until each has ended, or until `stop`; raises nothing that one of them brings."""
        runtime = LocalRuntime(self._observer)
        tasks = [asyncio.get_running_loop().create_task(self._keep(kept, runtime)) for kept in self._kept]
        for kept in self._kept:
            self.door.put(kept.member.workflow, kept.member.hook)
        listening = asyncio.get_running_loop().create_task(self._listen(runtime))
        try:
            await asyncio.gather(*tasks)
        except asyncio.CancelledError:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            raise
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
        runtime.close()

    def stop(self) -> None:
        """Begin no more, and drain what runs."""
        for kept in self._kept:
            kept.stopping.set()
            if kept.keeper is not None:
                kept.keeper.stop()
            elif kept.starter is not None:
                kept.starter.drain()

    async def _listen(self, runtime: Runtime) -> None:
        """Take calls, where any workflow waits for them."""
        if self.door.paths:
            await self.door.listen(self._address, runtime)

    async def _called(self, workflow: str, key: str) -> Answered:
        keeper = next((kept.keeper for kept in self._kept if kept.member.workflow == workflow), None)
        if keeper is None:
            raise UnavailableError(f"the schedule of {workflow} is not kept now", hint="see what is said of it")
        return await keeper.call(key)

    async def _keep(self, kept: _Kept, runtime: Runtime) -> None:
        """Keep one workflow; begin again after a failure that may pass, later each time."""
        pause = PAUSE_SECONDS
        own = LocalRuntime(self._observer) if kept.member.senses() else None  # a folder may hang
        try:
            while not kept.stopping.is_set():
                began = runtime.clock.monotonic()
                try:
                    await self._kept_once(kept, own or runtime)
                except (UnavailableError, ExternalError) as error:
                    self._tell(kept, error, runtime)
                except Exception as error:  # noqa: BLE001 - the others go on
                    kept.standing.status = "refused"
                    self._tell(kept, as_error(error), runtime)
                    return
                else:
                    kept.standing.status = "ended"
                    return
                if runtime.clock.monotonic() - began > PAUSE_SECONDS_MAX:
                    pause = PAUSE_SECONDS
                with suppress(TimeoutError):
                    await asyncio.wait_for(kept.stopping.wait(), pause)
                pause = min(PAUSE_SECONDS_MAX, pause * 2)
        finally:
            kept.keeper = kept.starter = None
            kept.standing.next = None
            if own is not None and not _cancelled():
                own.close()

    async def _kept_once(self, kept: _Kept, runtime: Runtime) -> None:
        member = kept.member
        name = f"{TENANT}/schedule/{member.workflow}"
        lease: Lease | None = None
        try:
            if member.schedule is None:
                await self._run_once(kept, runtime)
                return
            try:
                lease = await runtime.call(member.store.lease, name)
            except LeaseHeldError as error:
                holder = error.what.partition(": ")[2]
                raise LeaseHeldError(
                    f"another process keeps the schedule of {member.workflow}: {holder}", hint="end that one first"
                ) from error
            starter = ThreadStarter(member.prepare, self._places)
            log = AgendaLog(member.store, Codec(), member.workflow, tenant=TENANT)
            parts = Kept(member.workflow, member.schedule, log, member.history(), member.senses())
            kept.keeper = Keeper(parts, starter, runtime, lambda record: self._told(kept, record))
            kept.standing.error = None
            if kept.stopping.is_set():
                kept.keeper.stop()
            await kept.keeper.keep()
        finally:
            if lease is not None:
                lease.release()

    async def _run_once(self, kept: _Kept, runtime: Runtime) -> None:
        """Run a workflow that has no schedule, without a name: after a crash it goes on where it stood."""
        member, clock = kept.member, runtime.clock
        history = member.history()
        kept.starter = ThreadStarter(member.prepare)
        record = await runtime.call(history.begin, RunRecord(0, "", UNSCHEDULED, began=clock.now()))
        kept.standing.status = "running"
        self._told(kept, record)
        runtime.emit(RunBegun(member.workflow, "", UNSCHEDULED, 1))
        if kept.stopping.is_set():
            kept.starter.drain()
        try:
            record = await kept.starter.run(PlannedRun("", 0, UNSCHEDULED), record)
        except LeaseHeldError:
            await runtime.call(history.forget, record)
            kept.standing.record = None
            raise
        await runtime.call(history.write, record)
        self._told(kept, record)
        rows = dict(record.rows or {})
        runtime.emit(RunRecorded(member.workflow, "", record.status, UNSCHEDULED, record.message, rows))

    def _told(self, kept: _Kept, record: RunRecord) -> None:
        kept.standing.record = replace(record)

    def _tell(self, kept: _Kept, error: DataFlareError, runtime: Runtime) -> None:
        kept.standing.error = error
        runtime.emit(Noticed(kept.member.workflow, error.code, str(error)))


def _cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


__all__ = ["Member", "Scheduler", "Standing"]
