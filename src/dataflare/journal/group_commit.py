"""Lets many who wait share one sync of the disk: what comes while the disk is busy goes down together, next."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from dataflare.errors import DataFlareError
from dataflare.journal.log import JournalFullError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dataflare.component import Runtime
    from dataflare.journal.log import Journal


class GroupCommit:
    """The writing side of a journal on an event loop. `run` does the work; whoever starts it awaits or cancels it."""

    def __init__(self, journal: Journal, runtime: Runtime, waiting_bytes_max: int) -> None:
        """What waits for the disk takes at most so many bytes of memory."""
        self._journal, self._runtime, self._waiting_bytes_max = journal, runtime, waiting_bytes_max
        self._waiting: list[tuple[Sequence[bytes], asyncio.Future[int]]] = []
        self._bytes = 0
        self._came = asyncio.Event()
        self._grew = asyncio.Event()

    async def append(self, records: Sequence[bytes]) -> int:
        """Return the number of the last of these records, when all of them are durable.

        Raises what `Journal.append` raises, and JournalFullError at once where too much waits already.
        """
        size = sum(map(len, records))
        if self._bytes + size > self._waiting_bytes_max and self._bytes:
            raise JournalFullError("more comes than the disk takes", hint="let senders wait, or use a faster disk")
        done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting.append((records, done))
        self._bytes += size
        self._came.set()
        return await done

    async def grown(self, after: int) -> None:
        """Wait until there are records behind a number."""
        while self._journal.end - 1 <= after:
            self._grew.clear()
            await self._grew.wait()

    async def run(self) -> None:
        """Write what comes, for ever; ends with the error after which the journal must be opened anew."""
        try:
            while True:
                await self._came.wait()
                self._came.clear()
                taken, self._waiting, self._bytes = self._waiting, [], 0
                await self._commit(taken)
        finally:
            for _, done in self._waiting:
                done.cancel()

    async def _commit(self, taken: list[tuple[Sequence[bytes], asyncio.Future[int]]]) -> None:
        """Append what waits as one group; where there is no room for all, each alone."""
        try:
            stretch = await self._runtime.call(self._journal.append, [r for records, _ in taken for r in records])
        except JournalFullError as error:
            if len(taken) == 1:
                _fail(taken[0][1], error)
                return
            for one in taken:
                await self._commit([one])
            return
        except DataFlareError as error:
            for _, done in taken:
                _fail(done, error)
            return
        number = stretch.first - 1
        for records, done in taken:
            number += len(records)
            if not done.done():
                done.set_result(number)
        self._grew.set()


def _fail(done: asyncio.Future[int], error: DataFlareError) -> None:
    if not done.done():
        done.set_exception(error)


__all__ = ["GroupCommit"]
