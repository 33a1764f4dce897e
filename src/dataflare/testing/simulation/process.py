"""A simulated process: its runtime, its actors, and the ways in which it can die or sleep.

Everything durable happens inside `Runtime.call`. A frozen process never returns from a call or a sleep; thawed, it
goes on where it stood, a zombie that knows nothing of what happened meanwhile. A crash is a freeze for ever.
"""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from functools import partial
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from dataflare.actor.system import LocalActorSystem, LocalRef
from dataflare.errors import LeaseHeldError

if TYPE_CHECKING:
    from collections.abc import Callable

    from dataflare.actor.cell import Cell
    from dataflare.monitoring.events import Event
    from dataflare.testing.simulation.world import World

P = ParamSpec("P")
T = TypeVar("T")

CALL_SECONDS = 0.02
SLOW_SHARE = 0.02
SLOW_SECONDS = 2.0


class SimulatedClock:
    """The loop's time; the wall clock of the process may be off and may jump."""

    def __init__(self, process: Process) -> None:
        """Belong to a process."""
        self._process = process
        self.offset_microseconds = 0

    def now(self) -> int:
        """Return microseconds, jumps included."""
        return int(self.monotonic() * 1e6) + 1_700_000_000_000_000 + self.offset_microseconds

    def monotonic(self) -> float:
        """Return the loop's seconds."""
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        """Wait, and as long again as the process is frozen."""
        await asyncio.sleep(max(0.0, seconds))
        await self._process.awake()


class Process:
    """One operating-system process that runs the workflow; also its `Runtime`."""

    def __init__(self, world: World, seed: int) -> None:
        """Draw all delays from the seed."""
        self.world = world
        self.random = random.Random(seed)
        self.clock = SimulatedClock(self)
        self.dead = False
        self._frozen: asyncio.Event | None = None
        self.events: list[Event] = []
        self._trap: tuple[str, bool, asyncio.Event] | None = None
        self.system = SimulatedActorSystem(self)

    def freeze(self) -> None:
        """Stop every step of the process from now on."""
        self._frozen = asyncio.Event()

    def thaw(self) -> None:
        """Let it go on, late; the dead stay dead."""
        if self._frozen is not None and not self.dead:
            self._frozen.set()
            self._frozen = None

    def crash(self) -> None:
        """Kill -9."""
        self.dead = True
        self.freeze()

    async def awake(self) -> None:
        """Return when the process is not frozen."""
        while self._frozen is not None and not self.world.over:
            await self._frozen.wait()
        if self.world.over:
            raise asyncio.CancelledError

    async def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a step that the world sees, at a random moment; the answer comes at another."""
        await self._pause()
        await self._spring(function, before=True)
        if getattr(function, "__name__", "") == "begin_attempt" and self.world.newest is not self:
            raise LeaseHeldError("a newer process holds the lease")
        result = partial(function, *args, **kwargs)()
        await self._spring(function, before=False)
        await self._pause()
        return result

    def trap(self, step: str, *, before: bool) -> asyncio.Event:
        """Stop the process at its next call of a function of this name; the event tells that it has stopped."""
        hit = asyncio.Event()
        self._trap = (step, before, hit)
        return hit

    def disarm(self) -> None:
        """Take the trap away."""
        self._trap = None

    async def _spring(self, function: Callable[..., Any], *, before: bool) -> None:
        if self._trap is None or self._trap[:2] != (getattr(function, "__name__", ""), before):
            return
        self._trap[2].set()
        self._trap = None
        self.freeze()
        await self.awake()

    async def _pause(self) -> None:
        slow = self.random.random() < SLOW_SHARE
        await asyncio.sleep(self.random.random() * (SLOW_SECONDS if slow else CALL_SECONDS))
        await self.awake()

    def emit(self, event: Event) -> None:
        """Keep the event."""
        self.events.append(event)


class SimulatedActorSystem(LocalActorSystem):
    """Messages take a random time, channel by channel: barriers of one source arrive long before those of another."""

    def __init__(self, process: Process) -> None:
        """Belong to a process."""
        super().__init__()
        self._process = process
        self._locks: dict[Any, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._skew: dict[Any, float] = {}

    def make_ref(self, name: str, cell: Cell) -> LocalRef:
        """Return an address whose data messages are slow."""
        return _SlowRef(name, cell, self)

    async def travel(self, ref: LocalRef, arguments: tuple[Any, ...]) -> Any:
        """Deliver an item in the order of its channel, after a while; many may be on the way at once."""
        key, clock = (ref.name, arguments[0]), self._process.clock
        if key not in self._skew:
            self._skew[key] = self._process.random.choice([0.0, 0.001, 0.05, 0.5])
        due = clock.monotonic() + self._process.random.random() * self._skew[key]
        async with self._locks[key]:
            await clock.sleep(due - clock.monotonic())
            reply = await ref.cell.enqueue("item", arguments)
        return await reply


class _SlowRef(LocalRef):
    """An address in a simulated process."""

    __slots__ = ("_system",)

    def __init__(self, name: str, cell: Cell, system: SimulatedActorSystem) -> None:
        super().__init__(name, cell)
        self._system = system

    async def ask(self, method: str, *arguments: Any) -> Any:
        if method == "item":
            return await self._system.travel(self, arguments)
        await self._system._process.awake()
        return await super().ask(method, *arguments)
