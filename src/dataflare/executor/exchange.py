"""What flows between tasks: batches and barriers over channels with credits, and the alignment of barriers.

A channel leads from one task to another; items on it stay in order. The sender holds a credit for each item that the
receiver has not consumed yet, so every queue is bounded: two items of any size, more while they are small, so that a
slow receiver finds something to gather. A receiver that has a barrier of one channel lets that
channel wait until it has the barrier of all (aligned barriers: Carbone et al., Lightweight Asynchronous Snapshots).
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dataflare.executor.gathering import Room
from dataflare.executor.graph import Routing
from dataflare.executor.partition import partitions
from dataflare.plan import Edge

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dataflare.actor.ref import ActorRef
    from dataflare.batch import Batch
    from dataflare.component import Runtime
    from dataflare.executor.graph import TaskGraph

CREDITS_PER_CHANNEL = 2
SMALL_ITEMS_PER_CHANNEL = 64
SMALL_BYTES_PER_CHANNEL = 1 << 20


@dataclass(frozen=True, slots=True)
class Barrier:
    """Separates the rows of an epoch from those after it.

    `round` counts barriers within an attempt: an epoch that timed out goes on under its number in a later round.
    `last`: all input has ended before it. `next_time` is the time of the epoch that follows.
    """

    epoch: int
    round: int
    last: bool = False
    next_time: int = 0


@dataclass(frozen=True, slots=True)
class End:
    """No more rows come by this channel; barriers still do."""


Mark = Barrier | End
"""What is no batch: it goes down every channel that may carry rows of its sender."""


class Channel:
    """The sending end: at most CREDITS_PER_CHANNEL items are on the way, or more that are small together."""

    def __init__(self, ref: ActorRef, number: int, on_failure: Callable[[BaseException], None]) -> None:
        """Send to channel `number` of a task; a failed delivery is the sender's failure."""
        self._ref, self._number, self._on_failure = ref, number, on_failure
        self._sending: dict[asyncio.Task[None], int] = {}
        self._bytes = 0
        self._freed = asyncio.Event()
        self.sated = False
        """The receiver wants no more rows."""

    async def send(self, item: Batch | Mark) -> None:
        """Wait for a credit, then send; returns before the item is consumed. One sender at a time."""
        size = 0 if isinstance(item, Mark) else item.num_bytes
        while not self._has_room(size):
            self._freed.clear()
            await self._freed.wait()
        task = asyncio.get_running_loop().create_task(self._deliver(item))
        self._sending[task] = size
        self._bytes += size
        task.add_done_callback(self._delivered)

    def close(self) -> None:
        """Forget what is on the way."""
        for task in self._sending:
            task.cancel()

    def _has_room(self, size: int) -> bool:
        if len(self._sending) < CREDITS_PER_CHANNEL:
            return True
        return len(self._sending) < SMALL_ITEMS_PER_CHANNEL and self._bytes + size <= SMALL_BYTES_PER_CHANNEL

    async def _deliver(self, item: Batch | Mark) -> None:
        self.sated = bool(await self._ref.ask("item", self._number, item))

    def _delivered(self, task: asyncio.Task[None]) -> None:
        self._bytes -= self._sending.pop(task)
        self._freed.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            self._on_failure(error)


class Outlet:
    """The sending end of an exchange: routes each batch to one, some or all channels."""

    def __init__(
        self, routing: Routing, keys: tuple[str, ...], channels: list[Channel], index: int, runtime: Runtime
    ) -> None:
        """`index` is the partition of the sending task; `channels` are by partition of the receiving stage."""
        self._runtime = runtime
        self._routing, self._keys, self._channels = routing, keys, channels
        self._next = index % len(channels)
        self._index = index

    async def send(self, batch: Batch) -> None:
        """Route a batch."""
        if self._routing is Routing.HASH and len(self._channels) > 1:
            for number, part in await self._runtime.call(partitions, batch.rows, self._keys, len(self._channels)):
                await self._channels[number].send(batch.replace(part))
        elif self._routing is Routing.BROADCAST:
            for channel in self._channels:
                await channel.send(batch)
        elif self._routing is Routing.FORWARD:
            await self._channels[self._index].send(batch)
        else:
            await self._channels[self._next].send(batch)
            self._next = (self._next + 1) % len(self._channels)

    @property
    def sated(self) -> bool:
        """Whether no receiver wants more rows."""
        return all(channel.sated for channel in self._used)

    async def mark(self, mark: Mark) -> None:
        """Send a mark down every channel that may carry rows of this task."""
        for channel in self._used:
            await channel.send(mark)

    @property
    def _used(self) -> list[Channel]:
        return [self._channels[self._index]] if self._routing is Routing.FORWARD else self._channels

    def close(self) -> None:
        """Forget what is on the way."""
        for channel in self._channels:
            channel.close()


