"""State `opening`: spawn the tasks, open every component, raise the fences."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from dataflare.executor.task import TaskActor
from dataflare.executor.workflow_actor.resuming import resuming

if TYPE_CHECKING:
    from dataflare.component import Epoch
    from dataflare.executor.graph import Stage
    from dataflare.executor.workflow_actor.life import Life


async def opening(life: Life) -> Any:
    """Open everything; the decider's answer says which epoch holds (protocol: resume)."""
    job = life.job
    for stage in job.graph.stages:
        life.tasks[stage.index] = [await _spawn(life, stage, index) for index in range(stage.parallelism)]
    for stage in job.graph.stages:
        for index, ref in enumerate(life.tasks[stage.index]):
            await ref.ask("connect", _outlets(life, stage, index))
    opened = [ref.ask("open", life.ref) for stage in reversed(job.graph.stages) for ref in life.tasks[stage.index]]
    last: dict[str, Epoch | None] = {}
    for answer in await asyncio.gather(*opened):
        last |= answer
    decider = job.plan.decider()
    decided = last[decider] if decider else None
    life.base = await job.runtime.call(job.checkpoints.newest, decided, has_decider=decider is not None)
    return resuming


async def _spawn(life: Life, stage: Stage, index: int) -> Any:
    name = f"{life.job.plan.workflow}/{stage.operators[-1].id}#{index}"
    ref = await life.system.spawn(TaskActor, life.job, stage, index, name=name)
    life.watch(ref)
    return ref


def _outlets(life: Life, stage: Stage, index: int) -> list[tuple[Any, Any, list[tuple[Any, int]]]]:
    """Return, for each exchange out of a task, its routing, keys, and (task, channel number there) by partition."""
    outlets = []
    for exchange in life.job.graph.out_of(stage.index):
        target = life.job.graph.stages[exchange.to_stage]
        ends = []
        for number, ref in enumerate(life.tasks[target.index]):
            channels = life.job.graph.channels_into(target.index, number)
            at = next((i for i, (e, sender) in enumerate(channels) if e is exchange and sender == index), -1)
            ends.append((ref, at))
        outlets.append((exchange.routing, exchange.keys, ends))
    return outlets
