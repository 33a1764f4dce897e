"""Keeps the schedule of one workflow: plans the runs that are due, begins each exactly once, writes how each ended.

Each step is durable before the next: the agenda names a run, then the history has it as begun, then the agenda has it
as the active one, then the executor is given it under its name; it ends in the history, then in the agenda. Whoever
takes over after a crash finds the run in the queue or as the active one, and gives it to the executor under the same
name: that goes on from the last committed epoch, and does nothing where the run was complete.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from dataflare.errors import DataFlareError, Finding, LeaseHeldError
from dataflare.monitoring.events import RunBegun, RunPlanned, RunRecorded, RunRetried, RunSkipped
from dataflare.operate.agenda import Agenda
from dataflare.operate.calls import Calls
from dataflare.operate.due import due_by_events, due_now, meet
from dataflare.operate.history import SKIPPED, RunRecord
from dataflare.schedule import MICROSECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from dataflare.component import Runtime
    from dataflare.operate.agenda import AgendaLog, PlannedRun
    from dataflare.operate.calls import Answered
    from dataflare.operate.due import Due, Met
    from dataflare.operate.history import History
    from dataflare.operate.senses import Sense
    from dataflare.schedule import Schedule

WAIT_SECONDS_MAX = 30.0
"""The clock is read at least so often: it may be set meanwhile."""
SENSE_SECONDS = 1.0
HELD_SECONDS = 5.0
CANCEL_SECONDS = 30.0
"""A run that is to make way and has not drained by then is broken off; nothing is lost by that."""


class Starter(Protocol):
    """How runs are run."""

    async def run(self, planned: PlannedRun, record: RunRecord) -> RunRecord:
        """Run to the end and return the record of it; raise LeaseHeldError where another process runs the workflow."""
        ...

    def drain(self) -> None:
        """Let the run that is under way commit what it read, and end."""
        ...


@dataclass(frozen=True, slots=True)
class Kept:
    """What a keeper keeps: the schedule of a workflow, its agenda, its history, and what can ask for runs besides."""

    workflow: str
    schedule: Schedule
    log: AgendaLog
    history: History
    senses: Sequence[Sense] = ()


class Keeper:
    """One workflow's schedule, for as long as its lease is held."""

    def __init__(
        self, kept: Kept, starter: Starter, runtime: Runtime, told: Callable[[RunRecord], None] = lambda _: None
    ) -> None:
        """Begin with `keep`. `told` hears of each record of a run when it is written."""
        self._workflow, self._schedule, self._log = kept.workflow, kept.schedule, kept.log
        self._history, self._senses = kept.history, kept.senses
        self._starter, self._runtime, self._told = starter, runtime, told
        self._agenda = Agenda(0, 0, "")
        self._task: asyncio.Task[RunRecord] | None = None
        self._wake = asyncio.Event()
        self._stopping = self._draining = False
        self._not_before = 0.0
        self._sensed = -SENSE_SECONDS
        self._break_at: float | None = None
        self._calls = Calls()
        self._changed: tuple[Schedule, History, Sequence[Sense]] | None = None

    @property
    def agenda(self) -> Agenda:
        """Where the schedule stands."""
        return self._agenda

    @property
    def idle(self) -> bool:
        """Whether no run is under way in this process."""
        return self._task is None

    async def call(self, key: str) -> Answered:
        """Have a run planned; return when it is durable. A call with a key that is known has the run of that one.

        Raises UnavailableError where the schedule is kept no more.
        """
        self._wake.set()
        return await self._calls.put(key)

    def change(self, schedule: Schedule, history: History, senses: Sequence[Sense]) -> None:
        """Go on by other rules; what was planned by those before, and the run that is under way, are kept."""
        self._changed = schedule, history, senses
        self._wake.set()

    def stop(self, *, drain: bool = True) -> None:
        """Begin no more; drain the run that is under way, which goes on when the schedule is kept again.

        Without `drain` that run ends by itself.
        """
        self._stopping = True
        self._draining = self._draining or drain
        if drain and self._task is not None:
            self._drain()
        self._wake.set()

    async def keep(self) -> None:
        """Keep the schedule until `stop`, or until nothing can come any more.

        Raises FencedError where another scheduler has taken over.
        """
        try:
            await self._open()
            while True:
                if self._changed is not None:
                    (self._schedule, self._history, self._senses), self._changed = self._changed, None
                    await self._open()
                wake = await self._plan()
                await self._begin()
                ended = wake is None and self._changed is None and self._done()
                if self._task is None and (self._stopping or ended):
                    return
                await self._wait(wake)
                await self._settle()
        finally:
            self._calls.close()
            if self._task is not None:
                self._task.cancel()
                await asyncio.wait([self._task])

    def _drain(self) -> None:
        """Have the run drained that is under way; its task may not have come to its first step, and does so before."""
        asyncio.get_running_loop().call_soon(self._starter.drain)

    def _done(self) -> bool:
        return self._schedule.timed and self._agenda.active is None and not self._agenda.queue

    async def _open(self) -> None:
        """Take up the agenda; a schedule with other rules begins anew, with the runs that were planned already."""
        now, rules = self._runtime.clock.now(), self._schedule
        known = await self._runtime.call(self._log.read)
        agenda = known
        if agenda is None or agenda.timing != rules.timing:
            first = rules.next(now, now)
            last = now
            if rules.type == "once" and rules.start is not None:
                last = min(now, rules.start - 1)
            elif rules.type == "once" or (rules.type == "interval" and rules.align == "start"):
                last = now - 1
            agenda = Agenda(last, now, rules.timing, first)
            if known is not None:
                agenda = replace(agenda, queue=known.queue, active=known.active, seen=known.seen)
                agenda = replace(agenda, last=max([last, *(r.instant for r in known.queue)]))
        await self._write(replace(agenda, next=rules.next(agenda.last, agenda.anchor)))
        if rules.webhook is not None:
            await self._runtime.call(self._calls.open, rules, self._history, self._agenda)

    async def _plan(self) -> int | None:
        """Put what is due on the agenda; return when more will be, None where the clock brings nothing more."""
        if self._stopping:
            self._calls.close()
            return None
        now = self._runtime.clock.now()
        taken = self._calls.taken(self._schedule, self._agenda, now)
        if taken is not None:
            await self._put(taken.met)
            self._calls.answer(taken)
        due = due_now(self._workflow, self._schedule, self._agenda, now)
        if due.last != self._agenda.last or due.runs:
            await self._take_in(due)
        await self._sense(now)
        return due.wake

    async def _take_in(self, due: Due, seen: dict[str, Any] | None = None) -> None:
        met = meet(self._schedule, self._agenda, due)
        await self._put(met if seen is None else replace(met, agenda=replace(met.agenda, seen=seen)))

    async def _put(self, met: Met) -> None:
        """Write what came of runs that were due, and say so."""
        agenda = met.agenda
        if agenda is not self._agenda:
            following = self._schedule.next(agenda.last, agenda.anchor)
            await self._write(replace(agenda, next=following))
        for run in met.planned:
            self._runtime.emit(RunPlanned(self._workflow, run.id, run.trigger, run.instant, run.missed))
        now = self._runtime.clock.now()
        for run, why in met.skipped:
            record = RunRecord(0, run.id, run.trigger, SKIPPED, run.instant, now, now, 0, run.missed, key=run.key)
            finding = Finding("info", "schedule.skipped", why)
            await self._runtime.call(self._history.begin, replace(record, error=finding.as_json()))
            self._runtime.emit(RunSkipped(self._workflow, run.id, why))
        if self._task is not None and agenda.active is not None and agenda.active.stopping and self._break_at is None:
            self._break_at = self._runtime.clock.monotonic() + CANCEL_SECONDS
            self._drain()

    async def _sense(self, now: int) -> None:
        """Ask the senses for events; they wait where no run could follow: outside the dates, or behind a full queue."""
        agenda, rules = self._agenda, self._schedule
        busy = agenda.active is not None or bool(agenda.queue)
        full = len(agenda.queue) >= rules.queue_max if rules.overlap == "queue" else busy and rules.overlap == "skip"
        out = (rules.start is not None and now < rules.start) or (rules.end is not None and now > rules.end)
        moment = self._runtime.clock.monotonic()
        if full or out or moment - self._sensed < SENSE_SECONDS:
            return
        self._sensed = moment
        for sense in self._senses:
            before = self._agenda.seen.get(sense.name)
            seen, times = await self._runtime.call(sense.look, before, now)
            if not times and seen == before:
                continue
            due = due_by_events(rules, self._agenda, sense.name, times, now)
            await self._take_in(replace(due, late=0 if busy else due.late), {**self._agenda.seen, sense.name: seen})

    async def _begin(self) -> None:
        """Begin the run that a crash or a failure left, or the first that waits."""
        if self._task is not None or self._stopping or self._runtime.clock.monotonic() < self._not_before:
            return
        agenda = self._agenda
        run = agenda.active or (agenda.queue[0] if agenda.queue else None)
        if run is None:
            return
        if run.number:
            known = await self._runtime.call(self._history.get, run.number)
            if known is not None and not known.open:  # a crash came between its end and the agenda
                await self._write(replace(agenda, active=None))
                await self._begin()
                return
        now, tries = self._runtime.clock.now(), run.tries + 1
        new = RunRecord(
            0, run.id, run.trigger, planned=run.instant, began=now, tries=tries, missed=run.missed, key=run.key
        )
        record = replace(await self._runtime.call(self._history.begin, new), tries=tries, error=None)
        active = replace(run, tries=tries, number=record.number, stopping=False)
        queue = agenda.queue if agenda.active is not None else agenda.queue[1:]
        await self._write(replace(agenda, active=active, queue=queue))
        self._runtime.emit(RunBegun(self._workflow, run.id, run.trigger, tries))
        self._break_at = None
        self._task = asyncio.get_running_loop().create_task(self._starter.run(active, record))
        self._task.add_done_callback(lambda _: self._wake.set())
        if self._draining:  # it was asked to stop while this was written
            self._drain()
        self._told(record)

    async def _settle(self) -> None:
        """Write how the run ended, if it has; a run that was drained with the scheduler stays open."""
        if self._task is None or not self._task.done():
            return
        task, self._task, self._break_at = self._task, None, None
        active = self._agenda.active
        assert active is not None
        try:
            record = task.result()
        except LeaseHeldError as error:
            await self._held(active, error)
            return
        except asyncio.CancelledError:
            record = await self._broken_off(active)
        if record.open or (self._draining and record.status == "stopped" and not record.more):
            return
        if record.status == "failed" and self._may_retry(active, record):
            pause = self._schedule.retries.pause(active.tries)
            self._not_before = self._runtime.clock.monotonic() + pause
            await self._runtime.call(self._history.write, replace(record, status="running", ended=0))
            self._runtime.emit(RunRetried(self._workflow, active.id, active.tries, record.message, pause))
            return
        await self._runtime.call(self._history.write, record)
        await self._write(replace(self._agenda, active=None))
        rows = dict(record.rows or {})
        told = RunRecorded(self._workflow, active.id, record.status, active.trigger, record.message, rows)
        self._runtime.emit(told)
        self._told(record)

    async def _held(self, active: PlannedRun, error: DataFlareError) -> None:
        """Another process runs the workflow: leave this run out, or wait for its turn."""
        if self._schedule.overlap != "skip":
            self._not_before = self._runtime.clock.monotonic() + HELD_SECONDS
            await self._write(replace(self._agenda, active=replace(active, tries=active.tries - 1)))
            return
        known = await self._runtime.call(self._history.get, active.number)
        if known is not None:
            record = known.finished(self._runtime.clock.now(), SKIPPED, error.as_finding())
            await self._runtime.call(self._history.write, record)
        await self._write(replace(self._agenda, active=None))
        self._runtime.emit(RunSkipped(self._workflow, active.id, error.what))

    async def _broken_off(self, active: PlannedRun) -> RunRecord:
        known = await self._runtime.call(self._history.get, active.number)
        record = known or RunRecord(active.number, active.id, active.trigger, planned=active.instant)
        why = Finding("error", "stalled", "it did not end in time when a later run was to take its place")
        return record.finished(self._runtime.clock.now(), "stopped", why)

    def _may_retry(self, active: PlannedRun, record: RunRecord) -> bool:
        code = str((record.error or {}).get("code", ""))
        wanted = not self._stopping and not active.stopping and not code.startswith("workflow.")
        return wanted and active.tries <= self._schedule.retries.attempts

    async def _wait(self, wake: int | None) -> None:
        """Wait for the next instant, event or end, but not so long that a clock that was set is not noticed."""
        clock = self._runtime.clock
        seconds = WAIT_SECONDS_MAX
        if wake is not None:
            seconds = min(seconds, (wake - clock.now()) / MICROSECONDS)
        if self._senses:
            seconds = min(seconds, SENSE_SECONDS)
        moment = clock.monotonic()
        if self._task is None and moment < self._not_before:
            seconds = min(seconds, self._not_before - moment)
        if self._break_at is not None:
            seconds = min(seconds, self._break_at - moment)
        await _first(self._wake, clock.sleep(max(0.0, seconds)))
        self._wake.clear()
        if self._break_at is not None and self._task is not None and clock.monotonic() >= self._break_at:
            self._break_at = None
            self._task.cancel()

    async def _write(self, agenda: Agenda) -> None:
        await self._runtime.call(self._log.write, agenda)
        self._agenda = agenda


async def _first(event: asyncio.Event, sleep: Coroutine[Any, Any, None]) -> None:
    """Wait for whichever comes first."""
    loop = asyncio.get_running_loop()
    tasks = [loop.create_task(event.wait()), loop.create_task(sleep)]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
