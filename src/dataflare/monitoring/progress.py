"""A view of a run that lives on a terminal while the run does: nodes, rows, rates, epochs, bytes."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO

from dataflare.monitoring.live import LiveView

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType
    from rich.text import Text

    from dataflare.clock import Clock
    from dataflare.monitoring.metrics import Counters, Counts

RATE_SECONDS = 2.0
"""A rate is the mean over so long."""

BAR_CELLS = 24


@dataclass(frozen=True, slots=True)
class Shown:
    """What the view is of: the workflow, its nodes (id and kind) in order, and how many bytes there are to read."""

    workflow: str
    nodes: Sequence[tuple[str, str]]
    bytes_total: int = 0


class LiveProgress(LiveView):
    """Shows the nodes of one run."""

    def __init__(self, shown: Shown, counters: Counters, clock: Clock, stream: TextIO) -> None:
        """Draw what the counters say, on this stream."""
        super().__init__(stream)
        self._shown, self._counters, self._clock = shown, counters, clock
        self._began = clock.monotonic()
        self._samples: deque[tuple[float, Counts]] = deque([(self._began, counters.read())])

    def render(self) -> RenderableType:
        """Return the picture of this moment."""
        from rich.console import Group
        from rich.table import Table

        counts, now = self._counters.read(), self._clock.monotonic()
        seconds, before = self._sample(now, counts)
        table = Table(box=None, pad_edge=False, header_style="dim")
        for name in ("node", "kind"):
            table.add_column(name, no_wrap=True)
        for name in ("rows in", "rows out", "dead", "rows/s"):
            table.add_column(name, justify="right", no_wrap=True)
        for node, kind in self._shown.nodes:
            table.add_row(node, kind, *_cells(node, counts, before, seconds))
        return Group(self._headline(counts, now - self._began), table)

    def _headline(self, counts: Counts, elapsed: float) -> Text:
        from rich.text import Text

        line = Text()
        line.append(self._shown.workflow, "bold")
        line.append(f"  {elapsed:,.1f} s")
        if counts.attempt > 1:
            line.append(f"  attempt {counts.attempt}", "yellow")
        state = f"  epoch {max(counts.epoch_committed, counts.resumed_epoch) + 1}"
        line.append(state).append(f"  {counts.epochs} committed", "green")
        read = sum(n.bytes_read for n in counts.nodes.values())
        if self._shown.bytes_total:
            share = min(1.0, read / self._shown.bytes_total)
            full = round(share * BAR_CELLS)
            line.append("  ").append("━" * full, "cyan").append("━" * (BAR_CELLS - full), "dim")
            line.append(f" {share:4.0%}")
        elif read:
            line.append(f"  {size_text(read)} read")
        return line

    def _sample(self, now: float, counts: Counts) -> tuple[float, Counts]:
        """Remember this moment; return the oldest one that a rate is made from, and how long ago it was."""
        self._samples.append((now, counts))
        while len(self._samples) > 2 and now - self._samples[1][0] >= RATE_SECONDS:  # noqa: PLR2004 - now and one more
            self._samples.popleft()
        then, before = self._samples[0]
        return now - then, before


def size_text(size: float) -> str:
    """Write a number of bytes for people, such as `1.5 MB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:  # noqa: PLR2004 - the step between units
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def _cells(node: str, counts: Counts, before: Counts, seconds: float) -> list[str]:
    here = counts.nodes.get(node)
    if here is None:
        return ["", "", "", ""]
    then = before.nodes.get(node)
    rows = max(here.rows_in, here.rows_out) - (max(then.rows_in, then.rows_out) if then else 0)
    dead = max(here.rows_dead, counts.rows_committed.get(node, {}).get("dead", 0))
    rate = f"{rows / seconds:,.0f}" if seconds > 0 else ""
    return [f"{here.rows_in:,}", f"{here.rows_out:,}", f"{dead:,}" if dead else "", rate]
