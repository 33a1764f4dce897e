"""The one place that knows what time it is."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Time as a parameter: the system's, or one that a test moves by hand."""

    def now(self) -> int:
        """Return microseconds since 1970 in UTC; may jump."""
        ...

    def monotonic(self) -> float:
        """Return seconds that never go back; for durations only."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


class SystemClock:
    """The clock of the machine."""

    def now(self) -> int:
        """Return microseconds since 1970 in UTC."""
        return time.time_ns() // 1000

    def monotonic(self) -> float:
        """Return seconds that never go back."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait on the event loop."""
        import asyncio

        await asyncio.sleep(seconds)


def wait_blocking(seconds: float) -> None:
    """Block the calling thread; for tools and worker threads, never on the event loop."""
    time.sleep(seconds)


def processor_seconds() -> float:
    """Return the processor time that this process has used; for measuring."""
    return time.process_time()
