"""The actor of one attempt at a workflow: takes messages in, and walks through the states of its life."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from dataflare.actor.cell import Actor
from dataflare.executor.faults import as_error
from dataflare.executor.workflow_actor.asking import ask_sources
from dataflare.executor.workflow_actor.life import Ending, Life
from dataflare.executor.workflow_actor.opening import opening
from dataflare.executor.workflow_actor.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from dataflare.actor.ref import ActorRef
    from dataflare.executor.job import Job
    from dataflare.executor.report import Report


class WorkflowActor(Actor):
    """Runs one attempt. It ends with an `Ending`, or dies of an error; the supervisor decides what is next."""

    def __init__(
        self,
        make_job: Callable[[], Awaitable[Job]],
        on_ending: Callable[[Ending], None],
        deadline_seconds: float | None = None,
    ) -> None:
        """`make_job` takes the next attempt number in the log."""
        self._make_job, self._on_ending, self._deadline = make_job, on_ending, deadline_seconds
        self._life: Life | None = None
        self._watch = Watch()

    async def started(self) -> None:
        """Take the attempt and begin to live; no message comes in before the attempt is known."""
        job = await self._make_job()
        self._life = Life(job, self.context.system, self.context.ref, self.context.watch)
        self.context.own(asyncio.get_running_loop().create_task(self._live()))

    async def stopped(self) -> None:
        """End the tasks, those nearest to the sources first."""
        life = self._life
        if life is None:
            return
        children = [*life.enumerators.values(), *(ref for refs in life.tasks.values() for ref in refs)]
        for ref in children:
            await life.system.stop(ref)

    async def terminated(self, ref: ActorRef, error: BaseException | None) -> None:
        """A task died: so does the attempt."""
        del ref
        if self._life is not None and self._life.ending is None:
            self.context.fail(as_error(error))

    # ---- what tasks tell ------------------------------------------------------------------------------------------

    async def prepared(self, report: Report) -> None:
        """A task has passed a barrier."""
        self._here.reports.setdefault(report.round, []).append(report)
        self._here.changed()

    async def idle(self, task: str) -> None:
        """A source task has no more splits."""
        life = self._here
        life.idle.add(task)
        for ref in life.whose_turn():
            ref.tell("turn")
        life.changed()

    async def eases(self, task: str, waits: bool) -> None:  # noqa: FBT001 - a message
        """Rows have begun to wait in a task, or have all gone on."""
        life = self._here
        life.easing = life.easing | {task} if waits else life.easing - {task}
        life.changed()

    async def evolves(self) -> None:
        """A source has other columns from here on than planned; it reads no more under this plan."""
        self._here.requests.evolve = True
        self._here.changed()

    async def renew(self) -> None:
        """Another plan is there for the next attempt; this one ends."""
        self._here.requests.renew = True
        self._here.changed()

    async def dirty(self) -> None:
        """Rows have flowed since the last barrier."""
        self._here.dirty = True
        self._here.changed()

    async def awaited(self, after_round: int) -> None:
        """A source task that has passed this barrier can go on behind the next one only."""
        if after_round >= self._here.round:
            self._here.awaited = True
            self._here.changed()

    # ---- control ------------------------------------------------------------------------------------------------

    async def stop(self) -> None:
        """Drain and end."""
        self._here.requests.stop = True
        self._here.changed()

    async def pause(self) -> None:
        """Stop reading."""
        self._here.requests.paused = True
        await asyncio.gather(*(ref.ask("pause") for ref in self._here.source_tasks))

    async def unpause(self) -> None:
        """Read again."""
        self._here.requests.paused = False
        self._here.changed()
        await asyncio.gather(*(ref.ask("unpause") for ref in self._here.source_tasks))

    async def checkpoint(self) -> asyncio.Future[int]:
        """Seal an epoch now; the answer is its number, once it is committed."""
        waiting: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._here.requests.checkpoint.append(waiting)
        self._here.changed()
        return waiting

    async def take_requests(self) -> asyncio.Task[None]:
        """Give sources what was written down for them meanwhile."""
        return asyncio.get_running_loop().create_task(ask_sources(self._here))

    async def describe(self) -> asyncio.Task[dict[str, Any]]:
        """Return where the workflow stands; see `Watch.describe`."""
        return asyncio.get_running_loop().create_task(self._watch.describe(self._here))

    async def measure(self) -> asyncio.Task[dict[str, Any]]:
        """Return how much goes through each node; see `Watch.measure`."""
        return asyncio.get_running_loop().create_task(self._watch.measure(self._here))

    async def tap(self, node: Any, rows: Any) -> asyncio.Task[dict[str, Any]]:
        """Return rows of a node since the last call; see `Watch.tap`."""
        return asyncio.get_running_loop().create_task(self._watch.tap(self._here, node, rows))

    # ---- life ---------------------------------------------------------------------------------------------------

    @property
    def _here(self) -> Life:
        assert self._life is not None
        return self._life

    async def _live(self) -> None:
        life = self._here
        if self._deadline is not None:
            self.context.own(asyncio.get_running_loop().create_task(self._end_in(self._deadline)))
        state: Any = opening
        while state is not None:
            state = await state(life)
        assert life.ending is not None
        self._on_ending(life.ending)

    async def _end_in(self, seconds: float) -> None:
        await self._here.job.runtime.clock.sleep(seconds)
        self._here.requests.more = True
        await self.stop()
