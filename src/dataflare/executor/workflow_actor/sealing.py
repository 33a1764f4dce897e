"""State `sealing`: one epoch, step by step as ARCHITECTURE.md numbers them: barriers, reports, proposal, commits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from dataflare.component import Processor, processor
from dataflare.component.processor import TwoPhaseProcessor
from dataflare.errors import DataError, Place, StalledError
from dataflare.executor.contract import REPLAY
from dataflare.executor.exchange import Barrier
from dataflare.executor.job import KINDS
from dataflare.executor.segments import named_in
from dataflare.executor.workflow_actor.asking import forget_answered
from dataflare.executor.workflow_actor.steps import acknowledge, clean, commit_decider, commit_others, mark_committed
from dataflare.executor.workflow_actor.sums import compare_sums, gathered_sums, told_edges
from dataflare.monitoring.events import CheckpointStalled, EpochCommitted, EpochSealed
from dataflare.plan import NodeKind
from dataflare.state.checkpoint import Proposal
from dataflare.state.ledger import Counts, add, check_edge, check_node

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dataflare.executor.report import Report
    from dataflare.executor.workflow_actor.life import Life
    from dataflare.plan import Node

TIMEOUTS_IN_A_ROW_MAX = 3
RATE_ROWS_MIN = 1000


async def seal(life: Life, *, last: bool) -> float:
    """Take one epoch through all steps; `life.base` is its proposal afterwards. Return the seconds that it took."""
    job = life.job
    began = job.runtime.clock.monotonic()
    proposal = await _collect(life, last=last)
    await job.runtime.call(job.checkpoints.seal, proposal)
    job.runtime.emit(EpochSealed(job.plan.workflow, proposal.epoch, proposal.attempt))
    await commit_decider(life, proposal)
    await commit_others(life, proposal)
    await mark_committed(life, proposal)
    await acknowledge(life)
    await forget_answered(life)
    await clean(life, proposal)
    life.base = proposal
    life.epochs += 1
    seconds = job.runtime.clock.monotonic() - began
    job.runtime.emit(EpochCommitted(job.plan.workflow, proposal.epoch, proposal.attempt, seconds, proposal.counts))
    return seconds


async def _collect(life: Life, *, last: bool) -> Proposal:
    """Steps 1 to 3: barriers flow, tasks report; an epoch that times out goes on under its number."""
    epoch = (life.base.epoch if life.base else 0) + 1
    gathered: list[Report] = []
    takes_long = last and (bool(life.eased_tasks) or _waits_for_the_end(life))
    for _ in range(TIMEOUTS_IN_A_ROW_MAX):
        life.round += 1
        life.dirty = life.awaited = False
        epoch_time, life.epoch_time = life.epoch_time, life.job.runtime.clock.now()
        barrier = Barrier(epoch, life.round, last, life.epoch_time)
        for ref in life.eased_tasks if not last else ():  # before the last one all rows go on in their time
            ref.tell("approach", life.round)
        for ref in life.source_tasks:
            ref.tell("barrier", barrier)
        reached = await life.until(
            lambda: len(life.reports.get(life.round, ())) == life.task_count,
            None if takes_long else life.job.plan.settings.checkpoint_timeout_seconds,
        )
        if reached:
            gathered += [r for number in sorted(life.reports) for r in life.reports[number]]
            life.reports.clear()
            return await _proposal(life, gathered, epoch_time, last=last)
        for refs in life.tasks.values():
            for ref in refs:
                ref.tell("go_on", life.round)
    missing = _missing(life)
    life.job.runtime.emit(CheckpointStalled(life.job.plan.workflow, epoch, missing))
    raise StalledError(
        f"epoch {epoch} ran into its time-out {TIMEOUTS_IN_A_ROW_MAX} times, waiting for {missing}",
        hint="raise runtime.checkpoint.timeout, or see why that node is slow",
    )


def _waits_for_the_end(life: Life) -> bool:
    """Tell whether rows come out at the end of the input: as long as it takes to sort, join or group all of them."""
    job = life.job
    kinds = (job.registry.find(processor, n.type) for n in job.plan.of_kind(NodeKind.PROCESSOR))
    return any(issubclass(k, TwoPhaseProcessor) or k.finish is not Processor.finish for k in kinds)


async def _proposal(life: Life, reports: list[Report], epoch_time: int, *, last: bool) -> Proposal:
    """Make the proposal of the reports of the newest round; handles and counts also of those that timed out."""
    newest = [r for r in reports if r.round == life.round]
    counts: Counts = {}
    edges: dict[str, int] = {}
    handles: dict[str, list[Any]] = {}
    for report in reports:
        add(counts, report.counts)
        for edge, rows in report.edges.items():
            edges[edge] = edges.get(edge, 0) + rows
        for node, staged in report.handles.items():
            handles.setdefault(node, []).extend(staged)
    ends, epoch = gathered_sums(reports), newest[0].epoch
    compare_sums(life.job.plan, life.job.graph, epoch, counts, ends)
    _balance(life, counts, edges)
    state: dict[str, list[str]] = {}
    segments: dict[str, list[str]] = {}
    for report in newest:
        for operator, key in report.saved.state.items():
            state.setdefault(operator, []).append(key)
        for operator, names in report.saved.segments.items():
            segments.setdefault(operator, []).extend(names)
    positions = await _positions(life, newest)
    for source, told in positions.items():
        if found := [*named_in(told)]:
            segments[source] = found
    totals = add({n: dict(k) for n, k in (life.base.totals if life.base else {}).items()}, counts)
    if last:
        _end(life, totals)
    return Proposal(
        epoch=epoch,
        attempt=life.job.attempt,
        positions=positions,
        handles=handles,
        state=state,
        segments={operator: list(dict.fromkeys(names)) for operator, names in segments.items()},
        epoch_time=epoch_time,
        revision=life.job.plan.version,
        last=last,
        counts=counts,
        totals=totals,
        edges=told_edges(ends, life.base.edges if life.base else {}),
        veiled=[n.id for n in life.job.plan.nodes if n.traits.get("veiled")],
    )


async def _positions(life: Life, newest: list[Report]) -> dict[str, Any]:
    positions = {}
    for stage in life.source_stages:
        assert stage.source is not None
        state = await life.enumerators[stage.source].ask("snapshot", life.round)
        names = {f"{stage.operators[-1].id}#{index}" for index in range(stage.parallelism)}
        for report in newest:
            if report.task in names:
                state["open"] = report.open_splits + state["open"]
        positions[stage.source] = state
    if life.job.replay is None and life.base is not None:  # what was replayed must not come again
        positions |= {n: p for n, p in life.base.positions.items() if n.startswith(REPLAY)}
    return positions


def _balance(life: Life, counts: Counts, edges: dict[str, int]) -> None:
    """Refuse to seal an epoch whose rows do not add up, or that rejects more rows than its policy allows."""
    plan, registry = life.job.plan, life.job.registry
    for node in plan.topological():
        rows = counts.get(node.id, {})
        traits = registry.find(KINDS[node.kind], node.type).spec.traits
        check_node(node.id, rows, getattr(traits, "counts", ()))
        _judge(life, node, rows)
    for edge, rows_left in edges.items():
        check_edge(edge, rows_left, 0)


def _judge(life: Life, node: Node, rows: Mapping[str, int]) -> None:
    """Compare the share of rejected rows with its limit, over as many epochs as make up enough rows."""
    seen, dead = life.rejected.pop(node.id, (0, 0))
    seen, dead = seen + rows.get("in", 0), dead + rows.get("dead", 0) + rows.get("skipped", 0)
    if seen < RATE_ROWS_MIN:
        life.rejected[node.id] = seen, dead
    elif dead > seen * node.on_error.rate_max:
        raise DataError(
            f"{dead:,} of {seen:,} rows were rejected, more than the {node.on_error.rate_max:.2%} allowed",
            hint="correct the data or the node, or raise on_error.max_rate",
            place=Place(path=node.id),
        )


def _end(life: Life, totals: Counts) -> None:
    """Let each processor that wants to look at the counts of the whole run; raise what it raises."""
    for node in life.job.plan.topological():
        if node.kind is NodeKind.PROCESSOR:
            kind = life.job.registry.find(KINDS[node.kind], node.type)
            if kind.verdict is not Processor.verdict:
                component = cast("Processor[Any]", life.job.component(node, 0, 1, lambda: 0))
                component.verdict(totals.get(node.id, {}))


def _missing(life: Life) -> str:
    told = {r.task for r in life.reports.get(life.round, ())}
    stages = life.job.graph.stages
    names = [f"{s.operators[-1].id}#{i}" for s in stages for i in range(s.parallelism)]
    return ", ".join(n for n in names if n not in told) or "nothing"
