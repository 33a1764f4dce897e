"""The page docs/plugin-performance.md and its picture, from the figures of W9."""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING

from benchmarks import places
from benchmarks.tables import number, table, verdict
from benchmarks.workload import SUBJECT, Role

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmarks.results import Result

PAGE = places.ROOT / "docs" / "plugin-performance.md"
PICTURE = places.ROOT / "docs" / "images" / "plugin-performance.svg"
WIDTHS = (1, 2, 4, 8)
WAYS = {
    "lines": "JavaScript, `process` of whole records",
    "process": "JavaScript, `process` of named columns",
    "processColumns": "JavaScript, `processColumns`",
    "buffers": "C, buffers of Arrow",
}
COLOURS = {"lines": "#b03a2e", "process": "#d9822b", "processColumns": "#1f5fbf", "buffers": "#2e8b57"}
CALLS = {
    "javascript.process.1": "JavaScript, `process`, one column of numbers",
    "javascript.process.2": "JavaScript, `process`, numbers and texts",
    "javascript.processColumns.1": "JavaScript, `processColumns`, one column of numbers",
    "javascript.processColumns.2": "JavaScript, `processColumns`, numbers and texts",
    "javascript.whole": "JavaScript, `process`, whole records of 88 bytes",
    "javascript.lines": "JavaScript, `process`, the same as JSON in lines",
    "copy.c": "C, JSON in lines, copied",
    "lines.c": "C, JSON in lines, a number read and one written",
    "lines.rs": "Rust, JSON in lines, a number read and one written",
    "column.c": "C, one column as a buffer",
}
LEAST = {
    "javascript.process.1": 1_000_000,
    "javascript.processColumns.1": 1_000_000,
    "javascript.processColumns.2": 1_000_000,
    "javascript.whole": 100_000,
    "lines.rs": 3_000_000,
    "column.c": 3_000_000,
}
"""Rows a second of CPU that were set as the aim."""
FONT = "font-family='DejaVu Sans, Verdana, sans-serif'"
HEAD = """# What plugins cost

A plugin is as quick as what crosses into it is small. This page tells what that costs, so that it can be chosen. Its
figures are written by `python -m benchmarks W9`.

## In short

- **Name the columns** that the plugin needs, by `input` in its file or `columns` in the workflow, and say by `adds` or
  `output` what it returns. The others pass it by. A script that is given whole records pays for all of them.
- **Plain types** are quickest: numbers, booleans, texts, and lists and structs of them. With one column of another type
  (decimals, dates, instants) a script is given JSON in lines, at twice the cost.
- **Take lists** where that is natural: `processColumns` of a script is called once for thousands of rows.
- **Use buffers** in C or Rust where the plugin does not read JSON anyway: nothing is read or written then.
- `fuel` costs a third; leave it out unless a call must end at the same place each time. Time and memory are always
  bounded, and cost a sixth.
- A plugin with state of its own (`exportState`) runs in one task and is asked for its state before each call; state by
  key runs in all of them.
"""


def page(results: list[Result]) -> str | None:
    """Return the page; None where calls were not measured."""
    by_id = {result.id: result for result in results}
    calls = by_id.get("W9e")
    mine = calls.of(SUBJECT) if calls else None
    if mine is None or not mine.runs:
        return None
    told = mine.runs[-1].told
    parts = [HEAD, columns(told), ways(told), limits(told), workflows(by_id), METHOD]
    return "\n".join(parts)


def columns(told: Mapping[str, float]) -> str:
    """Return what a node costs by how many columns cross."""
    header = ["Nanoseconds of CPU a row", *(f"{n} column{'s' * (n > 1)}" for n in WIDTHS)]
    lines = (
        [words, *(number(told.get(f"node.{way}.{n}"), 0 if way != "buffers" else 1) for n in WIDTHS)]
        for way, words in WAYS.items()
    )
    return (
        "## Which columns cross\n\nA node of a workflow that gives back what it is given, columns of numbers with two"
        " places. All that the host does to\nwrite and read what crosses is in it.\n\n"
        f"![Nanoseconds a row by the number of columns, on a logarithmic axis](images/{PICTURE.name})\n\n"
        + table(header, lines)
    )


def ways(told: Mapping[str, float]) -> str:
    """Return what calls alone make, with what crosses written before."""
    header = ["The call alone", "rows a second of CPU", "aim"]
    lines = []
    for name, words in CALLS.items():
        if (cost := told.get(f"call.{name}")) is not None:
            rate, aim = 1e9 / cost, LEAST.get(name)
            reached = f"{verdict(aim, rate).replace('over', 'below')} {aim:,}" if aim else ""
            lines.append([words, f"{rate:,.0f}", reached.replace("within", "at least")])
    return (
        "## What a call makes\n\nOne call with 10,000 rows; a float is read, multiplied and returned. Rows lie in the"
        " memory of a compiled plugin: JSON is\ncopied there once, and so is a buffer.\n\n" + table(header, lines)
    )


