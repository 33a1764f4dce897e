"""Runs an arranged plan through the real executor, as often as its process dies."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from dataflare.component import Config, state_store
from dataflare.executor.contract import Outcome, RunContext, executor
from dataflare.executor.runtime import LocalRuntime
from dataflare.monitoring.events import EpochCommitted, EpochSealed, Event, NodeProgressed, RowsRejected
from dataflare.testing.clock import StoppedClock

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from dataflare.component import Registry
    from dataflare.plan import Plan
    from dataflare.testing.examples.world import World

P = ParamSpec("P")
T = TypeVar("T")

LIVES_MAX = 50
"""More lives than planted deaths are a defect of ours."""


class TestRuntime(LocalRuntime):
    """A runtime whose process can die: from then on nothing that is called happens."""

    __test__ = False

    def __init__(self, world: World, sources: frozenset[str], now: int | None, watch: Callable[[Event], None]) -> None:
        """Stand still at `now`, if it is given."""
        super().__init__(watch, threads=4, clock=StoppedClock(now) if now is not None else None)
        self.random = random.Random(0)  # noqa: S311 - the same jitter each time
        self._world, self._sources = world, sources

    async def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a blocking function unless the process is dead."""
        self._world.breathe()
        result = await super().call(function, *args, **kwargs)
        self._world.breathe()
        return result

    def emit(self, event: Event) -> None:
        """Tell the test, and die where it says so."""
        if self._world.dead:
            return
        super().emit(event)
        match event:
            case NodeProgressed() if event.node in self._sources and event.rows_out:
                self._world.reach("reading", self._world.committed + 1)
            case EpochSealed():
                self._world.reach("sealed", event.epoch)
            case EpochCommitted():
                self._world.committed = event.epoch
                self._world.reach("committed", event.epoch)


class Notes:
    """An observer that remembers why rows were rejected."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.rejected: dict[str, tuple[int, str]] = {}

    def __call__(self, event: Event) -> None:
        """Remember the first reason of each node."""
        if isinstance(event, RowsRejected):
            rows, reason = self.rejected.get(event.node, (0, event.reason))
            self.rejected[event.node] = (rows + event.rows, reason)


async def live(
    plan: Plan, registry: Registry, world: World, now: int | None, resolve: Callable[[Any], Mapping[str, Any]]
) -> tuple[Outcome, Notes]:
    """Run to the end, starting the process again wherever it dies; state and destinations outlive it."""
    kind = registry.find(state_store, "memory")
    store = kind(kind.spec.config())
    store.open()
    sources = frozenset(world.given)
    for _ in range(LIVES_MAX):
        notes = Notes()
        runtime = TestRuntime(world, sources, now, notes)
        try:
            chosen = registry.find(executor, "local")(Config())
            outcome = await chosen.execute(plan, RunContext(registry, runtime, store, resolve=resolve))
        finally:
            await asyncio.to_thread(runtime.close)
        if getattr(chosen, "signalled", 0):
            raise KeyboardInterrupt
        if not world.dead:
            store.close()
            return outcome, notes
        world.live_again()
    raise RuntimeError(f"the process of the test died {LIVES_MAX} times")


__all__ = ["Notes", "TestRuntime", "live"]
