"""Tells how many rows went through the nodes of a task, now and then."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dataflare.monitoring.events import NodeProgressed, RowsRejected, SourceLagged

if TYPE_CHECKING:
    from dataflare.component import Lag, Runtime
    from dataflare.executor.operators import Tally
    from dataflare.executor.reader import SourceReader

PROGRESS_SECONDS = 0.1


class Progress:
    """What a task has told of its rows, and when it does so next."""

    def __init__(self, runtime: Runtime, workflow: str) -> None:
        """Have told nothing yet."""
        self._runtime, self._workflow = runtime, workflow
        self._due, self._bytes_told = 0.0, 0
        self._lag: Lag | None = None

    def tell(self, tally: Tally, reader: SourceReader | None, *, due: bool = False) -> None:
        """Tell of the rows since the last time, if it is time or `due`, as at every barrier."""
        now = self._runtime.clock.monotonic()
        if now < self._due and not due:
            return
        self._due = now + PROGRESS_SECONDS
        fresh, tally.fresh = tally.fresh, {}
        if reader is not None and reader.connector.bytes_read > self._bytes_told:
            fresh.setdefault(reader.node, (0, 0))  # a source may count what it read behind its last row
        for node, (came, went) in fresh.items():
            read = 0
            if reader is not None and node == reader.node:
                told, self._bytes_told = self._bytes_told, reader.connector.bytes_read
                read = self._bytes_told - told
            self._runtime.emit(NodeProgressed(self._workflow, node, came, went, read))
        if reader is not None:
            self.tell_lag(reader)
        rejected, tally.rejected = tally.rejected, {}
        for node, (rows, reason) in rejected.items():
            self._runtime.emit(RowsRejected(self._workflow, node, rows, reason))

    def tell_lag(self, reader: SourceReader) -> None:
        """Tell how far the source is behind, if that has changed."""
        lag = reader.connector.lag()
        if lag is not None and lag != self._lag:
            self._lag = lag
            self._runtime.emit(SourceLagged(self._workflow, reader.node, lag.figures()))


__all__ = ["Progress"]
