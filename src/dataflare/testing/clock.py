"""A clock that a test moves by hand."""

from __future__ import annotations

import asyncio
import heapq
import itertools

from dataflare.clock import SystemClock


class ManualClock:
    """Stands still until `advance` is called; sleepers wake in the order of their times."""

    def __init__(self, microseconds: int = 0) -> None:
        """Start at this time of day."""
        self._now, self._seconds = microseconds, 0.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = itertools.count()

    def now(self) -> int:
        """Return microseconds since 1970 in UTC."""
        return self._now + int(self._seconds * 1e6)

    def monotonic(self) -> float:
        """Return seconds."""
        return self._seconds

    def jump(self, seconds: float) -> None:
        """Set the time of day forward or back; durations are not touched."""
        self._now += int(seconds * 1e6)

    async def sleep(self, seconds: float) -> None:
        """Wait for `advance`."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._seconds + seconds, next(self._order), future))
        await future

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._seconds += seconds
        while self._sleepers and self._sleepers[0][0] <= self._seconds:
            future = heapq.heappop(self._sleepers)[2]
            if not future.done():
                future.set_result(None)


class StoppedClock(SystemClock):
    """The clock of the machine, but the time of day stands still; durations and sleeps are real."""

    def __init__(self, microseconds: int) -> None:
        """Stand at this time of day."""
        self._now = microseconds

    def now(self) -> int:
        """Return microseconds since 1970 in UTC."""
        return self._now
