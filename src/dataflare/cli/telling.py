"""Tells what happens to the workflows of a folder: a line for each run that ends, and for what a person should know."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from dataflare.cli.console import GREEN, RED, YELLOW, painted, write_json
from dataflare.cli.running import Warnings
from dataflare.monitoring.events import CallsTaken, RunBegun, RunRecorded, RunRetried, RunSkipped, WorkflowFollowed
from dataflare.schedule import text_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from dataflare.clock import Clock
    from dataflare.monitoring.events import Event
    from dataflare.monitoring.live import LiveView

COLOURS = {"succeeded": GREEN, "failed": RED, "stopped": YELLOW}


class FolderTeller(Warnings):
    """An observer. Ends of runs go to stdout, warnings to stderr; `quiet`: what is well is not told, it is drawn.

    With JSON each event is one object: `{"time", "workflow", "event", "run", ...}`, warnings findings on stderr.
    """

    naming = True

    def __init__(self, clock: Clock, view: LiveView, hide: Callable[[str], str], *, as_json: bool, quiet: bool) -> None:
        """Tell warnings above the view while it is drawn."""
        super().__init__(view, hide, as_json=as_json)
        self._clock, self._quiet = clock, quiet

    def __call__(self, event: Event) -> None:
        """Tell, or keep silent."""
        match event:
            case CallsTaken() if not self._quiet:
                self._line(event, "", f"listens at {event.url}", {"event": "listening", "url": event.url})
            case RunBegun() if not self._quiet:
                tries = f", try {event.tries}" if event.tries > 1 else ""
                self._line(
                    event, event.run, f"begins ({event.trigger}{tries})", {"event": "begun", "tries": event.tries}
                )
            case WorkflowFollowed():
                self._line(event, "", event.message, {"event": event.change, "message": event.message})
            case RunRecorded():
                self._recorded(event)
            case RunSkipped():
                self._line(
                    event, event.run, f"is left out: {event.reason}", {"event": "skipped", "reason": event.reason}
                )
            case RunRetried():
                again = f"failed: {event.message}; tried again in {event.retry_in_seconds:g} s"
                facts = {"event": "retried", "message": self._hide(event.message), "tries": event.tries}
                self._line(event, event.run, again, facts)
            case _:
                super().__call__(event)

    def _recorded(self, event: RunRecorded) -> None:
        failed = event.status == "failed"
        if self._quiet and not failed:
            return
        rows = ", ".join(f"{count:,} rows {what}" for what, count in event.rows.items() if count)
        status = painted(event.status, COLOURS.get(event.status, ""), sys.stdout)
        message = f": {event.message}" if event.message else ""
        facts = {"event": "ended", "status": event.status, "rows": dict(event.rows), "message": event.message}
        self._line(event, event.run, f"{status}{f', {rows}' if rows else ''}{message}", facts)

    def _line(self, event: Event, run: str, text: str, facts: Mapping[str, object]) -> None:
        now = text_of(self._clock.now() // 1_000_000 * 1_000_000)
        if self._as_json:
            write_json({"time": now, "workflow": event.workflow, "run": run, **facts})
            return
        whose = f"{event.workflow}  " if event.workflow else ""
        line = self._hide(f"{now}  {whose}{f'run {run} ' if run else ''}{text}")
        if self._live.drawn:
            self._live.say(line)
        else:
            sys.stdout.write(line + "\n")
            sys.stdout.flush()


__all__ = ["FolderTeller"]
