"""Hands the splits of a source to its tasks, and knows at every barrier which were handed out before it.

Enumeration is resumable: a split carries the enumerator's position after it, so a checkpoint holds that position and
the splits that are open; finished ones need no memory.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from dataflare.actor.cell import Actor
from dataflare.component import SourceConnector, Split
from dataflare.errors import Place, WorkflowError
from dataflare.executor.behind import Behind
from dataflare.executor.faults import invoke

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping

    from dataflare.batch import Position
    from dataflare.executor.job import Job


ENDLESS = ("cdc", "hybrid", "streaming")
"""Modes in which a source may have no end."""


@dataclass(frozen=True, slots=True)
class Grant:
    """A split and the position to read it from."""

    split: Split
    position: Position | None = None

    def to_json(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        position = dict(self.position) if self.position is not None else None
        before = {"before": self.split.before} if self.split.before else {}
        return {"id": self.split.id, "data": dict(self.split.data), "position": position, **before}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Grant:
        """Read what `to_json` wrote."""
        return cls(Split(value["id"], value["data"], before=value.get("before", "")), value["position"])


@dataclass(frozen=True, slots=True)
class _Given:
    """A grant to a task that had passed barrier `after_round`; `number` counts new splits, 0 is one given again."""

    after_round: int
    grant: Grant
    number: int


Given = Grant | Literal["later", "barrier"] | None
"""A split to read; `later`: ask again after the next barrier; `barrier`: nothing else is missing; None: no more."""


class EnumeratorActor(Actor):
    """One per source node."""

    def __init__(self, job: Job, node: str, state: Mapping[str, Any] | None) -> None:
        """`state` is what `snapshot` returned, with the splits that tasks had open."""
        self._job, self._node = job, node
        self._since: Position | None = state["since"] if state else None
        self._count: int = state["count"] if state else 0
        self._skip = self._count if self._since is None else 0
        self._granted = self._count
        self._waiting = deque(Grant.from_json(v) for v in (state["open"] if state else ()))
        self._given: list[_Given] = []
        self._behind = Behind(state.get("ahead", {}) if state else {}, [g.split for g in self._waiting])
        self._peeked: Split | None = None
        self._iterator: Iterator[Split] | AsyncIterator[Split] | None = None
        self._connector: SourceConnector[Any] | None = None

    async def started(self) -> None:
        """Open an instance of the source of its own."""
        node = self._job.plan.node(self._node)
        self._connector = self._job.component(node, 0, 1, lambda: 0)  # type: ignore[assignment]
        await invoke(self._job.runtime, self._node, self._connector.open)  # type: ignore[union-attr]

    async def stopped(self) -> None:
        """Close it."""
        if self._connector is not None:
            await invoke(self._job.runtime, self._node, self._connector.close)

    async def ends(self) -> Mapping[str, Position]:
        """Return where each split ends for this attempt, where the run catches up; no entry: where it ends by itself.

        Raises WorkflowError where the source has no end and cannot tell where it stands.
        """
        if not self._job.catch_up:
            return {}
        assert self._connector is not None
        endless = self._job.plan.node(self._node).traits.get("mode") in ENDLESS
        if endless and type(self._connector).ends is SourceConnector.ends:
            raise WorkflowError(
                f"source {self._node!r} cannot tell where it ends now",
                hint="run it without --until now, with --deadline to stop after a time",
                place=Place(path=self._node),
            )
        found: Mapping[str, Position] = await invoke(self._job.runtime, self._node, self._connector.ends)
        return found

    async def take(self, after_round: int, read: Grant | None = None) -> Given:
        """Hand out the next split to a task that has passed barrier `after_round`, and has read another to its end.

        A source that a replay does not read hands out none, and stays where it is.
        """
        if read is not None:
            self._behind.ended(after_round, read.split, read.position)
        replay = self._job.replay
        if replay is not None and self._node not in replay.sources:
            return None
        for grant in self._waiting:
            if self._behind.may_begin(grant.split, after_round):
                self._waiting.remove(grant)
                return self._give(after_round, grant, 0)
        if self._waiting:
            return self._later([grant.split for grant in self._waiting])
        split = self._peeked = self._peeked or await self._next()
        if split is None:
            return None
        if not self._behind.may_begin(split, after_round):
            return self._later([split])
        self._peeked = None
        self._granted += 1
        return self._give(after_round, Grant(split, self._behind.told(split)), self._granted)

    def _later(self, waiting: list[Split]) -> Given:
        return "barrier" if any(self._behind.is_read(split) for split in waiting) else "later"

    def _give(self, after_round: int, grant: Grant, number: int) -> Grant:
        self._behind.began(grant.split)
        self._given.append(_Given(after_round, grant, number))
        return grant

    async def snapshot(self, barrier_round: int) -> dict[str, Any]:
        """Return the state at a barrier, without the splits that tasks report as open.

        A split that was given to a task which had passed this barrier already counts as not given.
        """
        before = [g for g in self._given if g.after_round < barrier_round]
        self._given = [g for g in self._given if g.after_round >= barrier_round]
        for given in before:
            if given.number > self._count:
                self._since, self._count = given.grant.split.resume, given.number
        ahead = self._behind.snapshot(barrier_round, [g.grant.split.id for g in before])
        unread = [g.grant for g in self._given if g.number <= self._count]
        open_splits = [g.to_json() for g in [*unread, *self._waiting]]
        state = {"since": self._since, "count": self._count, "open": open_splits}
        return state | ({"ahead": ahead} if ahead else {})

    async def _next(self) -> Split | None:
        if self._iterator is None:
            assert self._connector is not None
            found = await invoke(self._job.runtime, self._node, self._connector.splits, self._since)
            self._iterator = found.__aiter__() if hasattr(found, "__aiter__") else iter(found)
        while True:
            split = await self._advance()
            if split is None or split.resume is not None or self._skip == 0:
                return split
            self._skip -= 1

    async def _advance(self) -> Split | None:
        if hasattr(self._iterator, "__anext__"):
            return await anext(self._iterator, None)  # type: ignore[arg-type]
        return await invoke(self._job.runtime, self._node, next, self._iterator, None)  # type: ignore[no-any-return]
