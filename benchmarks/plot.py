"""Draws the figures: one panel a workload, one dot a contender, seconds on a logarithmic axis."""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING

from benchmarks.growth import FAMILY
from benchmarks.workload import AGAIN, Role

if TYPE_CHECKING:
    from benchmarks.results import Figures, Result

WIDTH, LEFT, RIGHT, LINE, GAP, TOP = 760, 190, 70, 20, 40, 46
COLOURS = {Role.SUBJECT: "#1f5fbf", Role.BOUND: "#7a7a7a", Role.PEER: "#d9822b"}
WORDS = {Role.SUBJECT: "DataFlare", Role.BOUND: "bound: an engine alone", Role.PEER: "peer: a tool for the job"}
FONT = "font-family='DejaVu Sans, Verdana, sans-serif'"


class Axis:
    """Seconds, from a power of ten to a power of ten."""

    def __init__(self, values: list[float]) -> None:
        self.low = math.floor(math.log10(min(values)))
        self.high = max(math.ceil(math.log10(max(values))), self.low + 1)

    def x(self, seconds: float) -> float:
        """Return where so many seconds are."""
        share = (math.log10(seconds) - self.low) / (self.high - self.low)
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def ticks(self) -> list[float]:
        """Return the powers of ten."""
        return [10.0**power for power in range(self.low, self.high + 1)]


def picture(results: list[Result]) -> str:
    """Return an SVG; workloads without figures are left out, and those that only tell how another one grows."""
    panels = [(result, _dots(result)) for result in results if result.family != FAMILY]
    panels = [(result, dots) for result, dots in panels if dots]
    axis = Axis([seconds for _, dots in panels for _, seconds in dots] or [1.0])
    parts, y = [_legend()], TOP
    for result, dots in panels:
        parts.append(_panel(result, dots, axis, y))
        y += GAP + LINE * len(dots)
    height = y + 10
    head = f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {height}' width='{WIDTH}' height='{height}'>"
    back = f"<rect width='{WIDTH}' height='{height}' fill='white'/>"
    return "\n".join([head, back, *parts, "</svg>", ""])


def _dots(result: Result) -> list[tuple[Figures, float]]:
    """Return who is shown, the cheapest first."""
    shown = [f for f in result.contenders if f.name != AGAIN]
    dots = [(f, seconds) for f in shown if (seconds := f.middle(f"{result.chart}_seconds"))]
    return sorted(dots, key=lambda dot: dot[1])


def _text(x: float, y: float, words: str, style: str = "") -> str:
    return f"<text x='{x:.0f}' y='{y:.0f}' font-size='12' {FONT} {style}>{escape(words)}</text>"


def _legend() -> str:
    parts = []
    for number, (role, words) in enumerate(WORDS.items()):
        x = LEFT + (0, 110, 290)[number]
        parts += [f"<circle cx='{x}' cy='20' r='5' fill='{COLOURS[role]}'/>", _text(x + 10, 24, words)]
    return "\n".join(parts)


def _panel(result: Result, dots: list[tuple[Figures, float]], axis: Axis, top: int) -> str:
    what = "wall seconds" if result.chart == "wall" else "CPU seconds"
    parts = [_text(8, top + 10, f"{result.heading}, {what}", "font-weight='bold'")]
    first, last = top + 18, top + 18 + LINE * len(dots)
    for tick in axis.ticks():
        x = axis.x(tick)
        parts.append(f"<line x1='{x:.0f}' x2='{x:.0f}' y1='{first}' y2='{last}' stroke='#dddddd'/>")
        parts.append(_text(x, last + 11, f"{tick:g} s", "text-anchor='middle' fill='#777777' style='font-size:9px'"))
    for number, (figures, seconds) in enumerate(dots):
        y, x, colour = first + LINE * (number + 0.5), axis.x(seconds), COLOURS[figures.role]
        weight = "font-weight='bold'" if figures.role is Role.SUBJECT else ""
        parts += [
            _text(LEFT - 10, y + 4, figures.name, f"text-anchor='end' {weight}"),
            f"<line x1='{LEFT}' x2='{x:.1f}' y1='{y:.0f}' y2='{y:.0f}' stroke='{colour}' stroke-width='2'/>",
            f"<circle cx='{x:.1f}' cy='{y:.0f}' r='5' fill='{colour}'/>",
            _text(x + 10, y + 4, f"{seconds:.2f}" if seconds < 10 else f"{seconds:.1f}", weight),
        ]
    return "\n".join(parts)
