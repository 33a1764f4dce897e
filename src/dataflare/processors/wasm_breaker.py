"""A circuit breaker: a plugin that has to be stopped by too many rows is called no more, for a while or for good.

Rows are counted, not the calls that find them: a batch is halved until the row to blame is known. Time is that of the
epoch, so a pause ends at a barrier.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from dataflare.component import Config, Duration, Field
from dataflare.errors import DataError, Place
from dataflare.monitoring.events import Noticed

if TYPE_CHECKING:
    from dataflare.component import StageContext

MICROSECONDS = 1_000_000
RESTS = "not called: too many rows had the plugin stopped, and it rests"


class BreakerConfig(Config):
    """When a plugin that has to be stopped again and again is called no more."""

    rows: int = Field(10, ge=0, description="So many rows may make it exceed its limits within the window.")
    window: Duration = Field(60.0, gt=0, description="How long a row counts, by the time of epochs.")
    pause: Duration | None = Field(
        None,
        gt=0,
        description="How long its rows are then rejected without a call, where on_error puts bad rows aside; "
        "default: the run fails.",
    )


class Breaker:
    """Counts for one instance. A pause is followed by a trial: one row that stops the plugin begins another pause."""

    def __init__(self, config: BreakerConfig, context: StageContext, file: str) -> None:
        """`file` is what errors call the plugin."""
        self._config, self._context, self._file = config, context, file
        self._stops: deque[int] = deque()
        self._until: int | None = None
        self._seconds = f"{config.window:g} s"

    @property
    def rests(self) -> bool:
        """Whether the plugin is not called now."""
        return self._until is not None and self._context.epoch_time() < self._until

    def stopped(self, why: str) -> None:
        """Learn that a row has stopped the plugin; raise DataError where that ends the run."""
        now = self._context.epoch_time()
        self._stops.append(now)
        while self._stops[0] <= now - round(self._config.window * MICROSECONDS):
            self._stops.popleft()
        if self._until is None and len(self._stops) <= self._config.rows:
            return
        pause = self._config.pause
        if pause is None or self._context.on_error == "fail":
            raise DataError(
                f"{len(self._stops)} rows had the plugin stopped within {self._seconds}, the last one because {why}",
                hint="correct it, raise its limits, or let it rest: breaker: {pause: 1m}",
                place=Place(self._file, path=self._context.node),
            )
        self._until = now + round(pause * MICROSECONDS)
        self._stops.clear()
        self._tell(f"it rests for {pause:g} s, and its rows are rejected: {why}")

    def went_well(self) -> None:
        """Learn that a call came back: a trial has succeeded."""
        if self._until is not None:
            self._until = None
            self._tell("it is called again")

    def _tell(self, text: str) -> None:
        context = self._context
        context.emit(Noticed(context.workflow, "plugin.breaker", f"the plugin {self._file}: {text}", context.node))


__all__ = ["RESTS", "Breaker", "BreakerConfig"]
