"""When the next epoch starts: as soon as its cost allows, never later than the interval."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dataflare.plan_words import Mechanism

if TYPE_CHECKING:
    from dataflare.plan import Plan

SHARE_MAX = 0.05
"""The share of the time that sealing may take."""
FLOOR_SECONDS = 0.5
UNKNOWN_SECONDS = 0.25
"""What an epoch is taken to cost before one was measured: a short run is not cut up to find out."""
TRACELESS = frozenset({Mechanism.DIRECT, Mechanism.IDEMPOTENT, Mechanism.APPEND})
"""Mechanisms by which an epoch leaves nothing behind but its rows; others make a file or a staged part of each."""


class Pace:
    """The time from the first row of an epoch to its barrier.

    Where an epoch leaves nothing behind at any destination it is 19 times what the dearest of the last epochs took to
    seal, in the bounds of a floor and the interval; else it is the interval.
    """

    def __init__(self, plan: Plan) -> None:
        """Take the interval and the mechanisms from the plan."""
        self._interval = plan.settings.checkpoint_interval_seconds
        self._adapts = {g.mechanism for g in plan.guarantees.values()} <= TRACELESS
        self._cost = UNKNOWN_SECONDS

    @property
    def seconds(self) -> float:
        """How long the rows of the next epoch are gathered."""
        if not self._adapts:
            return self._interval
        return min(self._interval, max(FLOOR_SECONDS, self._cost * (1 - SHARE_MAX) / SHARE_MAX))

    def sealed(self, seconds: float) -> None:
        """Learn what an epoch took from its barrier to the end; a cheap one halves what a dear one taught."""
        self._cost = max(seconds, self._cost / 2)
