"""The source and the destination that stand in for those of a workflow while it is tested.

The destination keeps the mechanism that the plan chose, so that a fault shows what it would show in earnest: behind
one that appends, rows of an epoch that is repeated are there twice.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, ClassVar

from dataflare.batch import Batch, Position
from dataflare.component import (
    Config,
    DestinationConnector,
    Epoch,
    Handle,
    SourceConnector,
    Split,
    destination,
    source,
)
from dataflare.errors import FencedError, StateError
from dataflare.plan import Mechanism

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    import pyarrow as pa

    from dataflare.component import Registry
    from dataflare.testing.examples.world import Shelf, World

SOURCE, DESTINATION = "test-source", "test-destination"
BATCH_ROWS = 1 << 14
_HIDDEN = (Mechanism.STAGED, Mechanism.TWO_PHASE)


def with_stand_ins(registry: Registry, world: World) -> Registry:
    """Return a copy of the registry that has stand-ins of this world."""
    given = type("Given", (GivenSource,), {"world": world, "__doc__": GivenSource.__doc__})
    kept = type("Kept", (KeepingDestination,), {"world": world, "__doc__": KeepingDestination.__doc__})
    return registry.including(
        source(SOURCE, replay="exact")(given),
        destination(DESTINATION, mechanisms=tuple(Mechanism))(kept),
    )


def part_ends(rows: int, parts: int) -> list[int]:
    """Return behind which rows the parts end: so many as even parts as there are rows for."""
    count = min(rows, parts)
    return [rows * (number + 1) // count for number in range(count)]


class GivenSource(SourceConnector[Config]):
    """Gives the rows of a test, in parts: each waits until the one before is committed."""

    world: ClassVar[World]

    def open(self) -> None:
        """Begin to wait for nothing."""
        self.world.use(self.context.node, "open")

    def splits(self, since: Position | None) -> list[Split]:
        """Return one split for each output."""
        del since
        return [Split(output or "rows", {"output": output}) for output in self.world.given[self.context.node]]

    async def read(self, split: Split, since: Position | None, until: Position | None) -> AsyncIterator[Batch]:
        """Yield the rows."""
        del until
        self._settled: asyncio.Event = asyncio.Event()
        self._acknowledged: dict[str, Any] = {}
        output = split.data["output"]
        rows: pa.Table = self.world.given[self.context.node][output]
        at = start = int(since["row"]) if since else 0
        ends = part_ends(rows.num_rows, self.world.epochs)
        while at < rows.num_rows:
            self.world.use(self.context.node, "read")
            end = min(*(e for e in ends if e > at), at + BATCH_ROWS)
            if at in ends and at > start:
                await self._committed(split.id, at)
            batch = Batch(rows.slice(at, end - at), output, {"row": end})
            yield batch
            self.world.use(self.context.node, "read", end - at)
            at = end

    async def acknowledge(self, positions: Mapping[str, Position]) -> None:
        """Let the next part come."""
        self._acknowledged.update(positions)
        self._settled.set()

    async def _committed(self, split: str, row: int) -> None:
        while int(self._acknowledged.get(split, {}).get("row", 0)) < row:
            self._settled.clear()
            await self._settled.wait()


class KeepingDestination(DestinationConnector[Config]):
    """Keeps rows for the test, by the mechanism of the destination that it stands in for."""

    world: ClassVar[World]

    @property
    def _shelf(self) -> Shelf:
        return self.world.shelves[self.context.node]

    def open(self) -> None:
        """Begin with nothing held, and raise the fence."""
        self.world.use(self.context.node, "open")
        self._held: list[pa.Table] = []
        self._parts = 0
        if self._shelf.fence > self.context.attempt:
            raise FencedError(f"{self.context.node} is fenced")
        self._shelf.fence = self.context.attempt

    def last_epoch(self) -> Epoch | None:
        """Return the last epoch."""
        return self._shelf.last

    def write(self, batch: Batch) -> None:
        """Take rows: at once to the shelf where they show at once."""
        self.world.use(self.context.node, "write", batch.num_rows)
        mechanism = self._shelf.mechanism
        if mechanism is Mechanism.APPEND:
            self._shelf.rows.append(batch.rows)
        elif mechanism is Mechanism.IDEMPOTENT:
            self._shelf.loose.append((self.context.attempt, batch.rows))
        else:
            self._held.append(batch.rows)

    def prepare(self, epoch: Epoch) -> Sequence[Handle]:
        """Stage."""
        self.world.use(self.context.node, "prepare")
        handles: list[Handle] = []
        if self._shelf.mechanism in _HIDDEN:
            for table in self._held:
                self._parts += 1
                name = f"{epoch.attempt}-{epoch.number}-{self._parts}"
                self._shelf.staged[name] = table
                handles.append({"name": name})
            self._held = []
        self.world.reach("prepared", epoch.number)
        return handles

    def commit(self, epoch: Epoch, handles: Sequence[Handle]) -> None:
        """Show the epoch, once."""
        self.world.use(self.context.node, "commit")
        shelf = self._shelf
        if shelf.mechanism is Mechanism.IDEMPOTENT:  # the same keys came again: what older attempts wrote is replaced
            shelf.rows += [table for attempt, table in shelf.loose if attempt == self.context.attempt]
            shelf.loose = []
        elif shelf.mechanism is Mechanism.DIRECT:
            self._direct(epoch)
        elif shelf.mechanism in _HIDDEN:
            self._publish(handles)
        self.world.reach("committing", epoch.number)

    def abort(self, keep: Sequence[Handle]) -> None:
        """Forget what earlier attempts staged."""
        kept = {h["name"] for h in keep}
        for name in [n for n in self._shelf.staged if int(n.split("-")[0]) < self.context.attempt and n not in kept]:
            del self._shelf.staged[name]

    def _direct(self, epoch: Epoch) -> None:
        shelf = self._shelf
        if shelf.fence > self.context.attempt:
            raise FencedError(f"{self.context.node} is fenced")
        if shelf.last is None or shelf.last.number < epoch.number:
            shelf.rows += self._held
            shelf.last = epoch
        self._held = []

    def _publish(self, handles: Sequence[Handle]) -> None:
        shelf = self._shelf
        for handle in handles:
            name = handle["name"]
            if name in shelf.staged:
                shelf.rows.append(shelf.staged.pop(name))
                shelf.published.add(name)
            elif name not in shelf.published:
                raise StateError(f"{name}: what was staged is gone")


__all__ = ["DESTINATION", "SOURCE", "part_ends", "with_stand_ins"]
