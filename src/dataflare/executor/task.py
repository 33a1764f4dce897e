"""One task: a fused pipeline over one partition, fed by a source or by channels, stopped at barriers.

Turns are short: one batch each. A task whose destination is the decider holds after a barrier until the epoch is
committed, so that rows after the barrier never enter the open transaction.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from dataflare.component import Epoch
from dataflare.executor.asked import AskedTask
from dataflare.executor.build import Built, build_task
from dataflare.executor.demand import Demand
from dataflare.executor.easing import Easing
from dataflare.executor.exchange import Barrier, Channel, End, Inlet, Inlets, Mark, Outlet, inlets_of
from dataflare.executor.faults import invoke
from dataflare.executor.gathering import Room, is_few, merged
from dataflare.executor.job import EpochTime, Job
from dataflare.executor.partition import groups_of
from dataflare.executor.pipeline import made_step
from dataflare.executor.progress import Progress
from dataflare.executor.reader import SourceReader
from dataflare.executor.report import Report
from dataflare.executor.snapshots import load_states, name_between, save_states
from dataflare.executor.watching import Meter, Taps
from dataflare.monitoring.events import Noticed
from dataflare.plan import Mechanism

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from dataflare.actor.ref import ActorRef
    from dataflare.batch import Batch, Position
    from dataflare.component import Handle
    from dataflare.executor.graph import Routing, Stage
    from dataflare.executor.pipeline import Left

STALL_SECONDS = 60.0
GATHER_SECONDS = 0.005
"""How long a batch that was read waits for more to come with it: a source that does not wait makes them meanwhile."""


class TaskActor(AskedTask):
    """Task `index` of a stage."""

    def __init__(self, job: Job, stage: Stage, index: int) -> None:
        """Build nothing yet."""
        self._job, self._stage, self._index = job, stage, index
        self.name = f"{stage.operators[-1].id}#{index}"
        self._time = EpochTime()
        self._built: Built | None = None
        self._reader: SourceReader | None = None
        self._workflow: ActorRef | None = None
        self._outlets: list[Outlet] = []
        self._inlets = Inlets(inlets_of(job.graph, stage.index, index))
        traits = job.plan.node(stage.operators[0].nodes[0]).traits
        self._demand = Demand(self._outlets, stops=traits.get("mode", "full") == "full")
        self._easing = Easing(job.runtime, lambda waits: self._tell("eases", self.name, waits))
        self._held = self._paused = self._waiting = self._pumping = self._draining = self._told = False
        self._positions: dict[int, dict[str, Any]] = {}
        self._round, self._progress = 0, Progress(job.runtime, job.plan.workflow)
        self.meter, self.taps = Meter(job.runtime.clock), Taps(job.runtime.clock)

    # ---- opening ------------------------------------------------------------------------------------------------

    async def open(self, workflow: ActorRef) -> dict[str, Epoch | None]:
        """Build and open all components; return the last epoch of each destination that this task heads."""
        self._workflow = workflow
        runtime = self._job.runtime
        built = self._built = await runtime.call(build_task, self._job, self._stage, self._index, self._time)
        built.pipeline.taps = self.taps
        last: dict[str, Epoch | None] = {}
        for node, component in built.components:
            await invoke(runtime, node, component.open)
            if self._index == 0 and node in built.destinations:
                last[node] = await invoke(runtime, node, built.destinations[node].last_epoch)
        return last

    async def connect(self, outlets: Sequence[tuple[Routing, tuple[str, ...], list[tuple[ActorRef, int]]]]) -> None:
        """Learn the channels of each outlet, by partition of the stage that they lead to."""
        for routing, keys, ends in outlets:
            channels = [Channel(ref, number, self.context.fail) for ref, number in ends]
            self._outlets.append(Outlet(routing, keys, channels, self._index, self._job.runtime))

    async def restore(self, keys: Mapping[str, Sequence[str]]) -> None:
        """Give the operators the state of their key groups, from the snapshots of all former instances."""
        groups = groups_of(self._index, self._stage.parallelism)
        states = await self._job.runtime.call(load_states, self._job.checkpoints, keys, groups)
        await self._job.runtime.call(self._parts.pipeline.restore, states)

    async def wait(self) -> None:
        """Read nothing before it is this source's `turn`: other rows are wanted first."""
        self._waiting = True

    async def start(self, epoch: tuple[int, int], enumerator: ActorRef | None, ends: Mapping[str, Position]) -> None:
        """Begin, in an epoch of this number and time.

        A source task reads what the enumerator hands out, and of the splits in `ends` only up to there.
        """
        self._time.number, self._time.microseconds = epoch
        self.context.own(asyncio.get_running_loop().create_task(self._watch()))
        name_between(self._job, self._parts, epoch[0], self._round)
        if enumerator is not None and self._parts.source is not None:
            node = self._stage.operators[0].id
            source, evolves = self._parts.source, lambda: self._tell("evolves")
            self._reader = SourceReader(self._job.runtime, node, source, enumerator, ends, evolves)
            self._parts.origin.split = self._reader.split
        self._easing.look(self._parts.pipeline, self.context)
        self._pump()

    # ---- rows ---------------------------------------------------------------------------------------------------

    async def item(self, channel: int, item: Batch | Mark) -> asyncio.Future[bool]:
        """Take an item from a channel; the answer comes when it has been consumed, and is the sender's credit."""
        consumed = self._inlets.add(channel, item)
        self._drain()
        return consumed

    async def drain(self) -> None:
        """Run what waits in one channel up to its next barrier; what comes meanwhile is gathered for the next turn."""
        self._draining = False
        if self._held or (found := self._inlets.next(rows=not self._easing.holds)) is None:
            return
        inlet, channel, item, consumed = found
        done = [consumed]
        if isinstance(item, End):
            if self._inlets.ended(channel):
                await self._end(self._parts.pipeline.end_port(inlet.operator, inlet.port))
        elif not isinstance(item, Barrier):
            batches = [item]
            for batch, also_consumed in self._inlets.following(channel, item):
                batches.append(batch)
                done.append(also_consumed)
            await self._leave(await self.meter.working(self._job.runtime.call(self._run_incoming, inlet, batches)))
            self._flowed()
        elif self._inlets.reached(channel):
            await self._at_barrier(item)
        sated = bool(done) and self._demand.ends_at(self._parts.pipeline, inlet.operator)
        for future in done:
            if not future.done():
                future.set_result(sated)
        self._drain()

    async def pump(self) -> None:
        """Read one batch of the source and run it through."""
        self._pumping = False
        reader = self._reader
        if reader is None or reader.ended or self._held or self._rests or reader.pending is not None:
            return
        if reader.grant is None and not await reader.take(self._round):
            await self._end(self._parts.pipeline.end_source(reader.node))
            self._tell("idle", self.name)
            return
        if reader.grant is None:  # what comes next comes behind a barrier
            self._flowed()
            if reader.awaits_barrier:
                self._tell("awaited", self._round)
            return
        if reader.waits:
            reader.start_read(lambda: self.context.note("arrived"))
            return
        await self._leave(await self.meter.working(self._job.runtime.call(self._read_and_run)))
        self._demand.look(self._parts.pipeline, reader)
        self._flowed()
        self._pump()

    async def arrived(self) -> None:
        """A read that had to wait is done: run its batch through, unless the task holds."""
        reader = self._reader
        if reader is None or reader.pending is None or not reader.pending.done() or self._held or self._rests:
            return
        batch, reader.pending = reader.pending.result(), None
        if batch is None:
            reader.close_split()
        elif self._parts.is_light and is_few(batch):
            await self._leave(self._run(batch))
        else:
            await self._leave(await self.meter.working(self._job.runtime.call(self._run, batch)))
        self._demand.look(self._parts.pipeline, reader)
        self._flowed()
        await self.pump()

    async def release(self) -> None:
        """Send on the rows that a node held back and that may go by now."""
        if self._held:
            return
        runtime = self._job.runtime
        await self._leave(await runtime.call(self._parts.pipeline.release, runtime.clock.monotonic()))
        self._flowed()
        self._drain()

    def _run_incoming(self, inlet: Inlet, batches: Sequence[Batch]) -> Left:
        pipeline = self._parts.pipeline
        return [
            left
            for batch in merged(batches)
            for left in pipeline.incoming(inlet.operator, inlet.port, inlet.edge, batch)
        ]

    def _read_and_run(self) -> Left:
        """Read a batch, and small ones behind it for a moment; run them as one."""
        reader, clock = self._reader, self._job.runtime.clock
        assert reader is not None
        batches: list[Batch] = []
        while (batch := reader.next_blocking()) is not None:
            batches.append(batch)
            if len(batches) == 1:
                room, until = Room(batch), clock.monotonic() + GATHER_SECONDS
            elif not room.take(batch):
                break
            if not room.is_open or clock.monotonic() >= until:
                break
        left = [out for whole in merged(batches) for out in self._run(whole)]
        if batch is None:
            reader.close_split()
        return left

    def _run(self, batch: Batch) -> Left:
        reader = self._reader
        assert reader is not None
        out = self._parts.pipeline.source_batch(reader.node, batch)
        reader.accepted(batch)
        return out

    def _flowed(self) -> None:
        """See whether rows wait; tell once an epoch that there is something to seal."""
        self._easing.look(self._parts.pipeline, self.context)
        if not self._told:
            self._told = True
            self._tell("dirty")

    async def _leave(self, out: Left) -> None:
        """Send on what left the pipeline, then await the writes of destinations that live on the loop."""
        for number, batch in out:
            await self.meter.blocking(self._outlets[number].send(batch))
        later = self._parts.later
        while later:
            node, batch = later.pop(0)
            await invoke(self._job.runtime, node, self._parts.destinations[node].write, batch)
        self._progress.tell(self._parts.pipeline.tally, self._reader)

    async def _walk(self, steps: Iterator[Left]) -> None:
        """Make the steps of a pipeline one by one, each when what left by the one before was sent."""
        while (left := await self._job.runtime.call(made_step, steps)) is not None:
            await self._leave(left)

    async def _end(self, steps: Iterator[Left]) -> None:
        """An input has ended: run what was held for that, and tell the tasks behind."""
        await self._walk(steps)
        if self._parts.pipeline.tally.counts:
            self._flowed()
        for number in self._parts.pipeline.ends():
            await self._outlets[number].mark(End())

    # ---- epochs -------------------------------------------------------------------------------------------------

    async def barrier(self, barrier: Barrier) -> None:
        """Take a barrier in as a source task: the rows read so far are before it."""
        await self._at_barrier(barrier)

    async def approach(self, barrier_round: int) -> None:
        """A barrier is on its way: take in what comes before it, also while rows wait."""
        self._easing.opened = barrier_round > self._round
        self._drain()

    async def _at_barrier(self, barrier: Barrier) -> None:
        """All rows before the barrier have been run: flush, pass it on, prepare, report."""
        built, runtime = self._parts, self._job.runtime
        await self._walk(built.pipeline.flush())
        if barrier.last:
            await self._walk(built.pipeline.finish())
        saved = await runtime.call(save_states, self._job, built, self._reader, barrier, self._index)
        for outlet in self._outlets:
            await outlet.mark(barrier)
        epoch = Epoch(barrier.epoch, self._job.attempt)
        handles = {n: list(await invoke(runtime, n, c.prepare, epoch)) for n, c in built.destinations.items()}
        open_splits, positions = self._reader.report() if self._reader else ([], {})
        self._positions[barrier.round] = positions
        self._progress.tell(built.pipeline.tally, self._reader, due=True)
        counted = built.pipeline.tally.take()
        self._round, self._told, self._easing.opened = barrier.round, False, False
        self._time.microseconds, self._time.number = barrier.next_time or self._time.microseconds, barrier.epoch + 1
        self._held = holds_after_barrier(built)
        if not self._held:
            self._wake()
        report = Report(self.name, barrier.round, barrier.epoch, open_splits, positions, handles, saved, *counted)
        self._tell("prepared", report)

    async def commit(self, node: str, epoch: Epoch, handles: list[Handle]) -> None:
        """Commit an epoch at a destination that this task heads."""
        await invoke(self._job.runtime, node, self._parts.destinations[node].commit, epoch, handles)

    async def abort(self, node: str, keep: list[Handle]) -> None:
        """Remove what older attempts staged at a destination that this task heads."""
        await invoke(self._job.runtime, node, self._parts.destinations[node].abort, keep)

    async def go_on(self, barrier_round: int) -> None:
        """The epoch is committed, or it timed out and goes on: rows may flow again."""
        if self._held and barrier_round >= self._round:
            self._held = False
            self._easing.go_on(self.context)
            self._drain()
            self._wake()

    async def acknowledge(self, barrier_round: int) -> None:
        """The epoch of this barrier is committed everywhere: tell the source (invariant 1)."""
        assert self._reader is not None
        rounds = sorted(r for r in self._positions if r <= barrier_round)
        if positions := {n: p for r in rounds for n, p in self._positions.pop(r).items()}:
            await invoke(self._job.runtime, self._reader.node, self._reader.connector.acknowledge, positions)
            self._progress.tell_lag(self._reader)

    async def finish(self, node: str) -> None:
        """Complete a destination that this task heads."""
        await invoke(self._job.runtime, node, self._parts.destinations[node].finish)

    async def pause(self) -> None:
        """Stop reading; barriers are answered all the same."""
        self._paused = True

    async def turn(self) -> None:
        """What is wanted before this source's rows has been read: begin."""
        self._waiting = False
        self._wake()

    async def unpause(self) -> None:
        """Read again."""
        self._paused = False
        self._wake()

    # ---- ending -------------------------------------------------------------------------------------------------

    async def stopped(self) -> None:
        """Close all components; nothing becomes durable by it."""
        for outlet in self._outlets:
            outlet.close()
        if self._built is None:
            return
        if self._reader is not None:
            self._progress.tell_lag(self._reader)
            await self._reader.close()
        for chain in self._built.chains:
            await self._job.runtime.call(chain.close)
        for node, component in reversed(self._built.components):
            if component is not self._built.source or self._reader is None:
                await invoke(self._job.runtime, node, component.close)

    async def _watch(self) -> None:
        """Tell when one turn takes very long: a destination that hangs, a function that does not end."""
        told = ""
        while True:
            await self._job.runtime.clock.sleep(STALL_SECONDS / 4)
            method, seconds = self.context.turn()
            if seconds < STALL_SECONDS:
                told = ""
            elif told != method:
                told = method
                message = f"task {self.name} has been busy with one {method} for {seconds:.0f} s"
                self._job.runtime.emit(Noticed(self._job.plan.workflow, "task.stalled", message, self.name))

    # ---- small things -------------------------------------------------------------------------------------------

    @property
    def _rests(self) -> bool:
        return self._paused or self._waiting

    @property
    def _parts(self) -> Built:
        assert self._built is not None
        return self._built

    def _drain(self) -> None:
        if not self._draining:
            self._draining = True
            self.context.note("drain")

    def _pump(self) -> None:
        if not self._pumping:
            self._pumping = True
            self.context.note("pump")

    def _wake(self) -> None:
        if self._reader is not None:
            self.context.note("arrived")
            self._pump()

    def _tell(self, method: str, *arguments: Any) -> None:
        assert self._workflow is not None
        self._workflow.tell(method, *arguments)


def holds_after_barrier(built: Built) -> bool:
    """Tell whether rows after a barrier must wait: the decider's transaction of the epoch is still open."""
    return any(c.context.mechanism is Mechanism.DIRECT for c in built.destinations.values())


__all__ = ["TaskActor"]
