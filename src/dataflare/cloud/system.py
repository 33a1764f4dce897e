"""Actors on a Ray cluster: the same cells, hosted by processes that Ray places and whose death Ray tells."""

from __future__ import annotations

import asyncio
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any

from dataflare.actor.contract import MAILBOX_MESSAGES_MAX, ActorSystem
from dataflare.cloud.host import Host
from dataflare.cloud.library import ray, translated
from dataflare.cloud.ref import Failure, RayRef
from dataflare.errors import ActorDiedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from dataflare.actor.ref import ActorRef

CALLS_MAX = 10_000
"""How many calls a host may have under way: messages, deferred answers and watches."""


class RayActorSystem(ActorSystem):
    """Hosts up to `slots` processes, made when they are needed and filled in turn; each holds any number of actors.

    The process must have joined a cluster (`ray.init`). The hosts live as long as this system, and die with the
    process that made it: Ray restarts nothing, since an actor without its state is no actor. A host whose process
    has died is replaced at the next `spawn`; its actors end with ActorDiedError. `labels` are those a node must have
    to be given a host. Actors spawn through the system of their own host, with as many slots.

    Order: messages of one process to one actor arrive in the order in which they were sent, asked and told alike.
    """

    def __init__(self, slots: int = 1, *, labels: dict[str, str] | None = None) -> None:
        """Start no process."""
        if slots < 1:
            raise ValueError("an actor system needs a slot")
        self._slots, self._labels = slots, labels
        self._hosts: list[_HostedProcess] = []
        self._turn = count()
        self._watches: dict[asyncio.Task[None], RayRef] = {}

    async def spawn(self, kind: type[Any], *arguments: Any, name: str, mailbox: int = MAILBOX_MESSAGES_MAX) -> ActorRef:
        """Make an actor in the next slot; raise ActorDiedError when its process does not start or dies."""
        host = self._next_host()
        made = await host.spawn(kind, arguments, name, mailbox)
        if isinstance(made, Failure):
            raise made.error
        ref: RayRef = made
        return ref

    def watch(self, ref: ActorRef, callback: Callable[[BaseException | None], None]) -> None:
        """Call back at the end of the actor, or of its process."""
        watched = _own(ref)
        watch = asyncio.get_running_loop().create_task(_watch(watched, callback))
        self._watches[watch] = watched
        watch.add_done_callback(self._watches.pop)

    async def stop(self, ref: ActorRef) -> None:
        """End the actor; one whose process is gone has ended."""
        found = _own(ref)
        try:
            with translated(found.name):
                await found.handle.stop.remote(found.address[1])
        except ActorDiedError:
            pass  # it is dead, which is all that was wanted

    async def shutdown(self) -> None:
        """End all actors, the youngest host's first, and their processes."""
        for host in reversed(self._hosts):
            await host.shutdown()
        own = {host.process for host in self._hosts}
        watches = list(self._watches.items())
        for watch, ref in watches:
            if ref.address[0] not in own:
                watch.cancel()  # an actor of another system, which lives on
        self._hosts.clear()
        if watches:
            await asyncio.wait([watch for watch, _ in watches])

    def _next_host(self) -> _HostedProcess:
        slot = next(self._turn) % self._slots
        self._hosts = [host for host in self._hosts if not host.dead]
        for host in self._hosts:
            if host.slot == slot:
                return host
        make_system = partial(RayActorSystem, self._slots, labels=self._labels)
        self._hosts.append(_HostedProcess(slot, make_system, self._labels))
        return self._hosts[-1]


class _HostedProcess:
    """A host as its maker sees it."""

    def __init__(self, slot: int, make_system: Callable[[], RayActorSystem], labels: dict[str, str] | None) -> None:
        self.slot, self.process, self.dead = slot, "", False
        self._numbers = count()
        placed = {"label_selector": labels} if labels else {}
        self._handle = _host_class().options(**placed).remote(make_system)

    async def spawn(self, kind: type[Any], arguments: tuple[Any, ...], name: str, mailbox: int) -> Any:
        try:
            with translated(name):
                made = await self._handle.spawn.remote(next(self._numbers), kind, arguments, name, mailbox)
        except ActorDiedError:
            self.dead = True
            raise
        if isinstance(made, RayRef):
            self.process = made.address[0]
        return made

    async def shutdown(self) -> None:
        try:
            with translated("host"):
                await self._handle.shutdown.remote()
        except ActorDiedError:
            return
        ray().kill(self._handle)


async def _watch(ref: RayRef, callback: Callable[[BaseException | None], None]) -> None:
    """Wait for the end of an actor by a call that is not answered before."""
    error: BaseException | None
    try:
        with translated(ref.name):
            error = await ref.handle.end.remote(ref.address[1])
    except ActorDiedError as death:
        error = death
    callback(error)


def _host_class() -> Any:
    """Return the host as a Ray actor: no CPU of its own, never restarted.

    No concurrency groups: each would run on an event loop of its own, and the cells live on one.
    """
    return ray().remote(num_cpus=0, max_restarts=0, max_task_retries=0, max_concurrency=CALLS_MAX)(Host)


def _own(ref: ActorRef) -> RayRef:
    if not isinstance(ref, RayRef):
        raise TypeError(f"{ref!r} is not an actor of this system")
    return ref
