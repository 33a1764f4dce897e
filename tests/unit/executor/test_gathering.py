"""Small batches that wait are run as one, up to the next barrier, and every row, count and position stays as it was."""

from __future__ import annotations

import asyncio
import os
import time
from collections import defaultdict
from typing import TYPE_CHECKING, Any, ClassVar

import pyarrow as pa

from dataflare.batch import Batch, Encoded
from dataflare.component import (
    Config,
    Field,
    Processor,
    Registry,
    SourceConnector,
    Split,
    Stream,
    processor,
    source,
)
from dataflare.executor.contract import RunContext
from dataflare.executor.exchange import Barrier, Inlet, Inlets
from dataflare.executor.gathering import BYTES_MAX, ROWS_MAX, Room, merged
from dataflare.executor.local import LocalExecutor
from dataflare.executor.runtime import LocalRuntime
from dataflare.schema import Schema
from dataflare.state.memory import MemoryStore
from dataflare.workflow import plan_or_raise

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

ROWS, SPLITS = 200, 2
SCHEMA = Schema.of({"split": "string", "n": "int64"})


def _batch(*numbers: int, stream: str = "", position: int | None = None) -> Batch:
    return Batch(pa.table({"n": pa.array(numbers, pa.int64())}), stream, None if position is None else {"n": position})


# ---- what is gathered ---------------------------------------------------------------------------------------------


def test_neighbours_of_one_stream_and_schema_become_one_with_the_position_of_the_last() -> None:
    other = Batch(pa.table({"n": ["x"]}), position={"n": 9})
    encoded = Batch(Encoded(b"1", "rows", 1))
    batches = [_batch(1, position=1), _batch(2, 3, position=3), _batch(4, stream="errors"), other, encoded, encoded]

    found = list(merged(batches))

    assert [b.num_rows for b in found] == [3, 1, 1, 1, 1]
    assert found[0].rows["n"].to_pylist() == [1, 2, 3]
    assert found[0].position == {"n": 3}
    assert found[1:] == batches[2:]


def test_a_position_and_a_watermark_are_not_lost_to_a_batch_without() -> None:
    (found,) = merged([Batch(_batch(1).rows, position={"n": 1}, watermark=7), _batch(2)])
    assert (found.position, found.watermark) == ({"n": 1}, 7)


def test_room_is_bounded_in_rows_and_in_bytes() -> None:
    def column(rows: int, width: int) -> Batch:
        return Batch(pa.table({"t": pa.array(["x" * width] * rows)}))

    assert not Room(column(ROWS_MAX, 1)).is_open
    assert not Room(column(1, BYTES_MAX)).is_open
    assert not Room(Batch(Encoded(b"1", "rows", 1))).is_open
    room = Room(column(1, 1))
    assert not room.take(column(ROWS_MAX, 1))
    assert not room.take(column(1, BYTES_MAX))
    assert room.take(column(1, BYTES_MAX // 2))
    assert not room.take(column(1, BYTES_MAX // 2))


async def test_what_follows_is_taken_in_order_up_to_the_barrier_and_from_its_channel_alone() -> None:
    inlets = Inlets([Inlet("a", "op", 0), Inlet("b", "op", 1)])
    batches = [_batch(n) for n in range(5)]
    for batch in batches[:3]:
        inlets.add(0, batch)
    inlets.add(1, batches[4])
    inlets.add(0, Barrier(1, 1))
    inlets.add(0, batches[3])

    taken = inlets.next()

    assert taken is not None
    assert taken[2] is batches[0]
    assert [b for b, _ in inlets.following(0, batches[0])] == batches[1:3]
    assert list(inlets.following(0, batches[0])) == []


# ---- in a run -----------------------------------------------------------------------------------------------------


class _Trickle(SourceConnector[Config]):
    """A row a batch."""

    def declared(self) -> Mapping[str, Stream]:
        return {"": Stream(SCHEMA)}

    def splits(self, since: Any) -> list[Split]:
        return [Split(f"s{n}") for n in range(SPLITS)]

    def rows(self, split: Split, since: Any) -> Iterator[Batch]:
        for n in range(since["n"] if since else 0, ROWS):
            yield Batch.of([{"split": split.id, "n": n}], schema=SCHEMA.to_arrow(), position={"n": n + 1})


@source("at_once", replay="exact")
class _AtOnce(_Trickle):
    """Has all of them at once."""

    def read(self, split: Split, since: Any, until: Any) -> Iterator[Batch]:
        return self.rows(split, since)


@source("one_by_one", replay="exact")
class _OneByOne(_Trickle):
    """Lets its reader wait for each."""

    async def read(self, split: Split, since: Any, until: Any) -> AsyncIterator[Batch]:  # type: ignore[override]
        for batch in self.rows(split, since):
            yield batch


class _SlowConfig(Config):
    """Settings of the slow processor."""

    seconds: float = Field(0.0, description="How long each call takes.")


@processor("slow", counts=(), parallel=False)
class _Slow(Processor[_SlowConfig]):
    """Takes its time with each call."""

    calls: ClassVar[list[list[dict[str, Any]]]] = []

    def outputs(self, inputs: Sequence[Schema]) -> Mapping[str, Schema]:
        return {"": inputs[0]}

    def process(self, batch: Batch, port: int = 0) -> Iterable[Batch]:
        time.sleep(self.config.seconds)
        self.calls.append(batch.rows.to_pylist())
        yield batch


def _run(folder: Path, kind: str, seconds: float) -> list[list[dict[str, Any]]]:
    """Run a trickle through a task that is not its own; return the rows of each call there."""
    file = folder / "w.yaml"
    file.write_text(
        f"id: w\nruntime: {{parallelism: {SPLITS}, checkpoint: {{interval: 50ms}}}}\n"
        f"sources: {{s: {{type: {kind}}}}}\n"
        f"transformations: {{p: {{type: slow, inputs: [s], config: {{seconds: {seconds}}}}}}}\n"
        f"destinations: {{d: {{type: stdout, inputs: [p]}}}}\n"
    )
    registry, runtime = Registry.installed().including(_AtOnce, _OneByOne, _Slow), LocalRuntime()
    plan = plan_or_raise(file, registry=registry, environ=os.environ, level="sample")
    _Slow.calls.clear()
    outcome = asyncio.run(
        LocalExecutor(Config()).execute(plan, RunContext(registry, runtime, MemoryStore(Config()), deadline_seconds=50))
    )
    runtime.close()
    assert (outcome.status, outcome.attempts) == ("succeeded", 1), outcome.error
    assert all(outcome.nodes[n]["rows_in"] == SPLITS * ROWS for n in "spd")
    assert all(outcome.nodes[n]["rows_out"] == SPLITS * ROWS for n in "spd")
    return list(_Slow.calls)


def _check_order(calls: list[list[dict[str, Any]]]) -> None:
    seen = defaultdict(list)
    for row in (row for call in calls for row in call):
        seen[row["split"]].append(row["n"])
    assert dict(seen) == {f"s{n}": list(range(ROWS)) for n in range(SPLITS)}


def test_a_slow_receiver_finds_small_batches_together(tmp_path: Path) -> None:
    calls = _run(tmp_path, "one_by_one", 0.02)

    assert len(calls) < SPLITS * ROWS / 4
    _check_order(calls)


def test_a_source_that_has_more_at_once_is_read_on_for_a_moment(tmp_path: Path) -> None:
    calls = _run(tmp_path, "at_once", 0.0)

    assert len(calls) < SPLITS * ROWS / 4
    _check_order(calls)
