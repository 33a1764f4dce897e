"""W11: growth. W1 on one, ten and fifty million rows: the same rows a second, the same memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks import w1

if TYPE_CHECKING:
    from benchmarks.workload import Workload

SIZES = {"W11a": 1_000_000, "W11b": 10_000_000, "W11c": 50_000_000}


def workloads(rows: int | None) -> list[Workload]:
    """Return W1 on the three sizes; given rows, on so many, ten times and fifty times as many."""
    scale = (rows or SIZES["W11a"]) / SIZES["W11a"]
    return [w1.workload(name, int(size * scale), alone=True) for name, size in SIZES.items()]
