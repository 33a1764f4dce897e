"""Stub kernels for the simulator: tiny sources, processors and destinations whose durable side is the world."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, ClassVar

from dataflare.batch import Batch, Encoded, Position
from dataflare.component import (
    Config,
    DestinationConnector,
    Epoch,
    Field,
    Handle,
    Processor,
    Registry,
    SourceConnector,
    Split,
    Stream,
    destination,
    processor,
    source,
)
from dataflare.component.processor import EVERYWHERE
from dataflare.errors import FencedError
from dataflare.plan import Mechanism
from dataflare.schema import Schema
from dataflare.testing.simulation.world import Row, World, raise_fence

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence

SCHEMA = Schema.of({"split": "string", "n": "int64"})
SLOW_ROW_SECONDS = 0.05


def pack(rows: Sequence[Row]) -> Encoded:
    """Return rows as a payload."""
    return Encoded(json.dumps(rows).encode(), "rows", len(rows))


def unpack(batch: Batch) -> list[Row]:
    """Return the rows of a payload."""
    assert isinstance(batch.payload, Encoded)
    return [(split, n) for split, n in json.loads(bytes(batch.payload.data))]


class SourceConfig(Config):
    """Settings of the stub source."""

    splits: int = Field(2, description="Splits.")
    rows: int = Field(6, description="Rows of each split.")
    waits: bool = Field(default=False, description="Reads as a coroutine that waits.")


class FlakyConfig(Config):
    """Settings of the stub that rejects rows anew in each attempt."""

    share: float = Field(0.3, description="Share of rows that are rejected.")


class LookupConfig(Config):
    """Settings of the stub that looks rows up."""

    rows: int = Field(description="Rows of the lookup.")


def components(world: World) -> Registry:
    """Return a registry of stubs that live in this world."""
    return Registry.of(
        source("sim", replay="exact")(_in(world, SimSource)),
        source("sim_waiting", replay="exact")(_in(world, SimSource, waits=True)),
        destination("sim", mechanisms=tuple(Mechanism), parallel=True)(_in(world, SimDestination)),
        processor("sim_pass", counts=())(Pass),
        processor("sim_first", counts=("absorbed",), parallel=False, deterministic=False)(First),
        processor("sim_flush", counts=("expanded",), parallel=False)(Flush),
        processor("sim_lookup", counts=("absorbed", "expanded"))(_in(world, Lookup)),
        processor("sim_slow", counts=("absorbed", "expanded"))(Slow),
        processor("sim_flaky", counts=(), deterministic=False)(Flaky),
    )


def _in(world: World, kind: type[Any], **attributes: Any) -> type[Any]:
    return type(kind.__name__, (kind,), {"world": world, "__doc__": kind.__doc__, **attributes})


class SimSource(SourceConnector[SourceConfig]):
    """Numbers its rows."""

    world: ClassVar[World]

    def declared(self) -> Mapping[str, Stream] | None:
        return {"": Stream(SCHEMA)}

    def splits(self, since: Position | None) -> list[Split]:
        del since
        return [Split(f"{self.context.node}/{i}") for i in range(self.config.splits)]

    def batches(self, split: Split, since: Position | None) -> Iterator[Batch]:
        at = since["n"] if since else 0
        newest: object = self.world.newest
        if at < self.world.acknowledged.get(split.id, 0) and newest is self.context.runtime:
            self.world.violate(f"no loss: {split.id} forgot row {at + 1}")
        while at < self.config.rows:
            size = min(self.context.runtime.random.randint(1, 3), self.config.rows - at)
            rows = [(split.id, at + i + 1) for i in range(size)]
            at += size
            yield Batch(pack(rows), position={"n": at})

    def read(self, split: Split, since: Position | None, until: Position | None) -> Any:
        del until
        return self.slowly(split, since) if self.waits else self.batches(split, since)

    async def slowly(self, split: Split, since: Position | None) -> AsyncIterator[Batch]:
        for batch in self.batches(split, since):
            await self.context.runtime.clock.sleep(self.context.runtime.random.random() * 0.3)
            yield batch

    def acknowledge(self, positions: Mapping[str, Position]) -> None:
        for split, position in positions.items():
            self.world.acknowledge(split, position["n"])


class _Stub(Processor[Config]):
    """Passes rows."""

    def outputs(self, inputs: Sequence[Schema]) -> Mapping[str, Schema]:
        return {"": inputs[0], "errors": inputs[0]}

    def process(self, batch: Batch, port: int = 0) -> Iterable[Batch]:
        del port
        yield batch.replace(batch.payload, "")


class Pass(_Stub):
    """Passes rows."""


class First(_Stub):
    """Lets the first row of each number pass."""

    def open(self) -> None:
        self.seen: set[int] = set()

    def process(self, batch: Batch, port: int = 0) -> Iterable[Batch]:
        del port
        kept: list[Row] = []
        for row in unpack(batch):
            if row[1] not in self.seen:
                self.seen.add(row[1])
                kept.append(row)
        yield batch.replace(pack(kept), "")

    def snapshot(self) -> Mapping[int, bytes]:
        return {0: json.dumps(sorted(self.seen)).encode()}

    def restore(self, state: Mapping[int, bytes]) -> None:
        self.seen = set(json.loads(state[0]))


class Flush(_Stub):
    """Passes rows, and at the end one more that holds their number."""

    def open(self) -> None:
        self.count, self.done = 0, False

    def process(self, batch: Batch, port: int = 0) -> Iterable[Batch]:
        del port
        self.count += batch.num_rows
        yield batch.replace(batch.payload, "")

    def finish(self) -> Iterable[Batch]:
        if not self.done:
            self.done = True
            yield Batch(pack([("flush", self.count)]))

    def snapshot(self) -> Mapping[int, bytes]:
        return {7: json.dumps(self.count).encode()}

    def restore(self, state: Mapping[int, bytes]) -> None:
        self.count = json.loads(state[7])


class Slow(_Stub):
    """Lets a row go on now and then; those that wait are counted at barriers."""

    def open(self) -> None:
        self.held: list[Row] = []
        self.told, self.free = 0, 0.0
        self.counted: dict[str, int] = {}

    def process(self, batch: Batch, port: int = 0) -> Iterable[Batch]:
        del port
        self.held += unpack(batch)
        return ()

    def wait(self, seconds: float) -> float | None:
        return max(0.0, self.free - seconds) if self.held else None

    def release(self, seconds: float) -> Iterable[Batch]:
        if self.held and seconds >= self.free:
            self.free = seconds + SLOW_ROW_SECONDS
            yield Batch(pack([self.held.pop(0)]))

    def flush(self) -> Iterable[Batch]:
        more, self.told = len(self.held) - self.told, len(self.held)
        self.counted = {"absorbed": max(0, more), "expanded": max(0, -more)}
        return ()

    def finish(self) -> Iterable[Batch]:
        assert not self.held
        return ()

    def fates(self) -> Mapping[str, int]:
        counted, self.counted = self.counted, {}
        return counted

    def snapshot(self) -> Mapping[int, bytes]:
        return {self.context.key_group: json.dumps(self.held).encode()} if self.held else {}

    def restore(self, state: Mapping[int, bytes]) -> None:
        for data in state.values():
            self.held += [(split, n) for split, n in json.loads(data)]
        self.told = len(self.held)


class Lookup(Processor[LookupConfig]):
    """Holds rows until the last input, of which every instance gets all rows, has ended; then lets them pass."""

    world: ClassVar[World]

    def open(self) -> None:
        self.known: list[Row] = []
        self.held: list[Row] = []
        self.ready = False

    def process(self, batch: Batch, port: int = 0) -> Iterable[Batch]:
        if port == len(self.context.schemas) - 1:
            if self.ready:
                self.world.violate(f"lookup: a row came behind the end of {self.context.node}")
            self.known += unpack(batch)
        elif self.ready:
            yield batch.replace(batch.payload, "")
        else:
            self.held += unpack(batch)

    def end(self, port: int) -> Iterable[Batch]:
        if port == len(self.context.schemas) - 1:
            self.ready = True
            if len(set(self.known)) != self.config.rows or len(self.known) != self.config.rows:
                self.world.violate(f"lookup: {len(self.known)} of {self.config.rows} rows at {self.context.node}")
            held, self.held = self.held, []
            if held:
                yield Batch(pack(held))

    def snapshot(self) -> Mapping[int, bytes]:
        held = {self.context.key_group: json.dumps(self.held).encode()} if self.held else {}
        return {EVERYWHERE: json.dumps(self.known).encode(), **held}

    def restore(self, state: Mapping[int, bytes]) -> None:
        for group, data in state.items():
            rows = [(split, n) for split, n in json.loads(data)]
            if group == EVERYWHERE:
                self.known = rows
            else:
                self.held += rows


class Flaky(Processor[FlakyConfig]):
    """Rejects some rows, others in each attempt."""

    def outputs(self, inputs: Sequence[Schema]) -> Mapping[str, Schema]:
        return {"": inputs[0], "errors": inputs[0]}

    def process(self, batch: Batch, port: int = 0) -> Iterable[Batch]:
        del port
        good: list[Row] = []
        bad: list[Row] = []
        for row in unpack(batch):
            (bad if self.context.runtime.random.random() < self.config.share else good).append(row)
        yield batch.replace(pack(good), "")
        if bad:
            yield batch.replace(pack(bad), "errors")


class SimDestination(DestinationConnector[Config]):
    """Keeps rows in the world, by each mechanism as its contract says."""

    world: ClassVar[World]

    def open(self) -> None:
        self.buffer: list[Row] = []
        self.staged_parts = 0
        if self.context.mechanism is Mechanism.DIRECT:
            raise_fence(self.world, self.context.node, self.context.attempt)

    def last_epoch(self) -> Epoch | None:
        return self.world.tables[self.context.node].last

    def write(self, batch: Batch) -> None:
        if self.context.mechanism is Mechanism.APPEND:
            self.world.show(self.context.node, unpack(batch))
        else:
            self.buffer += unpack(batch)

    def prepare(self, epoch: Epoch) -> Sequence[Handle]:
        if self.context.mechanism not in (Mechanism.STAGED, Mechanism.TWO_PHASE) or not self.buffer:
            return []
        self.staged_parts += 1
        name = f"{epoch.attempt}-{epoch.number}-{self.context.index}-{self.staged_parts}"
        self.world.tables[self.context.node].staged[name] = self.buffer
        self.buffer = []
        return [{"name": name}]

    def commit(self, epoch: Epoch, handles: Sequence[Handle]) -> None:
        table, mechanism = self.world.tables[self.context.node], self.context.mechanism
        if mechanism is Mechanism.APPEND:
            return
        if mechanism is Mechanism.DIRECT and table.fence > self.context.attempt:
            raise FencedError(f"{self.context.node} is fenced")
        if mechanism is Mechanism.TWO_PHASE:
            self._publish(epoch, handles)
            return
        if table.last is not None and table.last.number >= epoch.number:
            return
        rows, self.buffer = (self.buffer, []) if mechanism is Mechanism.DIRECT else (self._moved(handles), self.buffer)
        self.world.check_decided(self.context.attempt, epoch, bool(rows))
        table.last = epoch
        self.world.show(self.context.node, rows)

    def _moved(self, handles: Sequence[Handle]) -> list[Row]:
        staged = self.world.tables[self.context.node].staged
        for handle in handles:
            if handle["name"] not in staged:
                self.world.violate(f"no loss: sealed handle {handle['name']} of {self.context.node} is gone")
        return [row for handle in handles for row in staged.pop(handle["name"])]

    def _publish(self, epoch: Epoch, handles: Sequence[Handle]) -> None:
        table = self.world.tables[self.context.node]
        for handle in handles:
            name = handle["name"]
            if name in table.staged:
                self.world.check_decided(self.context.attempt, epoch, changes=True)
                table.published.add(name)
                self.world.show(self.context.node, table.staged.pop(name))
            elif name not in table.published:
                self.world.violate(f"no loss: sealed handle {name} of {self.context.node} is gone")

    def abort(self, keep: Sequence[Handle]) -> None:
        kept = {h["name"] for h in keep}
        table = self.world.tables[self.context.node]
        for name in list(table.staged):
            if int(name.split("-")[0]) < self.context.attempt and name not in kept:
                del table.staged[name]

    def finish(self) -> None:
        self.world.tables[self.context.node].finished = True
