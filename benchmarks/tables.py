"""Figures and tables in Markdown, and what is said of a limit."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def number(value: float | None, places_max: int = 2) -> str:
    """Return a figure with about three digits, or a dash."""
    if value is None:
        return "-"
    return f"{value:,.{0 if value >= 100 else min(places_max, 1) if value >= 10 else places_max}f}"


def table(header: Iterable[str], lines: Iterable[Iterable[str]]) -> str:
    """Return a table in Markdown."""
    rows = [list(header), *(list(line) for line in lines)]
    rows.insert(1, ["---"] + ["---:"] * (len(rows[0]) - 1))
    return "\n".join("| " + " | ".join(row) + " |" for row in rows) + "\n"


def verdict(value: float, limit: float) -> str:
    """Return whether a value is within its limit, in a word."""
    return "within" if value <= limit else "**over**"
