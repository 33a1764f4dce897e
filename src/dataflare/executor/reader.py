"""Reads the splits of a source for one task: which split is open, where it stands, and the read that is pending."""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Any

from dataflare.errors import SchemaChangedError
from dataflare.executor.enumerator import Grant
from dataflare.executor.faults import invoke, located

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping

    from dataflare.actor.ref import ActorRef
    from dataflare.batch import Batch, Position
    from dataflare.component import Runtime, SourceConnector
    from dataflare.executor.enumerator import Given


class SourceReader:
    """One split at a time. Positions are those of batches that went down the pipeline."""

    def __init__(
        self,
        runtime: Runtime,
        node: str,
        connector: SourceConnector[Any],
        enumerator: ActorRef,
        ends: Mapping[str, Position],
        on_change: Callable[[], None],
    ) -> None:
        """Read for `node` what the enumerator hands out; a split in `ends` only up to there, and it stays open.

        `on_change` is called where the source has other columns than planned; nothing comes of it from there on.
        """
        self._on_change = on_change
        self._runtime, self.node, self.connector, self._enumerator = runtime, node, connector, enumerator
        self._ends = ends
        self._caught_up: list[Grant] = []
        self.waits = connector.waits or inspect.isasyncgenfunction(connector.read)
        self.ended = self._stopped = False
        self.awaits_barrier = False
        self.grant: Grant | None = None
        self.pending: asyncio.Task[Batch | None] | None = None
        self._position: Position | None = None
        self._read_ahead: Grant | None = None
        self._finished: dict[str, Position] = {}
        self._iterator: Iterator[Batch] | AsyncIterator[Batch] | None = None

    def split(self) -> str | None:
        """Return the name of the split that is open, if one is."""
        return self.grant.split.id if self.grant is not None else None

    def stop(self) -> None:
        """Read no more: nobody wants it. What was read of the open split counts as all."""
        self._stopped, self.grant = True, None

    async def take(self, after_round: int) -> bool:
        """Open the next split, if there is one before the next barrier; False when there are no more."""
        if self._stopped:
            self.ended = True
            return False
        given: Given = await self._enumerator.ask("take", after_round, self._read_ahead)
        self._read_ahead = None
        self.awaits_barrier = given == "barrier"
        if given is None:
            self.ended = True
            return False
        if not isinstance(given, Grant):
            return True
        self.grant = given
        self._position = self.grant.position
        with located(self.node):
            until = self._ends.get(self.grant.split.id)
            read = self.connector.read(self.grant.split, self.grant.position, until)
            self._iterator = read.__aiter__() if hasattr(read, "__aiter__") else iter(read)
        return True

    def next_blocking(self) -> Batch | None:
        """Read the next batch in a worker thread; None at the end of the split.

        Only a source that waits may raise SchemaChangedError.
        """
        with located(self.node):
            return next(self._iterator, None)  # type: ignore[arg-type]

    def start_read(self, arrived: Callable[[], None]) -> None:
        """Begin a read that may wait; call back when it is done. It is never cancelled for a barrier."""
        self.pending = asyncio.get_running_loop().create_task(self._read())
        self.pending.add_done_callback(lambda _: arrived())

    def accepted(self, batch: Batch) -> None:
        """The batch went down: stand after it."""
        if batch.position is not None:
            self._position = batch.position

    def keep(self) -> None:
        """Let the source save what it has to remember of the rows that went down; blocking, before `report`."""
        if self.grant is not None and self._position is not None:
            with located(self.node):
                self._position = self.connector.kept(self._position)

    def close_split(self) -> None:
        """The split is exhausted, or read as far as it goes now."""
        assert self.grant is not None
        if self.grant.split.id in self._ends or self.connector.keeps_open():
            self._caught_up.append(Grant(self.grant.split, self._position))
        if self.grant.split.before:  # open, until the enumerator knows where it ended
            self._read_ahead = Grant(self.grant.split, self._position)
        if self._position is not None:
            self._finished[self.grant.split.id] = self._position
        self.grant = self._iterator = None

    def report(self) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        """Return the open splits as a checkpoint keeps them, and all positions to acknowledge; forget finished ones."""
        positions = {**self._finished}
        self._finished = {}
        opened = [*self._caught_up, *([self._read_ahead] if self._read_ahead is not None else ())]
        if self.grant is not None:
            opened.append(Grant(self.grant.split, self._position))
            if self._position is not None:
                positions[self.grant.split.id] = self._position
        return [grant.to_json() for grant in opened], positions

    async def close(self) -> None:
        """End a pending read, then the source."""
        if self.pending is not None:
            self.pending.cancel()
            await asyncio.wait([self.pending])
        iterator: Any = self._iterator
        if hasattr(iterator, "aclose"):
            await iterator.aclose()
        elif hasattr(iterator, "close"):
            await self._runtime.call(iterator.close)
        await invoke(self._runtime, self.node, self.connector.close)

    async def _read(self) -> Batch | None:
        try:
            with located(self.node):
                if hasattr(self._iterator, "__anext__"):
                    return await anext(self._iterator, None)  # type: ignore[arg-type]
                return await self._runtime.call(self.next_blocking)
        except SchemaChangedError:
            self._on_change()
        return await asyncio.Event().wait()  # type: ignore[return-value]  # for another plan, whose reader is another
