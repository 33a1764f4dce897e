"""Faults that a test or a demonstration plants into a real run: death at a chosen event."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

from dataflare.monitoring.events import EpochSealed, NodeProgressed

if TYPE_CHECKING:
    from collections.abc import Callable

    from dataflare.monitoring.events import Event


class KillAt:
    """An observer that kills its process (SIGKILL: no cleanup, no goodbye) at the first event that fits.

    Events are told by the very code that goes on with the run, so nothing after the event has happened yet.
    """

    def __init__(self, fits: Callable[[Event], bool]) -> None:
        """Die when `fits` says so."""
        self._fits = fits

    def __call__(self, event: Event) -> None:
        """Die now, or let it pass."""
        if self._fits(event):
            os.kill(os.getpid(), signal.SIGKILL)


def rows_seen(node: str, rows: int) -> Callable[[Event], bool]:
    """Return a condition: a node has passed on so many rows in this process."""
    total = 0

    def fits(event: Event) -> bool:
        nonlocal total
        if isinstance(event, NodeProgressed) and event.node == node:
            total += event.rows_out
            return total >= rows
        return False

    return fits


def sealed(epoch: int) -> Callable[[Event], bool]:
    """Return a condition: the proposal of an epoch (or a later one) is durable, and nobody has committed it yet."""
    return lambda event: isinstance(event, EpochSealed) and event.epoch >= epoch
