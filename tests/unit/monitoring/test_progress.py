"""The live view shows nodes, rates, epochs and bytes on a terminal, and nothing elsewhere."""

from __future__ import annotations

import io
import os
import pty
import select
from typing import TYPE_CHECKING

from rich.console import Console

from dataflare.monitoring.events import EpochCommitted, NodeProgressed, RunStarted
from dataflare.monitoring.metrics import Counters
from dataflare.monitoring.progress import LiveProgress, Shown, size_text
from dataflare.testing.clock import ManualClock

if TYPE_CHECKING:
    import pytest

SHOWN = Shown("flights", [("raw", "source"), ("clean", "processor")], bytes_total=1000)


def text_of(live: LiveProgress) -> list[str]:
    console = Console(file=io.StringIO(), width=100, record=True)
    console.print(live.render())
    return [" ".join(line.split()) for line in console.export_text().splitlines()]


def test_the_view_has_a_line_for_each_node_with_its_rate() -> None:
    counters, clock = Counters(), ManualClock()
    live = LiveProgress(SHOWN, counters, clock, io.StringIO())
    counters(RunStarted("flights", 1, 0))
    counters(NodeProgressed("flights", "raw", 0, 5000, bytes_read=250))
    counters(EpochCommitted("flights", 1, 1, 0.1, {"raw": {"out": 4000, "dead": 3}}))
    clock.advance(2)
    head, columns, raw, clean = text_of(live)
    assert head.startswith("flights 2.0 s epoch 2 1 committed")
    assert head.endswith("25%")
    assert columns == "node kind rows in rows out dead rows/s"
    assert raw == "raw source 0 5,000 3 2,500"
    assert clean == "clean processor"


def test_a_rate_is_of_the_last_seconds_not_of_the_whole_run() -> None:
    counters, clock = Counters(), ManualClock()
    live = LiveProgress(SHOWN, counters, clock, io.StringIO())
    counters(NodeProgressed("flights", "raw", 0, 1_000_000))
    for _ in range(10):
        clock.advance(1)
        counters(NodeProgressed("flights", "raw", 0, 100))
        rate = text_of(live)[2].split()[-1]
    assert rate == "100"


def test_a_later_attempt_is_shown_and_bytes_without_a_total() -> None:
    counters = Counters()
    live = LiveProgress(Shown("w", [("raw", "source")]), counters, ManualClock(), io.StringIO())
    counters(RunStarted("w", 3, 7))
    counters(NodeProgressed("w", "raw", 0, 1, bytes_read=2_500_000))
    assert text_of(live)[0] == "w 0.0 s attempt 3 epoch 8 0 committed 2.5 MB read"


def test_nothing_is_drawn_where_there_is_no_terminal() -> None:
    stream = io.StringIO()
    with LiveProgress(SHOWN, Counters(), ManualClock(), stream) as live:
        assert stream.getvalue() == ""
        live.say("a line that stays [not markup]")
    assert stream.getvalue() == "a line that stays [not markup]\n"


def test_on_a_terminal_the_view_is_drawn_and_wiped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    master, slave = pty.openpty()
    with os.fdopen(slave, "w") as terminal:
        with LiveProgress(SHOWN, Counters(), ManualClock(), terminal) as live:
            live.say("stays")
        terminal.flush()
        drawn = ""
        while select.select([master], [], [], 0)[0]:
            drawn += os.read(master, 4096).decode()
    os.close(master)
    assert "flights" in drawn
    assert "stays" in drawn
    assert drawn.endswith("\x1b[2K")


def test_sizes_are_written_for_people() -> None:
    assert [size_text(n) for n in (0, 999, 1000, 25_500_000, 3e12)] == ["0 B", "999 B", "1.0 kB", "25.5 MB", "3.0 TB"]
