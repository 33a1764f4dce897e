"""Keeps many workflows in one process: each on its own, whatever becomes of the others; they come, change and go."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from dataflare.errors import UnavailableError
from dataflare.executor.faults import as_error
from dataflare.executor.runtime import LocalRuntime
from dataflare.monitoring.events import Noticed
from dataflare.operate.door import Door
from dataflare.operate.upkeep import Upkeep

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence
    from typing import Any

    from dataflare.listening.server import Address
    from dataflare.monitoring.events import Observer
    from dataflare.operate.calls import Answered
    from dataflare.operate.member import Member
    from dataflare.operate.upkeep import Standing


class Scheduler:
    """Many workflows in one process; at most `runs_max` of those with a schedule run at once.

    Calls by HTTP come in at one address. `add`, `change`, `remove` and `repeat` are for the event loop of `keep`.
    """

    def __init__(self, members: Sequence[Member], observer: Observer, address: Address, *, runs_max: int) -> None:
        """Keep nothing yet."""
        self._members = members
        self._address, self._observer = address, observer
        self._places = asyncio.Semaphore(runs_max)
        self._runtime = LocalRuntime(observer)
        self.door = Door(self._called)
        self._kept: dict[str, Upkeep] = {}
        self._tasks: dict[Upkeep, asyncio.Task[None]] = {}
        self._listening: asyncio.Task[None] | None = None
        self._stopping = False

    @property
    def standings(self) -> list[Standing]:
        """How each workflow stands, in the order in which they came."""
        return [kept.standing for kept in list(self._kept.values())]  # a thread that draws may ask

    async def keep(self, beside: Coroutine[Any, Any, None] | None = None) -> None:
        """Keep all until each has ended, or until `stop`; raises nothing that one of them brings.

        `beside` runs as long, and may add others meanwhile.
        """
        for member in self._members:
            self.add(member)
        helping = asyncio.get_running_loop().create_task(beside) if beside is not None else None
        try:
            while self._tasks:
                waited = [*self._tasks.values(), *([helping] if helping is not None else [])]
                await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
                self._tasks = {kept: task for kept, task in self._tasks.items() if not task.done()}
                if helping is not None and helping.done():
                    self._tell_failure(helping)
                    helping = None
        except asyncio.CancelledError:
            for task in self._tasks.values():
                task.cancel()
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)
            raise
        finally:
            others = [task for task in (helping, self._listening) if task is not None]
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
        self._runtime.close()

    def stop(self) -> None:
        """Begin no more, and drain what runs."""
        self._stopping = True
        for kept in self._tasks:
            kept.stop()

    def add(self, member: Member, *, at_once: bool = True) -> None:
        """Keep one more; where it is kept already, instead of what is kept: `at_once`, or when that has ended."""
        if at_once and member.workflow in self._kept:
            self._kept[member.workflow].leave()
        kept = self._kept[member.workflow] = Upkeep(member, self._observer, self._places)
        self._begin(kept)

    def change(self, member: Member) -> None:
        """Keep one by other rules, of the same state; a run that is under way goes on."""
        kept = self._kept[member.workflow]
        kept.change(member)
        self._hook(member)
        if self._ended(kept) and member.schedule is not None:
            self._begin(kept)

    def remove(self, workflow: str) -> None:
        """Keep one no more: a scheduled run that is under way ends by itself, another one commits what it read."""
        self.door.put(workflow, None)
        self._kept.pop(workflow).leave()

    def repeat(self, workflow: str) -> None:
        """Let one without a schedule commit what it read, and go on as it is prepared now."""
        kept = self._kept[workflow]
        kept.repeat()
        if self._ended(kept):
            self._begin(kept)

    def _ended(self, kept: Upkeep) -> bool:
        task = self._tasks.get(kept)
        return task is None or task.done()

    def _begin(self, kept: Upkeep) -> None:
        """Keep it from now on; one of that name that still has a run under way goes before."""
        if self._stopping:
            return
        before = [task for other, task in self._tasks.items() if other.member.workflow == kept.member.workflow]
        self._hook(kept.member)
        self._tasks[kept] = asyncio.get_running_loop().create_task(self._keep(kept, before))

    async def _keep(self, kept: Upkeep, before: Sequence[asyncio.Task[None]]) -> None:
        if before:
            await asyncio.wait(before)
        await kept.keep(self._runtime)

    def _hook(self, member: Member) -> None:
        """Let it be called where it says, and listen where nobody has yet."""
        self.door.put(member.workflow, member.hook)
        if member.hook is not None and self._listening is None:
            listening = self.door.listen(self._address, self._runtime)
            self._listening = asyncio.get_running_loop().create_task(listening)

    def _tell_failure(self, task: asyncio.Task[None]) -> None:
        failure = task.exception()
        if failure is not None:
            error = as_error(failure)
            self._runtime.emit(Noticed("", error.code, str(error)))

    async def _called(self, workflow: str, key: str) -> Answered:
        kept = self._kept.get(workflow)
        if kept is None:
            raise UnavailableError(f"{workflow} is not kept any more", hint="see whether its file is there")
        return await kept.call(key)


__all__ = ["Scheduler"]
