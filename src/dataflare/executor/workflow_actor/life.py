"""What the states of a workflow share: the tasks, the reports, the requests, and a way to wait for any of them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dataflare.executor.graph import Role, eased_stages

if TYPE_CHECKING:
    from collections.abc import Callable

    from dataflare.actor.ref import ActorRef
    from dataflare.actor.system import ActorSystem
    from dataflare.executor.graph import Stage
    from dataflare.executor.job import Job
    from dataflare.executor.report import Report
    from dataflare.state.checkpoint import Proposal


@dataclass(frozen=True, slots=True)
class Ending:
    """How an attempt ended by itself: `succeeded` or `stopped`, or another goes on.

    That is `evolving` where columns of a source have changed, `renewed` where somebody asked for it. `more`: a deadline
    stopped it.
    """

    status: str
    proposal: Proposal | None
    more: bool = False


@dataclass(slots=True)
class Requests:
    """What was asked of the workflow from outside and is not done yet."""

    stop: bool = False
    more: bool = False
    paused: bool = False
    evolve: bool = False
    renew: bool = False
    checkpoint: list[asyncio.Future[int]] = field(default_factory=list)


class Life:
    """One attempt: its tasks and where it stands."""

    def __init__(self, job: Job, system: ActorSystem, ref: ActorRef, watch: Callable[[ActorRef], None]) -> None:
        """Start with nothing spawned."""
        self.job, self.system, self.ref, self.watch = job, system, ref, watch
        self.requests = Requests()
        self.tasks: dict[int, list[ActorRef]] = {}
        self.enumerators: dict[str, ActorRef] = {}
        self.idle: set[str] = set()
        self.easing: set[str] = set()
        self.waits: dict[str, set[str]] = {}
        self.reports: dict[int, list[Report]] = {}
        self.asked: set[str] = set()
        self.rejected: dict[str, tuple[int, int]] = {}
        self.base: Proposal | None = None
        self.round = 0
        self.epoch_time = 0
        self.epochs = 0
        self.dirty = self.awaited = False
        self.cleaned = False
        self.retired: float | None = None
        self.unretired = 0
        self.ending: Ending | None = None
        self._changed = asyncio.Event()

    @property
    def task_count(self) -> int:
        """How many tasks answer a barrier."""
        return sum(len(refs) for refs in self.tasks.values())

    @property
    def source_stages(self) -> list[Stage]:
        """The stages that read a source."""
        return [s for s in self.job.graph.stages if s.source is not None]

    @property
    def source_tasks(self) -> list[ActorRef]:
        """The tasks that read a source."""
        return [ref for stage in self.source_stages for ref in self.tasks[stage.index]]

    @property
    def eased_tasks(self) -> list[ActorRef]:
        """The tasks in which rows may have to wait."""
        return [ref for index in eased_stages(self.job.plan, self.job.graph) for ref in self.tasks[index]]

    @property
    def ended(self) -> bool:
        """Whether all splits of all sources have been read, and no rows are known to wait."""
        return len(self.idle) == len(self.source_tasks) and not self.easing

    def whose_turn(self) -> list[ActorRef]:
        """Return the tasks of sources that waited for others, all of which have ended by now; each comes once."""
        done = {
            s.source
            for s in self.source_stages
            if self.idle.issuperset(f"{s.operators[-1].id}#{i}" for i in range(s.parallelism))
        }
        free = [name for name, before in self.waits.items() if before <= done]
        for name in free:
            del self.waits[name]
        return [ref for s in self.source_stages if s.source in free for ref in self.tasks[s.index]]

    def destinations(self) -> list[tuple[str, ActorRef]]:
        """Return each destination with the task that heads it; the decider comes first."""
        heads = [
            (operator.id, self.tasks[stage.index][0])
            for stage in self.job.graph.stages
            for operator in stage.operators
            if operator.role is Role.DESTINATION
        ]
        decider = self.job.plan.decider()
        return sorted(heads, key=lambda head: head[0] != decider)

    def changed(self) -> None:
        """Something happened that a state may wait for."""
        self._changed.set()

    async def until(self, reached: Callable[[], bool], seconds: float | None = None) -> bool:
        """Wait until something is reached; False when so many seconds have passed before."""
        deadline = None if seconds is None else self.job.runtime.clock.monotonic() + seconds
        while not reached():
            self._changed.clear()
            wait = asyncio.get_running_loop().create_task(self._changed.wait())
            timer = self._timer(deadline)
            try:
                done, _ = await asyncio.wait([wait, *timer], return_when=asyncio.FIRST_COMPLETED)
            finally:  # also where the attempt dies meanwhile
                for task in (wait, *timer):
                    task.cancel()
            if wait not in done and not reached():
                return False
        return True

    def _timer(self, deadline: float | None) -> list[asyncio.Task[None]]:
        if deadline is None:
            return []
        clock = self.job.runtime.clock
        left = max(0.0, deadline - clock.monotonic())
        return [asyncio.get_running_loop().create_task(clock.sleep(left))]
