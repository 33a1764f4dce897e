"""Writes docs/benchmarks.md and its picture from the figures that are kept in benchmarks/results."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks import growth, places, plot
from benchmarks.tables import number, table, verdict
from benchmarks.workload import AGAIN, LATENCIES, SUBJECT, Role

if TYPE_CHECKING:
    from benchmarks.results import Figures, Result

HEAD = """# Benchmarks

What DataFlare costs beside the engines that bound it and the tools that a user would pick instead. The page and its
picture are written by `make bench`, from the figures of every run, which are kept in
[benchmarks/results](../benchmarks/results).

A *bound* is a script or an engine that has no state, no checkpoints and no recovery. DataFlare runs on such engines and
cannot be ahead of them, so the question is how close it comes. A *peer* is a tool for the same job: there the question
is how far ahead it is.
"""
READING = """The last two columns are DataFlare's figure divided by that of the line: below 1 DataFlare is the cheaper
one. In its own line they are those of the A/A pair, and what is as near to 1 as they are is a tie.
"""
METHOD = """## Method

- One machine, one run, pairs: A B, B A, A B, ... where A is DataFlare and B the other. At least five pairs. Beside them
  A/A pairs: what the ratio of DataFlare to itself shows is what chance makes, and smaller gaps are ties.
- Figures are medians over the runs; a ratio is the median of the ratios within the pairs, DataFlare divided by the
  other: below 1 DataFlare is the cheaper one.
- CPU is user and system time of the whole process tree, from the start of the interpreter to the end of the last child.
  Memory is the largest sum over the tree, sampled twenty times a second (shared pages count for each process). The work
  of the PostgreSQL server is measured apart.
- Equal settings: two threads for everyone, Snappy in Parquet, the same types. DataFlare writes several files at once
  and keeps order within each of its tasks, so the engines run with any order too; the same engines with the order of
  the file kept stand beside them. Input comes from fixed seeds and is in the page cache.
- Everybody's output is read back after each run and compared by counts and sums. Who wrote something else, or failed,
  or could not be installed, is listed with the reason instead of a figure.
- DataFlare runs with its defaults: durable state in SQLite, checkpoints, exactly once, a ledger of every row.

To repeat it: `make bench`, or a part with `make bench BENCH="W1 W4d"`. `python -m benchmarks setup-peers` installs the
peers first, each in an environment of its own; W4 needs `make services`. A trial, which leaves this page alone:
`python -m benchmarks W1 --rows 500000 --pairs 2`.
"""
CALLS = "W9e"
"""It has a page of its own: docs/plugin-performance.md."""
MISSING = """## Not measured yet

