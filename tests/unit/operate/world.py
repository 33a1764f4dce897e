"""A scheduler in simulated time: the real keeper, agenda and history on a store that can crash at any step."""

from __future__ import annotations

import asyncio
import random
import weakref
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dataflare.component import Config
from dataflare.errors import ExternalError, LeaseHeldError
from dataflare.operate.agenda import AgendaLog
from dataflare.operate.history import History
from dataflare.operate.keeper import Keeper, Kept
from dataflare.schedule import MICROSECONDS, Schedule
from dataflare.security.codec import Codec
from dataflare.state.memory import MemoryStore
from dataflare.testing.simulation.loop import SimulatedLoop

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from dataflare.monitoring.events import Event
    from dataflare.operate.agenda import PlannedRun
    from dataflare.operate.history import RunRecord
    from dataflare.operate.senses import Sense

MINUTE, HOUR = 60, 3600


class PowerCutError(Exception):
    """The process is dead; whatever it does next fails."""


class Clock:
    """The time of the loop, with an offset for those who set the clock."""

    def __init__(self, start: int) -> None:
        self.start, self.offset = start, 0

    def now(self) -> int:
        return self.start + self.offset + round(self.monotonic() * MICROSECONDS)

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds))


class Runtime:
    """Calls at once, on the loop."""

    def __init__(self, clock: Clock, events: list[Event]) -> None:
        self.clock, self.random, self.events = clock, random.Random(1), events

    async def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        await asyncio.sleep(0)
        return function(*args, **kwargs)

    def emit(self, event: Event) -> None:
        self.events.append(event)


class Fuse:
    """Counts steps; the process dies at the one that it is set to, just before it or just after."""

    def __init__(self, at: int = 0, *, after: bool = False) -> None:
        self.at, self.after, self.steps, self.blown = at, after, 0, False

    def step(self, act: Callable[[], Any]) -> Any:
        if self.blown:
            raise PowerCutError
        self.steps += 1
        if self.steps == self.at and not self.after:
            self.blown = True
            raise PowerCutError
        value = act()
        if self.steps == self.at:
            self.blown = True
            raise PowerCutError
        return value


class FusedStore(MemoryStore):
    """A store whose every write is a step of the fuse; what was written stays."""

    def __init__(self, kept: MemoryStore, fuse: Fuse) -> None:
        super().__init__(Config())
        self._values, self._fuse = kept._values, fuse

    def create(self, key: str, value: bytes) -> bool:
        return self._fuse.step(lambda: super(FusedStore, self).create(key, value))

    def put(self, key: str, value: bytes) -> None:
        self._fuse.step(lambda: super(FusedStore, self).put(key, value))

    def delete(self, keys: list[str]) -> None:
        if keys:
            self._fuse.step(lambda: super(FusedStore, self).delete(keys))


@dataclass
class Works:
    """What runs do, kept over crashes: each takes its time, and one that was complete does nothing when asked again."""

    seconds: Callable[[PlannedRun], float] = lambda _: 1.0
    fails: Callable[[PlannedRun], bool] = lambda _: False
    held_until: float = -1.0
    done: list[str] = field(default_factory=list)
    begun: list[str] = field(default_factory=list)
    newest: str = ""
    at_once: int = 0
    most_at_once: int = 0


class Starter:
    """The runs of one process."""

    def __init__(self, works: Works, clock: Clock, fuse: Fuse) -> None:
        self.works, self.clock, self.fuse, self.drained = works, clock, fuse, asyncio.Event()

    async def run(self, planned: PlannedRun, record: RunRecord) -> RunRecord:
        works = self.works
        self.drained.clear()
        if self.clock.monotonic() < works.held_until:
            raise LeaseHeldError("it is run already")
        works.begun.append(planned.id)
        if works.newest == planned.id:
            return record.finished(self.clock.now(), "succeeded")
        works.at_once += 1
        works.most_at_once = max(works.most_at_once, works.at_once)
        try:
            waiting = asyncio.get_running_loop().create_task(self.drained.wait())
            done, _ = await asyncio.wait([waiting], timeout=works.seconds(planned))
            waiting.cancel()
        finally:
            works.at_once -= 1
        if done:
            return record.finished(self.clock.now(), "stopped")
        if works.fails(planned):
            return record.finished(self.clock.now(), "failed", ExternalError("no answer").as_finding())
        self.fuse.step(lambda: self._complete(planned))
        return record.finished(self.clock.now(), "succeeded")

    def drain(self) -> None:
        self.drained.set()

    def _complete(self, planned: PlannedRun) -> None:
        self.works.done.append(planned.id)
        self.works.newest = planned.id


class World:
    """One workflow over the lives of its schedulers."""

    def __init__(self, start: int, schedule: Schedule, works: Works | None = None) -> None:
        self.loop, self.clock, self.schedule = SimulatedLoop(), Clock(start), schedule
        self.works, self.events = works or Works(), list[Any]()
        self.store = MemoryStore(Config())
        self.keeper: Keeper | None = None
        self.senses: Callable[[MemoryStore], Sequence[Sense]] = lambda _: ()
        weakref.finalize(self, self.loop.close)

    @property
    def history(self) -> History:
        return History(self.store, Codec(), "w", retained=self.schedule.retain)

    def records(self) -> list[RunRecord]:
        return self.history.newest(10_000)

    def runs(self) -> list[tuple[str, str]]:
        """Return the name and the status of every run in the history."""
        return [(r.run, r.status) for r in self.records()]

    def count(self) -> Counter[str]:
        """Return how often each run was complete."""
        return Counter(self.works.done)

    def live(self, seconds: float, fuse: Fuse | None = None, during: Coroutine[Any, Any, None] | None = None) -> bool:
        """Let a scheduler live for so long, or until its fuse blows; return whether it lived."""
        return self.loop.run_until_complete(self._live(seconds, fuse or Fuse(), during))

    def away(self, seconds: float) -> None:
        """Let time pass without a scheduler."""
        self.loop.run_until_complete(asyncio.sleep(seconds))

    async def _live(self, seconds: float, fuse: Fuse, during: Coroutine[Any, Any, None] | None) -> bool:
        store = FusedStore(self.store, fuse)
        codec, runtime = Codec(), Runtime(self.clock, self.events)
        history = History(store, codec, "w", retained=self.schedule.retain)
        kept = Kept("w", self.schedule, AgendaLog(store, codec, "w"), history, self.senses(store))
        self.keeper = Keeper(kept, Starter(self.works, self.clock, fuse), runtime)
        life = asyncio.get_running_loop().create_task(self.keeper.keep())
        beside = asyncio.get_running_loop().create_task(during) if during else None
        await asyncio.wait([life], timeout=seconds)
        if life.done():
            if beside is not None:
                await beside
            try:
                life.result()
            except PowerCutError:
                return False
            return True
        if beside is not None:
            await beside
        self.keeper.stop()
        await life
        return True
