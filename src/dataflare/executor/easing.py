"""Holds a task back while one of its nodes lets rows go later than they came; no thread waits for that."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from dataflare.actor.cell import ActorContext
    from dataflare.component import Runtime
    from dataflare.executor.pipeline import Pipeline


class Easing:
    """While it `holds`, the task takes no rows in.

    When an epoch ends, the rows on their way before its barrier are taken in all the same (`opened`), for the barrier
    must not wait until they may go on: those that wait by then are state.
    """

    def __init__(self, runtime: Runtime, tell: Callable[[bool], None]) -> None:
        """Hold nothing back yet; `tell` is called when rows begin to wait, and when none do any more."""
        self._clock, self._tell = runtime.clock, tell
        self._armed = False
        self.waits = self.opened = False

    @property
    def holds(self) -> bool:
        """Whether rows wait, and no others may come in."""
        return self.waits and not self.opened

    def look(self, pipeline: Pipeline, context: ActorContext) -> None:
        """Ask the nodes whether rows wait; if so, the task's `release` is called when the first of them may go."""
        before, seconds = self.waits, pipeline.wait(self._clock.monotonic())
        self.waits = seconds is not None
        if seconds is not None and not self._armed:
            self._armed = True
            context.own(asyncio.get_running_loop().create_task(self._later(seconds, context)))
        if self.waits != before:
            self._tell(self.waits)

    def go_on(self, context: ActorContext) -> None:
        """Release what could not go while the task was held at a barrier."""
        if self.waits and not self._armed:
            context.note("release")

    async def _later(self, seconds: float, context: ActorContext) -> None:
        await self._clock.sleep(seconds)
        self._armed = False
        context.note("release")


__all__ = ["Easing"]
