"""Planted bugs: each breaks one rule of the protocol, and the simulator must notice."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from dataflare.executor import exchange, snapshots, task
from dataflare.executor.workflow_actor import finishing, resuming, sealing, steps
from dataflare.plan import Mechanism
from dataflare.state.records import Records

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dataflare.executor.workflow_actor.life import Life
    from dataflare.state.checkpoint import Proposal


@dataclass(frozen=True, slots=True)
class Mutation:
    """A bug: its name, the invariant that it breaks, and how to plant it."""

    name: str
    invariant: str
    plant: Callable[[], Any]


def _no_alignment() -> Any:
    def next_of_all(self: Any) -> Any:
        for channel, queue in enumerate(self._queues):
            if queue:
                item, consumed = queue.popleft()
                return self._inlets[channel], channel, item, consumed
        return None

    return patch.object(exchange.Inlets, "next", next_of_all)


def _late_fence() -> Any:
    """The decider's fence is raised only by its first commit."""
    from dataflare.testing.simulation import components, world

    def later(of: world.World, name: str, attempt: int) -> None:
        del of, name, attempt

    return patch.object(components, "raise_fence", later)


def _early_acknowledgement() -> Any:
    async def commit_others(life: Life, proposal: Proposal) -> None:
        await steps.acknowledge(life)
        await steps.commit_others(life, proposal)

    return patch.object(sealing, "commit_others", commit_others)


def _rows_in_open_transaction() -> Any:
    def mechanisms(_: Any) -> bool:
        return False

    return patch.object(task, "holds_after_barrier", mechanisms)


def _any_order() -> Any:
    async def late(life: Life, proposal: Proposal) -> None:
        del life, proposal

    async def others(life: Life, proposal: Proposal) -> None:
        await steps.commit_others(life, proposal)
        await steps.commit_decider(life, proposal)

    return _both(patch.object(sealing, "commit_decider", late), patch.object(sealing, "commit_others", others))


def _second_flush() -> Any:
    """A resume from the last epoch runs on instead of finishing."""

    async def resumed(life: Life) -> Any:
        base = life.base
        if base is not None and base.last and life.job.checkpoints.finished_run(base) is None:
            await resuming.commit_others(life, base)
            await resuming.mark_committed(life, base)
            await resuming._start(life)
            return resuming.running
        return await original(life)

    original = resuming.resuming
    from dataflare.executor.workflow_actor import opening

    return patch.object(opening, "resuming", resumed)


def _seal_over() -> Any:
    """A proposal overwrites the slot instead of creating it."""

    def create(self: Any, key: str, value: Any) -> bool:
        if value.get("kind") == "sealed":
            self.put(key, value)
            return True
        return original(self, key, value)

    original: Any = Records.create
    return patch.object(Records, "create", create)


def _forgotten_handles() -> Any:
    async def nothing(life: Life, proposal: Proposal) -> None:
        del life, proposal

    return patch.object(resuming, "commit_others", nothing)


def _no_finish() -> Any:
    async def skip(life: Life) -> Any:
        life.ending = finishing.Ending("succeeded", life.base)
        await asyncio.sleep(0)

    return _both(patch.object(resuming, "finishing", skip))


def _positions_of_the_last_round() -> Any:
    """A time-out drops the handles of its round."""

    async def proposal(life: Life, reports: Any, epoch_time: int, *, last: bool) -> Any:
        newest = [r for r in reports if r.round == life.round]
        for r in reports:
            if r.round != life.round:
                newest[0] = type(newest[0])(**{f: getattr(newest[0], f) for f in newest[0].__slots__})
                for node, kinds in r.counts.items():
                    for kind, rows in kinds.items():
                        mine = newest[0].counts.setdefault(node, {})
                        mine[kind] = mine.get(kind, 0) + rows
                for edge, rows in r.edges.items():
                    newest[0].edges[edge] = newest[0].edges.get(edge, 0) + rows
        return await original(life, newest, epoch_time, last=last)

    original: Any = sealing._proposal
    return patch.object(sealing, "_proposal", proposal)


def _first_end_ends_all() -> Any:
    return patch.object(exchange.Inlets, "ended", lambda self, channel: self is not None and channel >= 0)


def _lookup_stays_at_home() -> Any:
    """What is the same everywhere comes back to nobody."""
    return patch.object(snapshots, "EVERYWHERE", 0)


@contextmanager
def _both(*patches: Any) -> Iterator[None]:
    for each in patches:
        each.start()
    try:
        yield
    finally:
        for each in patches:
            each.stop()


PLANTED = (
    Mutation("no alignment", "every row exactly once", _no_alignment),
    Mutation("late fence", "4", _late_fence),
    Mutation("acknowledge before commit", "1", _early_acknowledgement),
    Mutation("rows after the barrier in the open transaction", "every row exactly once", _rows_in_open_transaction),
    Mutation("others commit before the decider", "4", _any_order),
    Mutation("second flush after a resume from the last epoch", "every row exactly once", _second_flush),
    Mutation("seal by plain put", "4", _seal_over),
    Mutation("a resume forgets the handles", "2", _forgotten_handles),
    Mutation("one channel ends a whole input", "lookup", _first_end_ends_all),
    Mutation("state of a lookup is not given back everywhere", "lookup", _lookup_stays_at_home),
    Mutation("handles of a timed-out epoch are dropped", "no loss", _positions_of_the_last_round),
)

__all__ = ["PLANTED", "Mechanism", "Mutation"]