Windows (W7).
"""


def contenders(result: Result) -> str:
    """Return the table of one workload: everyone's medians, and DataFlare's ratio to them."""
    server, told = ["server CPU s"] if result.server else [], [heading for _, heading in _latencies(result)]
    header = ["", "wall s", "CPU s", *server, "peak MB", *told, "wall ÷", "CPU ÷"]
    return table(header, (_line(result, figures) for figures in result.contenders if figures.name != AGAIN))


def _line(result: Result, figures: Figures) -> list[str]:
    again = result.of(AGAIN)
    beside = again if figures.role is Role.SUBJECT and again else figures
    name = f"**{figures.name}**" if figures.role is Role.SUBJECT else figures.name
    memory = figures.middle("rss_bytes_max")
    return [
        name + (f" ({figures.note})" if figures.note else ""),
        number(figures.middle("wall_seconds")),
        number(figures.middle("cpu_seconds")),
        *([number(figures.middle("server_cpu_seconds"))] if result.server else []),
        number(memory and memory / 2**20, 0),
        *(number(figures.middle(what)) for what, _ in _latencies(result)),
        *(number(beside.ratio(what)) for what in ("wall_seconds", "cpu_seconds")),
    ]


def _latencies(result: Result) -> list[tuple[str, str]]:
    """Return the latencies that the workload limits, each with its heading."""
    return [(what, what.replace("_", " ")) for what in LATENCIES if result.limits.get(what) is not None]


def judged(result: Result) -> list[str]:
    """Return the limits of a workload in words, each with what was found."""
    mine, limits, said = result.of(SUBJECT), result.limits, []
    if mine is None:
        return ["DataFlare did not do the work"]
    for what, word in (("wall", "wall time"), ("cpu", "CPU")):
        limit, bound = limits.get(what), result.bound(f"{what}_seconds")
        if limit is not None and bound is not None:
            ratio = bound.ratio(f"{what}_seconds") or 0
            said.append(f"{word} {ratio:.2f} of {bound.name}, {verdict(ratio, limit)} {limit:.2f}")
    if (limit := limits.get("rss_bytes")) is not None:
        memory = mine.middle("rss_bytes_max") or 0
        said.append(f"memory {memory / 2**20:.0f} MB, {verdict(memory, limit)} {limit / 2**20:.0f} MB")
    if (limit := limits.get("cpu_seconds")) is not None:
        cpu = mine.middle("cpu_seconds") or 0
        said.append(f"CPU {cpu:.2f} s, {verdict(cpu, limit)} {limit:.2f} s")
    for what, heading in _latencies(result):
        latency, limit = mine.middle(what) or 0, limits[what] or 0
        said.append(f"{heading.split()[0]} {latency:.2f} ms, {verdict(latency, limit)} {limit:.2f} ms")
    return said


def summary(results: list[Result]) -> str:
    """Return one line a workload: how close to the faster bound, and how far ahead of the nearest peer."""
    shown = [result for result in results if result.family != growth.FAMILY and result.id != CALLS]
    header = ["", "wall s", "CPU s", "bound", "wall ÷ bound", "CPU ÷ bound", "nearest peer", "its cost ÷ ours"]
    return table(header, (_short(result, mine) for result in shown if (mine := result.of(SUBJECT))))


def _short(result: Result, mine: Figures) -> list[str]:
    what = f"{result.chart}_seconds"
    wall, cpu = (result.bound(kind) for kind in ("wall_seconds", "cpu_seconds"))
    peer = result.nearest(Role.PEER, what)
    return [
        f"{result.id} {result.title}",
        *(number(mine.middle(kind)) for kind in ("wall_seconds", "cpu_seconds")),
        "/".join(dict.fromkeys(bound.name for bound in (wall, cpu) if bound)) or "-",
        number(wall.ratio("wall_seconds") if wall else None),
        number(cpu.ratio("cpu_seconds") if cpu else None),
        peer.name if peer else "-",
        f"{number(1 / ratio, 1)} ({result.chart})" if peer and (ratio := peer.ratio(what)) else "-",
    ]


def section(result: Result) -> str:
    """Return all about one workload."""
    parts = [f"### {result.heading}\n", contenders(result)]
    if limits := judged(result):
        parts.append("Limits: " + "; ".join(limits) + ".\n")
    parts += [f"- {name}: not measured: {reason}" for name, reason in result.absent.items()]
    return "\n".join(parts).rstrip() + "\n"


def figures(results: list[Result]) -> str:
    """Return all workloads, what grows last."""
    parts = [section(result) for result in results if result.family != growth.FAMILY and result.id != CALLS]
    return "\n".join(part for part in (*parts, growth.section(results)) if part)


def machine(results: list[Result]) -> str:
    """Return on what the figures were taken, and with which versions."""
    parts = ["## Machine and versions\n"]
    parts += dict.fromkeys("- " + ", ".join(f"{k}: {v}" for k, v in r.machine.items()) for r in results)
    parts += dict.fromkeys(
        "- PostgreSQL: " + ", ".join(f"{k} {v}" for k, v in r.server.items()) for r in results if r.server
    )
    named = {(name, text) for r in results for name, text in r.versions.items() if text}
    parts += [f"- {name}: {text}" for name, text in sorted(named)]
    load = max((run.load_before for r in results for f in r.contenders for run in f.runs), default=0.0)
    parts.append(f"- the load of the machine before a run was {load:.1f} at most, the run before it included")
    return "\n".join(parts) + "\n"


def write(results: list[Result]) -> None:
    """Write the page and the picture; raise ValueError where there is nothing to write."""
    if not results:
        raise ValueError("no figures are kept yet: python -m benchmarks")
    places.PICTURE.parent.mkdir(parents=True, exist_ok=True)
    places.PICTURE.write_text(plot.picture(results))
    image = "![Seconds of everyone on each workload, on a logarithmic axis](images/benchmarks.svg)\n"
    parts = [
        HEAD,
        summary(results),
        image,
        "## Figures\n",
        READING,
        figures(results),
        METHOD,
        machine(results),
        MISSING,
    ]
    places.PAGE.write_text("\n".join(part for part in parts if part))
