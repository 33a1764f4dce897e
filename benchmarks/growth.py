"""The part of the page about W11: how DataFlare grows with rows, with workflows and with partitions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.tables import number, table, verdict
from benchmarks.workload import SUBJECT

if TYPE_CHECKING:
    from benchmarks.results import Figures, Result

FAMILY = "W11"
SIZES, WORKFLOWS, PARTITIONS, RESUME = "rows", "workflows", "partitions", "resume"
RATES_MAX, MEMORY_MAX, RESUME_SECONDS_MAX = 1.1, 1.3, 1.0

Measured = list[tuple["Result", "Figures"]]


def section(results: list[Result]) -> str:
    """Return all about growth that was measured, or nothing."""
    mine = [(r, f) for r in results if r.family == FAMILY and (f := r.of(SUBJECT)) is not None]
    ten = next((f for r in results if r.id == "W10b" and (f := r.of(SUBJECT)) is not None), None)
    start = (ten.middle("wall_seconds") if ten else None) or 0.0
    kinds = {kind: [(r, f) for r, f in mine if r.chart == kind] for kind in (SIZES, WORKFLOWS, PARTITIONS, RESUME)}
    parts = [
        sizes(kinds[SIZES], start),
        workflows(kinds[WORKFLOWS]),
        partitions(kinds[PARTITIONS], start),
        resume(kinds[RESUME]),
    ]
    absent = [f"- {r.heading}: {reason}" for r in results if r.family == FAMILY for reason in r.absent.values()]
    found = [part for part in (*parts, "\n".join(absent)) if part]
    return "### W11: growth\n\n" + "\n\n".join(found) + "\n" if found else ""


def sizes(measured: Measured, start: float) -> str:
    """Return how W1 grows over its sizes; rows a second are net of `start`, what ten rows take."""
    if not measured:
        return ""
    rates = [result.rows / (_wall(figures) - start) for result, figures in measured]
    memory = [_memory(figures) for _, figures in measured]
    lines = (
        [f"{result.rows:,}", number(_wall(figures)), number(rate), number(peak, 0)]
        for (result, figures), rate, peak in zip(measured, rates, memory, strict=True)
    )
    rate, peak = (max(values) / min(values) for values in (rates, memory))
    return (
        "W1 on more and more rows:\n\n"
        + table(("rows", "wall s", "rows/s net of the start", "peak MB"), lines)
        + f"\nLimits: rows/s differ by {rate:.2f}, {verdict(rate, RATES_MAX)} {RATES_MAX:.2f}; "
        f"memory by {peak:.2f}, {verdict(peak, MEMORY_MAX)} {MEMORY_MAX:.2f}."
    )


def workflows(measured: Measured) -> str:
    """Return what many workflows in one process take."""
    if not measured:
        return ""
    lines = (
        [
            f"{result.rows:,}",
            number(_wall(figures)),
            number(figures.middle("cpu_seconds")),
            number((figures.middle("cpu_seconds") or 0.0) / result.rows * 1000),
            number(_memory(figures), 0),
            *(number(figures.middle(what), 0) for what in ("threads", "files")),
            number((figures.middle("late_seconds") or 0.0) * 1000, 0),
        ]
        for result, figures in measured
    )
    header = ("workflows", "wall s", "CPU s", "CPU ms each", "peak MB", "threads", "open files", "loop late by ms")
    return (
        "Workflows in one process, all at once, under one coordinator; each makes five rows, one a second, filters\n"
        "them and writes JSON Lines exactly once, with a state, a lease and files of its own:\n\n"
        + table(header, lines).rstrip()
    )


def partitions(measured: Measured, start: float) -> str:
    """Return what `parallelism` does to W1 on the same rows."""
    if not measured:
        return ""
    lines = (
        [
            result.title.split()[0],
            number(_wall(figures)),
            number(figures.middle("cpu_seconds")),
            number(result.rows / (_wall(figures) - start)),
            number(_memory(figures), 0),
        ]
        for result, figures in measured
    )
    header = ("partitions", "wall s", "CPU s", "rows/s net of the start", "peak MB")
    rows = measured[0][0].rows
    return f"W1 on {rows:,} rows in more and more partitions:\n\n" + table(header, lines).rstrip()


def resume(measured: Measured) -> str:
    """Return how soon a run that was killed goes on."""
    if not measured:
        return ""
    ((result, figures), *_) = measured
    seconds = figures.middle("first_rows_seconds") or 0.0
    shares = ", ".join(f"{figures.middle(what) or 0.0:.3f}" for what in ("before_share", "after_share"))
    return (
        f"W1 on {result.rows:,} rows, killed (SIGKILL) when half of it was committed, then started again: the first\n"
        f"batch was read {seconds:.2f} s after the start of the process, {verdict(seconds, RESUME_SECONDS_MAX)} "
        f"{RESUME_SECONDS_MAX:.2f} s. The first run had read\n"
        f"and the second one read this share of the bytes of the file: {shares}."
    )


def _wall(figures: Figures) -> float:
    return figures.middle("wall_seconds") or 0.0


def _memory(figures: Figures) -> float:
    return (figures.middle("rss_bytes_max") or 0.0) / 2**20
