"""Records a session at a terminal as a moving picture: docs/images/terminal.svg, for the README.

Runs the workflow of the README on the demo's flights, first with two mistakes in it. What the picture shows is what the
commands wrote, at the speed at which they wrote it; only the pauses of the reader are made up. `make picture` has all
that it needs.
"""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import pyte

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[1]
PICTURE = ROOT / "docs" / "images" / "terminal.svg"
COLUMNS, LINES = 104, 27
CELL, LINE, MARGIN = 7.83, 17, 14
TYPING_SECONDS, READING_SECONDS, FRAME_SECONDS = 0.5, 4.0, 0.25
COLOURS = {"red": "#e06c75", "green": "#98c379", "brown": "#e5c07b", "blue": "#61afef", "cyan": "#56b6c2"}
PAPER, INK, DIM = "#1e222a", "#d7dae0", "#8a919e"
MISTAKES = (("drop: [distance]", "drop: [distanse]"), ("dep_delay > 15", "dep_dely > 15"), ("count(*)", "cout(*)"))

Screen = tuple[str, ...]
"""The lines that are shown, in SVG."""


@dataclass(slots=True)
class Frame:
    """What is shown, and for how long."""

    screen: Screen
    seconds: float


class Recorder:
    """A terminal that remembers what it showed."""

    def __init__(self, folder: Path) -> None:
        """Run commands in `folder`."""
        self._folder = folder
        self._screen = pyte.Screen(COLUMNS, LINES)
        self._stream = pyte.ByteStream(self._screen)
        self.frames: list[Frame] = []

    def run(self, command: str) -> None:
        """Type a command, run it, and leave time to read what it said."""
        self._stream.feed(b"\x1b[32m$\x1b[0m ")
        self._show(TYPING_SECONDS)
        self._stream.feed(command.encode() + b"\r\n")
        for data, waited in self._output(command):
            self._show(waited)
            self._stream.feed(data)
        self._show(READING_SECONDS)
        self._stream.feed(b"\r\n")

    def _output(self, command: str) -> Iterator[tuple[bytes, float]]:
        """Yield what a command writes, each time with the seconds since it last wrote."""
        leader, follower = pty.openpty()
        environ = {**os.environ, "COLUMNS": str(COLUMNS), "LINES": str(LINES), "TERM": "xterm-256color"}
        started = subprocess.Popen(
            command, shell=True, cwd=self._folder, env=environ, stdin=follower, stdout=follower, stderr=follower
        )
        os.close(follower)
        last = time.monotonic()
        while started.poll() is None or select.select([leader], [], [], 0)[0]:
            if not select.select([leader], [], [], 0.05)[0]:
                continue
            try:
                data = os.read(leader, 1 << 16)
            except OSError:  # the other side is closed
                break
            now = time.monotonic()
            yield data, now - last
            last = now
        os.close(leader)

    def _show(self, seconds: float) -> None:
        """Keep what is shown; frames that nobody could see are left out."""
        screen = tuple(_line(self._screen.buffer[number]) for number in range(LINES))
        if self.frames and (self.frames[-1].screen == screen or self.frames[-1].seconds < FRAME_SECONDS):
            self.frames[-1] = Frame(screen, self.frames[-1].seconds + seconds)
        else:
            self.frames.append(Frame(screen, seconds))


def _line(cells: dict[int, pyte.screens.Char]) -> str:
    """Return a line as pieces of one look each."""
    pieces: list[tuple[int, str, str]] = []
    for column in range(COLUMNS):
        cell = cells[column]
        look = COLOURS.get(cell.fg, INK) if cell.fg != "default" else INK
        style = f"fill='{look}'" + (" font-weight='bold'" if cell.bold else "")
        if pieces and pieces[-1][1] == style:
            pieces[-1] = (pieces[-1][0], style, pieces[-1][2] + cell.data)
        else:
            pieces.append((column, style, cell.data))
    spans = [
        f"<tspan x='{MARGIN + column * CELL:.1f}' {style}>{escape(text.rstrip() if last else text)}</tspan>"
        for last, (column, style, text) in ((p is pieces[-1], p) for p in pieces)
        if text.strip()
    ]
    return "".join(spans)


def picture(frames: list[Frame]) -> str:
    """Return the frames as an SVG that plays by itself, over and over, and shows the last one where nothing moves."""
    width, height = COLUMNS * CELL + 2 * MARGIN, LINES * LINE + 2 * MARGIN
    whole = sum(frame.seconds for frame in frames)
    lines: dict[tuple[int, str], str] = {}
    parts, rules, begun = [], [], 0.0
    for number, frame in enumerate(frames):
        shown = []
        for at, text in enumerate(frame.screen):
            if not text:
                continue
            name = lines.setdefault((at, text), f"l{len(lines)}")
            shown.append(f"<use href='#{name}'/>")
        first, last = begun / whole * 100, (begun + frame.seconds) / whole * 100
        begun += frame.seconds
        final = number == len(frames) - 1
        parts.append(
            f"<g class='f' style='animation-name:f{number}{';opacity:1' if final else ''}'>{''.join(shown)}</g>"
        )
        rules.append(f"@keyframes f{number}{{0%{{opacity:0}}{first:.3f}%{{opacity:1}}{last:.3f}%{{opacity:0}}}}")
    known = "".join(
        f"<text id='{name}' y='{MARGIN + (at + 0.8) * LINE:.1f}' xml:space='preserve'>{text}</text>"
        for (at, text), name in lines.items()
    )
    style = (
        "text{font:13px 'DejaVu Sans Mono',Menlo,Consolas,monospace}"
        f".f{{opacity:0;animation:{whole:.2f}s step-end infinite}}" + "".join(rules)
    )
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width:.0f} {height:.0f}' width='{width:.0f}' "
        f"height='{height:.0f}'><style>{style}</style><rect width='100%' height='100%' rx='8' fill='{PAPER}'/>"
        f"<defs>{known}</defs>{''.join(parts)}</svg>\n"
    )


def _workflow() -> str:
    """Return the workflow of the README."""
    found = re.search(r"```yaml\n(id: late-flights\n.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert found is not None
    return found[1]


def main() -> None:
    """Record the session."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        unpack = f"from pathlib import Path; from dataflare.cli.demo_data import unpack_flights as f; f(Path({name!r}))"
        subprocess.run([ROOT / ".venv" / "bin" / "python", "-c", unpack], check=True)
        (folder / "data").mkdir()
        (folder / "flights.csv").rename(folder / "data" / "flights-2013.csv")
        right = wrong = _workflow()
        for good, bad in MISTAKES:
            wrong = wrong.replace(good, bad)
        os.environ["PATH"] = f"{ROOT / '.venv' / 'bin'}:{os.environ['PATH']}"
        recorder = Recorder(folder)
        (folder / "late-flights.yaml").write_text(wrong)
        recorder.run("dataflare validate late-flights.yaml")
        (folder / "late-flights.yaml").write_text(right)
        recorder.run("dataflare run late-flights.yaml")
        shutil.rmtree(folder / ".dataflare", ignore_errors=True)
    PICTURE.write_text(picture(recorder.frames))
    print(f"{PICTURE.relative_to(ROOT)}: {len(recorder.frames)} frames, {PICTURE.stat().st_size >> 10} kB")


if __name__ == "__main__":
    main()