@dataclass(frozen=True, slots=True)
class Inlet:
    """The receiving end of one channel: which edge it carries and where its rows go."""

    edge: str
    operator: str
    port: int


def inlets_of(graph: TaskGraph, stage: int, index: int) -> list[Inlet]:
    """Return the receiving ends of all channels into a task, in the order of their numbers."""
    channels = (exchange for exchange, _ in graph.channels_into(stage, index))
    return [Inlet(str(Edge(e.node, e.output, e.operator)), e.operator, e.port) for e in channels]


def _passes(item: Batch | Mark) -> bool:
    """Tell whether an item passes while rows wait, which then are state; behind the last barrier there is none."""
    return isinstance(item, Barrier) and not item.last


class Inlets:
    """All channels into a task, their waiting items, which of them wait at a barrier, and which have ended."""

    def __init__(self, inlets: list[Inlet]) -> None:
        """Number the channels as listed."""
        self._inlets = inlets
        self._queues: list[deque[tuple[Batch | Mark, asyncio.Future[bool]]]] = [deque() for _ in inlets]
        self._at_barrier: set[int] = set()
        self._ended: set[int] = set()
        self._turn = 0

    def __len__(self) -> int:
        """Count the channels."""
        return len(self._inlets)

    @property
    def waiting(self) -> int:
        """How many items wait."""
        return sum(map(len, self._queues))

    def add(self, channel: int, item: Batch | Mark) -> asyncio.Future[bool]:
        """Queue an item; the future is done when it has been consumed."""
        consumed: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._queues[channel].append((item, consumed))
        return consumed

    def next(self, *, rows: bool = True) -> tuple[Inlet, int, Batch | Mark, asyncio.Future[bool]] | None:
        """Take the next item of a channel that does not wait at a barrier, in fair turns; None if there is none.

        Not `rows`: take barriers alone, but not the last one; what stands before them waits, and so do they.
        """
        for step in range(len(self._queues)):
            channel = (self._turn + step) % len(self._queues)
            queue = self._queues[channel]
            if queue and channel not in self._at_barrier and (rows or _passes(queue[0][0])):
                self._turn = (channel + 1) % len(self._queues)
                item, consumed = queue.popleft()
                return self._inlets[channel], channel, item, consumed
        return None

    def following(self, channel: int, first: Batch) -> Iterator[tuple[Batch, asyncio.Future[bool]]]:
        """Take what waits in a channel behind a batch and can be gathered with it, up to the next mark."""
        room, queue = Room(first), self._queues[channel]
        while queue:
            item, consumed = queue[0]
            if isinstance(item, Mark) or not room.take(item):
                return
            queue.popleft()
            yield item, consumed

    def reached(self, channel: int) -> bool:
        """Let a channel wait at its barrier; return whether all channels now do, and let them all go on if so."""
        self._at_barrier.add(channel)
        if len(self._at_barrier) < len(self._inlets):
            return False
        self._at_barrier.clear()
        return True

    def ended(self, channel: int) -> bool:
        """Note that a channel has ended; return whether all channels into its port of its operator now have."""
        self._ended.add(channel)
        here = self._inlets[channel]
        same = (n for n, i in enumerate(self._inlets) if (i.operator, i.port) == (here.operator, here.port))
        return self._ended.issuperset(same)
