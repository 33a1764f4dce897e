"""Writes events as JSON, one a line, for those who collect logs."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TextIO

from dataflare.monitoring.events import (
    AttemptFailed,
    CheckpointStalled,
    Event,
    NodeProgressed,
    Noticed,
    RowsRejected,
    SourceLagged,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from dataflare.clock import Clock

_WARNINGS = (AttemptFailed, CheckpointStalled, Noticed, RowsRejected)


class JsonLines:
    """An observer that writes `{"time", "level", "event", "workflow", ...}` with the fields of the event.

    The progress of nodes is left out: it comes many times a second, and the ledger of an epoch says the same; so are
    the figures of what is behind, which `status` and `top` tell. `hide` is called on each line to hide the secrets in
    it (invariant 7).
    """

    def __init__(self, stream: TextIO, clock: Clock, hide: Callable[[str], str] = str) -> None:
        """Write to this stream, which stays open."""
        self._stream, self._clock, self._hide = stream, clock, hide

    def __call__(self, event: Event) -> None:
        """Write one line, whole."""
        if isinstance(event, (NodeProgressed, SourceLagged)):
            return
        time = datetime.fromtimestamp(self._clock.now() / 1e6, UTC).isoformat(timespec="microseconds")
        level = "warning" if isinstance(event, _WARNINGS) else "info"
        line = {"time": time, "level": level, "event": event_name(event), **asdict(event)}
        self._stream.write(self._hide(json.dumps(line, ensure_ascii=False)) + "\n")
        self._stream.flush()


def event_name(event: Event) -> str:
    """Return the name of an event as it stands in logs, such as `epoch_committed`."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", type(event).__name__).lower()