def limits(told: Mapping[str, float]) -> str:
    """Return what limits and a start cost."""
    header = ["CPU of a call beside one without limits", "time and memory bounded", "instructions, too"]
    lines = []
    for name, words in (("javascript.whole", CALLS["javascript.whole"]), ("lines.c", CALLS["lines.c"])):
        bare = told.get(f"call.unbounded.{name}")
        if bare:
            others = (told.get(f"call.{name}"), told.get(f"call.fuel.{name}"))
            lines.append([words, *(f"{other / bare:.2f}" if other else "-" for other in others)])
    ready = told.get("ready.javascript.ms")
    said = f"\nA plugin in JavaScript that was compiled before is ready in {ready:.1f} ms.\n" if ready else ""
    return "## What limits cost, and a start\n\nThe aim was 1.5 at most, and 10 ms.\n\n" + table(header, lines) + said


def workflows(by_id: Mapping[str, Result]) -> str:
    """Return whole workflows beside the same function as a step of others."""
    header = ["Whole workflows, CPU", "DataFlare s", "others: their CPU ÷ ours"]
    lines = []
    for name in ("W9a", "W9b", "W9c", "W9d"):
        result = by_id.get(name)
        mine = result.of(SUBJECT) if result else None
        if result is None or mine is None:
            continue
        others = [f for f in result.contenders if f.role in (Role.BOUND, Role.PEER)]
        ratios = ((f.name, f.ratio("cpu_seconds")) for f in others)
        said = ", ".join(f"{name} {1 / ratio:.2f}" for name, ratio in ratios if ratio)
        lines.append([result.heading, number(mine.middle("cpu_seconds")), said])
    if not lines:
        return ""
    return (
        "## Beside the same function elsewhere\n\nRecords of 88 bytes from JSON Lines to JSON Lines: those under 5 are"
        " left out, the others get a total. [The page of\nbenchmarks](benchmarks.md) has all figures.\n\n"
        + table(header, lines)
    )


METHOD = """## How it was measured

The least CPU time of several calls, in one process, with the limits that every plugin has (5 s are 60 s there). Numbers
of scripts cross as their bytes where a column is nothing but numbers
([decision 0046](decisions/0046-plugins-by-wasmtime.md)), buffers as decision
[0052](decisions/0052-rows-as-buffers-in-a-modules-memory.md) tells.
"""


def picture(told: Mapping[str, float]) -> str:
    """Return an SVG: a line for each way, nanoseconds a row over the number of columns, both on logarithmic axes."""
    width, height, left, bottom, top = 760, 380, 70, 330, 30
    values = [told[f"node.{way}.{n}"] for way in WAYS for n in WIDTHS if f"node.{way}.{n}" in told]
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))

    def at(n: int, cost: float) -> tuple[float, float]:
        share = (math.log10(cost) - low) / (high - low)
        return left + math.log2(n) / 3 * 420, bottom - share * (bottom - top)

    parts = [
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {height}' width='{width}' height='{height}'>",
        f"<rect width='{width}' height='{height}' fill='white'/>",
    ]
    for power in range(low, high + 1):
        y = at(1, 10.0**power)[1]
        parts.append(f"<line x1='{left}' x2='{left + 420}' y1='{y:.0f}' y2='{y:.0f}' stroke='#dddddd'/>")
        parts.append(_text(left - 8, y + 4, f"{10**power:,} ns", "text-anchor='end'"))
    parts += [_text(at(n, 10.0**low)[0], bottom + 20, str(n), "text-anchor='middle'") for n in WIDTHS]
    parts.append(_text(left + 210, bottom + 40, "columns that cross", "text-anchor='middle'"))
    for way, words in WAYS.items():
        points = [at(n, told[f"node.{way}.{n}"]) for n in WIDTHS if f"node.{way}.{n}" in told]
        if not points:
            continue
        line = " ".join(f"{x:.0f},{y:.0f}" for x, y in points)
        parts.append(f"<polyline points='{line}' fill='none' stroke='{COLOURS[way]}' stroke-width='2'/>")
        parts += [f"<circle cx='{x:.0f}' cy='{y:.0f}' r='4' fill='{COLOURS[way]}'/>" for x, y in points]
        x, y = points[-1]
        parts.append(_text(x + 12, y + 4, words.replace("`", ""), f"fill='{COLOURS[way]}'"))
    return "\n".join([*parts, "</svg>", ""])


def _text(x: float, y: float, words: str, style: str) -> str:
    return f"<text x='{x:.0f}' y='{y:.0f}' font-size='12' {FONT} {style}>{escape(words)}</text>"


def write(results: list[Result]) -> None:
    """Write both, where calls were measured."""
    text = page(results)
    calls = next((result for result in results if result.id == "W9e"), None)
    mine = calls.of(SUBJECT) if calls else None
    if text is not None and mine is not None:
        PICTURE.write_text(picture(mine.runs[-1].told))
        PAGE.write_text(text)


__all__ = ["page", "picture", "write"]
