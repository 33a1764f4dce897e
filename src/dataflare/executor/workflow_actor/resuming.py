"""State `resuming`: commit the decided epoch again everywhere, restore its state, go on from its positions."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from dataflare.executor.enumerator import EnumeratorActor
from dataflare.executor.evolving import memory_of, remember
from dataflare.executor.turns import turns
from dataflare.executor.workflow_actor.asking import ask_sources
from dataflare.executor.workflow_actor.finishing import finishing
from dataflare.executor.workflow_actor.life import Ending
from dataflare.executor.workflow_actor.running import running
from dataflare.executor.workflow_actor.steps import commit_others, mark_committed
from dataflare.monitoring.events import RunStarted

if TYPE_CHECKING:
    from dataflare.executor.workflow_actor.life import Life
    from dataflare.state.checkpoint import Proposal


async def resuming(life: Life) -> Any:
    """Bring every destination to the base epoch, then start the tasks from it."""
    job, base = life.job, life.base
    if job.replay is None and memory_of(job.plan):
        await job.runtime.call(remember, job.checkpoints, job.plan)
    job.runtime.emit(RunStarted(job.plan.workflow, job.attempt, base.epoch if base else 0))
    if base is not None:
        await commit_others(life, base)
        await mark_committed(life, base)
        if base.last:
            finished = await job.runtime.call(job.checkpoints.finished_run, base)
            if finished is None:
                return finishing
            if job.run and finished == job.run:
                life.ending = Ending("succeeded", base)
                return None
            life.base = _new_run(life, base)
        else:
            await _restore(life, base)
    await _start(life)
    return running


def _new_run(life: Life, base: Proposal) -> Proposal:
    """The run before is complete: sources that read once start anew, the others go on where they stand."""
    modes = {n.id: n.traits.get("mode", "full") for n in life.job.plan.nodes}
    kept = {n: p for n, p in base.positions.items() if modes.get(n, "") != "full"}
    segments = {n: names for n, names in base.segments.items() if n in kept}
    return replace(base, positions=kept, state={}, segments=segments, handles={}, totals={}, edges={}, last=False)


async def _restore(life: Life, base: Proposal) -> None:
    for stage in life.job.graph.stages:
        keys = {o.id: base.state[o.id] for o in stage.operators if o.id in base.state}
        if keys:
            for ref in life.tasks[stage.index]:
                await ref.ask("restore", keys)


async def _start(life: Life) -> None:
    """Make an enumerator for each source, give it to the source tasks, and let all tasks begin."""
    now = life.job.runtime.clock.now()
    positions = life.base.positions if life.base is not None else {}
    epoch = (life.base.epoch if life.base is not None else 0) + 1
    ends: dict[str, Any] = {}
    for stage in life.source_stages:
        assert stage.source is not None
        name = f"{life.job.plan.workflow}/{stage.source}/splits"
        ref = await life.system.spawn(EnumeratorActor, life.job, stage.source, positions.get(stage.source), name=name)
        life.watch(ref)
        life.enumerators[stage.source] = ref
        ends[stage.source] = await ref.ask("ends")
    await ask_sources(life)
    life.waits = turns(life.job.plan)
    for stage in life.job.graph.stages:
        enumerator = life.enumerators[stage.source] if stage.source is not None else None
        for ref in life.tasks[stage.index]:
            if stage.source in life.waits:
                await ref.ask("wait")
            await ref.ask("start", (epoch, now), enumerator, ends.get(stage.source or "", {}))
    life.epoch_time = now
