"""Gives sources what was asked of them from outside, and forgets it when it is done and committed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from dataflare.state.requests import Requests

if TYPE_CHECKING:
    from dataflare.actor.ref import ActorRef
    from dataflare.executor.workflow_actor.life import Life


async def ask_sources(life: Life) -> None:
    """Read what is not done, and let all tasks of the sources know: one of them has what it takes."""
    if life.job.replay is not None:
        return
    found = await life.job.runtime.call(Requests(life.job.checkpoints.records).read)
    life.asked = set(found)
    for node, requests in found.items():
        await asyncio.gather(*(ref.ask("asked", requests) for ref in _tasks(life, node)))


async def forget_answered(life: Life) -> None:
    """Remove what sources have done: the epoch that holds it is committed, and acknowledged."""
    for node in life.asked:
        answers = await asyncio.gather(*(ref.ask("answered") for ref in _tasks(life, node)))
        done = {identity for answer in answers for identity in answer}
        if done:
            await life.job.runtime.call(Requests(life.job.checkpoints.records).remove, node, done)


def _tasks(life: Life, node: str) -> list[ActorRef]:
    return [ref for stage in life.source_stages if stage.source == node for ref in life.tasks[stage.index]]
