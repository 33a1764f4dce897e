"""An event loop without a clock, threads or sockets: time moves only when nothing else can happen."""

from __future__ import annotations

import asyncio
import heapq
from asyncio.base_events import BaseEventLoop
from typing import Any

STEPS_MAX = 2_000_000
ROUNDS_TO_END_MAX = 50


class DeadlockError(RuntimeError):
    """Nothing is ready and no timer runs: whoever still waits would wait for ever."""


class SimulatedLoop(BaseEventLoop):
    """Runs callbacks in order; when none is ready it jumps to the next timer."""

    def __init__(self) -> None:
        """Start at second 0."""
        super().__init__()
        self._seconds = 0.0
        self._steps = 0
        self.set_exception_handler(lambda _loop, _context: None)

    def time(self) -> float:
        """Return the simulated time."""
        return self._seconds

    def _run_once(self) -> None:
        scheduled: list[Any] = self._scheduled  # type: ignore[attr-defined]
        ready: Any = self._ready  # type: ignore[attr-defined]
        self._steps += 1
        if self._steps > STEPS_MAX:
            raise DeadlockError("the run takes more steps than it may: it goes round in circles")
        while scheduled and (scheduled[0].cancelled() or scheduled[0].when() <= self._seconds):
            handle = heapq.heappop(scheduled)
            handle._scheduled = False
            if not handle.cancelled():
                ready.append(handle)
        if not ready:
            if not scheduled:
                raise DeadlockError("nothing can happen any more")
            self._seconds = scheduled[0].when()
            return
        for _ in range(len(ready)):
            handle = ready.popleft()
            if not handle.cancelled():
                handle._run()

    def _process_events(self, event_list: Any) -> None:
        del event_list

    def _write_to_self(self) -> None:
        return

    def abandon(self) -> None:
        """End all tasks; the world refuses every further step, as after a power cut."""
        for _ in range(ROUNDS_TO_END_MAX):
            tasks = asyncio.all_tasks(self)
            if not tasks:
                break
            for task in tasks:
                task.cancel()
            self._steps = 0
            self.run_until_complete(asyncio.wait(tasks, timeout=0.001))
        self.close()
