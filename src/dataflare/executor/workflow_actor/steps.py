"""The steps of the protocol that sealing and resuming share: commit, mark, acknowledge, clean up."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

RETIRE_SECONDS, RETIRE_EPOCHS = 1.0, 16
"""Old epochs are removed so often: each removal is flushed to the disk, which short epochs need not wait for."""

if TYPE_CHECKING:
    from dataflare.executor.workflow_actor.life import Life
    from dataflare.state.checkpoint import Proposal


async def commit_decider(life: Life, proposal: Proposal) -> None:
    """Step 4: the decider commits first; its epoch row names the proposal. Then its rows may flow again."""
    decider = life.job.plan.decider()
    for node, ref in life.destinations():
        if node == decider:
            await ref.ask("commit", node, proposal.key, proposal.handles.get(node, []))
            await ref.ask("go_on", life.round)


async def commit_others(life: Life, proposal: Proposal) -> None:
    """Step 5: all others commit their handles, at the same time; also after a resume, when the decider has it."""
    decider = life.job.plan.decider()
    heads = [(n, r) for n, r in life.destinations() if n != decider]
    await asyncio.gather(
        *(ref.ask("commit", node, proposal.key, list(proposal.handles.get(node, []))) for node, ref in heads)
    )


async def mark_committed(life: Life, proposal: Proposal) -> None:
    """Write `committed(N)`: only then do sources acknowledge, and only then may N + 1 be sealed (invariant 1)."""
    await life.job.runtime.call(life.job.checkpoints.mark_committed, proposal)


async def acknowledge(life: Life) -> None:
    """Let the source tasks tell their sources."""
    await asyncio.gather(*(ref.ask("acknowledge", life.round) for ref in life.source_tasks))


async def clean(life: Life, proposal: Proposal) -> None:
    """Once an epoch of this attempt is committed, what older attempts staged can be removed; then retention.

    Of short epochs a few more may be kept for a moment, and until the next run where this one is killed.
    """
    if not life.cleaned:
        life.cleaned = True
        await asyncio.gather(
            *(ref.ask("abort", node, list(proposal.handles.get(node, []))) for node, ref in life.destinations())
        )
    now = life.job.runtime.clock.monotonic()
    life.unretired += 1
    if proposal.last or life.retired is None or now - life.retired >= RETIRE_SECONDS or life.unretired >= RETIRE_EPOCHS:
        await life.job.runtime.call(life.job.checkpoints.retire, proposal)
        life.retired, life.unretired = now, 0
