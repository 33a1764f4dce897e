"""Channels keep order and bound what is on the way; barriers are aligned; routing sends each row where it belongs."""

import asyncio
from typing import Any

import pyarrow as pa
import pytest

from dataflare.batch import Batch
from dataflare.executor.exchange import (
    CREDITS_PER_CHANNEL,
    SMALL_BYTES_PER_CHANNEL,
    SMALL_ITEMS_PER_CHANNEL,
    Barrier,
    Channel,
    Inlet,
    Inlets,
    Outlet,
)
from dataflare.executor.graph import Routing
from dataflare.executor.partition import partitions
from dataflare.executor.runtime import LocalRuntime


class _Task:
    """Receives items and consumes them when told."""

    def __init__(self, *, eager: bool = True) -> None:
        self.name = "task"
        self.items: list[Any] = []
        self.open: list[asyncio.Future[None]] = []
        self._eager = eager

    async def ask(self, method: str, *arguments: Any) -> Any:
        assert method == "item"
        self.items.append(arguments[1])
        if not self._eager:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self.open.append(future)
            await future

    def tell(self, method: str, *arguments: Any) -> None:
        raise AssertionError


def _batch(*numbers: int) -> Batch:
    return Batch(pa.table({"k": pa.array(numbers, pa.int64())}))


def _numbers(task: _Task) -> list[int]:
    return [n for item in task.items if isinstance(item, Batch) for n in item.rows["k"].to_pylist()]


def _fail(error: BaseException) -> None:
    raise AssertionError from error


@pytest.mark.once
@pytest.mark.parametrize(
    ("rows", "allowed"),
    [
        (1, SMALL_ITEMS_PER_CHANNEL),
        (SMALL_BYTES_PER_CHANNEL // 8 // 4, 4),
        (SMALL_BYTES_PER_CHANNEL, CREDITS_PER_CHANNEL),
    ],
)
async def test_a_sender_waits_when_its_credits_are_used_up(rows: int, allowed: int) -> None:
    task, count = _Task(eager=False), 100
    channel = Channel(task, 0, _fail)
    batches = [Batch(pa.table({"k": pa.repeat(pa.scalar(n, pa.int64()), rows)})) for n in range(count)]
    sending = asyncio.create_task(_send_all(channel, batches))
    for _ in range(2 * count):
        await asyncio.sleep(0)
    assert len(task.items) == allowed
    assert not sending.done()
    while len(task.items) < count:
        task.open.pop(0).set_result(None)
        for _ in range(5):
            await asyncio.sleep(0)
        assert len(task.open) <= allowed
    assert task.items == batches


async def _send_all(channel: Channel, batches: list[Batch]) -> None:
    for batch in batches:
        await channel.send(batch)


async def test_a_failed_delivery_is_told_to_the_sender() -> None:
    class Broken(_Task):
        async def ask(self, method: str, *arguments: Any) -> Any:
            raise OSError(5, "gone")

    failures: list[BaseException] = []
    channel = Channel(Broken(), 0, failures.append)
    await channel.send(_batch(1))
    for _ in range(5):
        await asyncio.sleep(0)
    assert isinstance(failures[0], OSError)


@pytest.mark.parametrize(
    ("routing", "per_task"),
    [
        (Routing.FORWARD, [[], [1, 2, 3, 4]]),
        (Routing.MERGE, [[1, 2, 3, 4], []]),
        (Routing.BROADCAST, [[1, 2, 3, 4], [1, 2, 3, 4]]),
        (Routing.REBALANCE, [[2, 4], [1, 3]]),
    ],
)
async def test_routing(routing: Routing, per_task: list[list[int]]) -> None:
    tasks = [_Task(), _Task()][: 1 if routing is Routing.MERGE else 2]
    outlet = Outlet(routing, (), [Channel(t, 0, _fail) for t in tasks], 1, LocalRuntime())
    for number in (1, 2, 3, 4):
        await outlet.send(_batch(number))
    await outlet.mark(Barrier(1, 1))
    await asyncio.sleep(0.01)

    assert [_numbers(t) for t in tasks] == per_task[: len(tasks)]
    barriers = [sum(isinstance(i, Barrier) for i in t.items) for t in tasks]
    assert barriers == ([0, 1] if routing is Routing.FORWARD else [1] * len(tasks))


async def test_rows_of_a_key_always_go_to_one_task_and_none_is_lost() -> None:
    tasks = [_Task(), _Task(), _Task()]
    outlet = Outlet(Routing.HASH, ("k",), [Channel(t, 0, _fail) for t in tasks], 0, LocalRuntime())
    for start in (0, 50, 0):
        await outlet.send(_batch(*range(start, start + 100)))
    await asyncio.sleep(0.01)

    found = [set(_numbers(t)) for t in tasks]
    assert sorted(n for t in tasks for n in _numbers(t)) == sorted([*range(100), *range(50, 150), *range(100)])
    assert all(not (a & b) for i, a in enumerate(found) for b in found[i + 1 :])
    assert all(found)


def test_partitions_are_the_same_whatever_the_width_of_the_key() -> None:
    wide = {
        n: set(t["k"].to_pylist()) for n, t in partitions(pa.table({"k": pa.array(range(500), pa.int64())}), ["k"], 4)
    }
    narrow = {
        n: set(t["k"].to_pylist()) for n, t in partitions(pa.table({"k": pa.array(range(500), pa.int16())}), ["k"], 4)
    }

    assert wide == narrow
    assert sorted(wide) == [0, 1, 2, 3]


async def test_a_channel_with_a_barrier_waits_for_the_others() -> None:
    inlets = Inlets([Inlet("a", "op", 0), Inlet("b", "op", 1)])
    barrier = Barrier(1, 1)
    inlets.add(0, barrier)
    inlets.add(0, _batch(1))
    inlets.add(1, _batch(2))
    taken = inlets.next()
    assert taken is not None
    assert taken[2] is barrier
    assert inlets.reached(0) is False

    taken = inlets.next()
    assert taken is not None
    assert taken[0].edge == "b"
    assert inlets.next() is None, "rows behind a barrier must wait"
    inlets.add(1, barrier)
    taken = inlets.next()
    assert taken is not None
    assert inlets.reached(1) is True
    taken = inlets.next()
    assert taken is not None
    assert taken[0].edge == "a"
