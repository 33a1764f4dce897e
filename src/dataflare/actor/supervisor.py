"""Restarts what dies: one for one, with growing pauses, within a limit, and then escalates."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dataflare.actor.cell import Actor
from dataflare.errors import DataFlareError, Retry

if TYPE_CHECKING:
    from collections.abc import Callable

    from dataflare.actor.ref import ActorRef
    from dataflare.component import Runtime


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """How often and how fast a child is started again.

    The n-th pause in a row is `initial * 2**n` seconds, at most `maximum`, with up to a quarter of jitter; more than
    `attempts` restarts within `window_seconds` escalate. A child that lived longer than the window starts afresh.
    """

    initial_seconds: float = 1.0
    maximum_seconds: float = 60.0
    attempts: int = 10
    window_seconds: float = 600.0

    def pause(self, restarts: int, jitter: float) -> float:
        """Return the pause before restart number `restarts` (from 0); `jitter` is in 0..1."""
        return float(min(self.maximum_seconds, self.initial_seconds * 2 ** min(restarts, 30)) * (1 + jitter / 4))


@dataclass(frozen=True, slots=True)
class Child:
    """How to make a child: its class, the arguments of each start, and what to call when it is over for good.

    `on_restart(error, pause)` hears of every failure that is tried again; `on_end(error)` of the end: None when it
    stopped by itself.
    """

    name: str
    kind: type[Actor]
    arguments: Callable[[], tuple[Any, ...]]
    policy: RestartPolicy
    on_end: Callable[[BaseException | None], None]
    on_restart: Callable[[BaseException, float], None] = lambda _error, _pause: None


@dataclass(slots=True)
class _Life:
    child: Child
    ref: ActorRef | None = None
    deaths: deque[float] = field(default_factory=deque)
    stopping: bool = False


class SupervisorActor(Actor):
    """Keeps its children alive, each on its own."""

    def __init__(self, runtime: Runtime) -> None:
        """Take clock and randomness from the runtime."""
        self._runtime = runtime
        self._lives: dict[str, _Life] = {}

    async def supervise(self, child: Child) -> ActorRef:
        """Start a child and keep it; return its first address."""
        life = self._lives[child.name] = _Life(child)
        return await self._start(life)

    async def current(self, name: str) -> ActorRef | None:
        """Return the address of a child as it is now; None between two lives."""
        life = self._lives.get(name)
        return life.ref if life else None

    async def stop_child(self, name: str) -> None:
        """End a child for good; `on_end(None)` is called."""
        life = self._lives.pop(name, None)
        if life is None:
            return
        life.stopping = True
        if life.ref is not None:
            await self.context.system.stop(life.ref)
        life.child.on_end(None)

    async def renew_child(self, name: str) -> None:
        """Let a child begin a new life at once, which is no failure: it wants to start with other arguments."""
        life = self._lives.get(name)
        if life is None or life.ref is None:
            return
        former, life.ref = life.ref, None
        await self.context.system.stop(former)
        if not life.stopping and self._lives.get(name) is life:
            await self._start(life)

    async def terminated(self, ref: ActorRef, error: BaseException | None) -> None:
        """Decide what follows a death; notices of former lives are ignored."""
        life = next((x for x in self._lives.values() if x.ref is ref), None)
        if life is None or life.stopping:
            return
        life.ref = None
        if error is None or not _may_retry(error):
            self._give_up(life, error)
            return
        now, policy = self._runtime.clock.monotonic(), life.child.policy
        life.deaths.append(now)
        while life.deaths and life.deaths[0] < now - policy.window_seconds:
            life.deaths.popleft()
        if len(life.deaths) > policy.attempts:
            self._give_up(life, error)
            return
        pause = policy.pause(len(life.deaths) - 1, self._runtime.random.random())
        life.child.on_restart(error, pause)
        self.context.own(asyncio.get_running_loop().create_task(self._restart(life, pause)))

    async def _restart(self, life: _Life, pause: float) -> None:
        await self._runtime.clock.sleep(pause)
        if not life.stopping:
            await self._start(life)

    async def _start(self, life: _Life) -> ActorRef:
        child = life.child
        life.ref = await self.context.system.spawn(child.kind, *child.arguments(), name=child.name)
        self.context.watch(life.ref)
        return life.ref

    def _give_up(self, life: _Life, error: BaseException | None) -> None:
        self._lives.pop(life.child.name, None)
        life.child.on_end(error)


def _may_retry(error: BaseException) -> bool:
    if isinstance(error, DataFlareError):
        return error.retry is Retry.BACKOFF
    return isinstance(error, OSError)
