"""State `finishing`: the last epoch is committed; every destination completes, and the run is over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dataflare.executor.workflow_actor.life import Ending

if TYPE_CHECKING:
    from dataflare.executor.workflow_actor.life import Life


async def finishing(life: Life) -> Any:
    """Call `finish` everywhere (overwrite swaps here and only here), then write that it is done."""
    assert life.base is not None
    for node, ref in life.destinations():
        await ref.ask("finish", node)
    await life.job.runtime.call(life.job.checkpoints.mark_finished, life.base, life.job.run)
    life.ending = Ending("succeeded", life.base)
