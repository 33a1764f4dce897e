"""State `running`: rows flow; an epoch starts by its pace, on request, before a stop, and at the end of all input."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from dataflare.executor.workflow_actor.finishing import finishing
from dataflare.executor.workflow_actor.life import Ending
from dataflare.executor.workflow_actor.pace import Pace
from dataflare.executor.workflow_actor.sealing import seal

if TYPE_CHECKING:
    from dataflare.executor.workflow_actor.life import Life


async def running(life: Life) -> Any:
    """Seal epoch after epoch until the input has ended or somebody asks to stop."""
    pace, requests, gathered = Pace(life.job.plan), life.requests, False

    def asked() -> bool:
        return life.ended or requests.stop or requests.evolve or requests.renew or bool(requests.checkpoint)

    while True:
        await life.until(lambda: asked() or (life.dirty and not requests.paused))
        await life.until(lambda: asked() or (life.awaited and not requests.paused), pace.seconds)
        if requests.stop:
            return stopping
        if requests.evolve or requests.renew:
            return evolving
        if life.ended and life.job.replay is not None:
            return replayed
        if life.ended and life.eased_tasks and not gathered:  # rows on their way become rows that wait, as state
            gathered = True
            await seal(life, last=False)
        elif life.ended:
            await seal(life, last=True)
            _answer(life)
            return finishing
        elif requests.checkpoint or not requests.paused:
            pace.sealed(await seal(life, last=False))
            requests.renew = requests.renew or await _has_new_code(life)
            _answer(life)


async def _has_new_code(life: Life) -> bool:
    take_in = life.job.take_in
    if take_in is None or life.ended:
        return False
    assert life.base is not None
    return await life.job.runtime.call(take_in, life.base)


async def stopping(life: Life) -> Any:
    """Drain: read no more, make what was read durable, end."""
    await asyncio.gather(*(ref.ask("pause") for ref in life.source_tasks))
    if life.dirty or life.requests.checkpoint:
        await seal(life, last=False)
    _answer(life)
    life.ending = Ending("stopped", life.base, life.requests.more)


async def evolving(life: Life) -> Any:
    """Columns of a source are others from here on, or the text is: make durable what came before, for another plan."""
    await stopping(life)
    assert life.ending is not None
    if not life.requests.stop:
        life.ending = Ending("evolving" if life.requests.evolve else "renewed", life.base)


async def replayed(life: Life) -> Any:
    """All rows of a replay are through: make them durable, and leave the run of the workflow as it was, open."""
    if life.dirty or life.requests.checkpoint:
        await seal(life, last=False)
    _answer(life)
    life.ending = Ending("succeeded", life.base)


def _answer(life: Life) -> None:
    for waiting in life.requests.checkpoint:
        assert life.base is not None  # whoever waits for an epoch has had one sealed; a stop alone may come before any
        if not waiting.done():
            waiting.set_result(life.base.epoch)
    life.requests.checkpoint.clear()
