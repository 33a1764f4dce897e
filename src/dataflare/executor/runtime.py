"""The outside world of a real run: the system's clock, a pool of worker threads, and somebody who listens."""

from __future__ import annotations

import asyncio
import random
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from dataflare.clock import Clock, SystemClock

if TYPE_CHECKING:
    from collections.abc import Callable

    from dataflare.monitoring.events import Event, Observer

P = ParamSpec("P")
T = TypeVar("T")


class LocalRuntime:
    """Worker threads for blocking work; events go to one observer."""

    def __init__(self, observer: Observer | None = None, *, threads: int = 8, clock: Clock | None = None) -> None:
        """Start no thread before the first call."""
        self.clock: Clock = clock or SystemClock()
        self.random = random.Random()  # noqa: S311 - jitter, no secret
        self._observer = observer
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="dataflare")

    async def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a blocking function in a worker thread.

        A cancelled caller waits until the function has returned: nobody may close what a thread still uses.
        """
        loop = asyncio.get_running_loop()
        work = loop.run_in_executor(self._pool, partial(function, *args, **kwargs))
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            if not work.done():
                await asyncio.wait([work])
            if not work.cancelled():
                work.exception()
            raise

    def emit(self, event: Event) -> None:
        """Tell the observer."""
        if self._observer is not None:
            self._observer(event)

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown(wait=True)
