"""The live table of the workflows of a folder: what each does and moved, how its last run ended, when it is due."""

from __future__ import annotations

import shutil
from collections import deque
from typing import TYPE_CHECKING, TextIO

from dataflare.cli.console import GREEN, RED, YELLOW, painted, table
from dataflare.monitoring.events import Event, RunBegun
from dataflare.monitoring.live import LiveView
from dataflare.monitoring.metrics import Counters
from dataflare.schedule import text_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from dataflare.clock import Clock
    from dataflare.operate.scheduler import Scheduler
    from dataflare.operate.upkeep import Standing

HEAD = ("workflow", "status", "rows", "rows/s", "last run", "ended (UTC)", "next run (UTC)")
RIGHT = (2, 3)
COLOURS = {"running": GREEN, "refused": RED, "succeeded": GREEN, "failed": RED, "stopped": YELLOW}
ORDER = {"refused": 0, "running": 1, "waiting": 2, "ended": 3}
RATE_SECONDS = 2.0
ROOM = 4
"""Lines of a terminal that the table leaves free."""


class Board(LiveView):
    """The view; an observer, too, which counts the rows of each workflow since its run began."""

    def __init__(self, clock: Clock, stream: TextIO) -> None:
        """Show nothing before `watch`."""
        super().__init__(stream)
        self._clock = clock
        self._scheduler: Scheduler | None = None
        self._counters: dict[str, Counters] = {}
        self._samples: deque[tuple[float, dict[str, int]]] = deque([(clock.monotonic(), {})])

    def watch(self, scheduler: Scheduler) -> None:
        """Show this one."""
        self._scheduler = scheduler

    def __call__(self, event: Event) -> None:
        """Count; a run that begins starts at nothing."""
        if isinstance(event, RunBegun) or event.workflow not in self._counters:
            self._counters[event.workflow] = Counters()
        self._counters[event.workflow](event)

    def rows(self) -> dict[str, int]:
        """Return the rows that the sources of each workflow read since its run began."""
        return {name: _read(counters) for name, counters in list(self._counters.items())}

    def rates(self) -> dict[str, float]:
        """Return the rows a second of each workflow over the last two seconds."""
        now, rows = self._clock.monotonic(), self.rows()
        self._samples.append((now, rows))
        while len(self._samples) > 2 and now - self._samples[1][0] >= RATE_SECONDS:  # noqa: PLR2004 - now and one more
            self._samples.popleft()
        then, before = self._samples[0]
        if now <= then:
            return {}
        return {name: max(0, count - before.get(name, 0)) / (now - then) for name, count in rows.items()}

    def render(self) -> RenderableType:
        """Return the picture of this moment: as many workflows as there is room, the busy ones first."""
        from rich.text import Text

        standings = self._scheduler.standings if self._scheduler is not None else []
        room = max(3, shutil.get_terminal_size().lines - ROOM)
        shown = standings
        if len(standings) > room:
            shown = sorted(standings, key=lambda s: ORDER[s.status])[:room]
        text = board_text(shown, self, self._stream)
        if len(shown) < len(standings):
            text += f"\nand {len(standings) - len(shown):,} more; see: dataflare status"
        return Text.from_ansi(text)


def board_text(standings: Sequence[Standing], board: Board, stream: TextIO) -> str:
    """Return the table of workflows."""
    rows, rates = board.rows(), board.rates()
    lines = []
    for standing in standings:
        record, name = standing.record, standing.workflow
        running = standing.status == "running"
        last = record.status if record is not None and not record.open else ""
        ended = _moment(record.ended) if last and record is not None else ""
        moved = rows.get(name, 0) if running else (record.rows or {}).get("read", 0) if record is not None else 0
        rate = f"{rates.get(name, 0):,.0f}" if running else ""
        status = painted(standing.status, COLOURS.get(standing.status, ""), stream)
        told = painted(last, COLOURS.get(last, ""), stream)
        following = _moment(standing.next) if standing.next is not None else ""
        lines.append((name, status, f"{moved:,}" if moved else "", rate, told, ended, following))
    return table(HEAD, lines, right=RIGHT, stream=stream)


def _moment(instant: int) -> str:
    return text_of(instant // 1_000_000 * 1_000_000).rstrip("Z").replace("T", " ")


def _read(counters: Counters) -> int:
    return max([0, *(max(n.rows_in, n.rows_out) for n in counters.read().nodes.values())])


__all__ = ["Board", "board_text"]
