"""Figures are judged by medians over pairs, and the page says who was not measured and why."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from benchmarks import check, report
from benchmarks.measure import Cost
from benchmarks.results import Figures, Result
from benchmarks.workload import AGAIN, SUBJECT, Role

if TYPE_CHECKING:
    from pathlib import Path


def costs(*seconds: float) -> list[Cost]:
    return [Cost(s, s, int(s * 100) << 20, 0, 0.0) for s in seconds]


@pytest.fixture
def result() -> Result:
    mine, limits = costs(2.0, 4.0, 6.0), {"wall": 1.15, "cpu": 2.5, "rss_bytes": None, "cpu_seconds": None}
    contenders = [
        Figures(SUBJECT, Role.SUBJECT, runs=mine),
        Figures(AGAIN, Role.SUBJECT, runs=mine, beside=mine),
        Figures("slow engine", Role.BOUND, runs=costs(8.0, 8.0, 8.0), beside=mine),
        Figures("fast engine", Role.BOUND, runs=costs(1.0, 2.0, 2.0), beside=mine),
        Figures("copier", Role.PEER, partial=True, runs=costs(1.0), beside=mine),
        Figures("tool", Role.PEER, runs=costs(8.0, 8.0, 8.0), beside=mine),
    ]
    return Result("W1", "work", 5, "cpu", limits, {"cores": "2"}, 3, contenders, absent={"other": "not installed"})


def test_a_ratio_is_the_median_of_the_ratios_within_pairs(result: Result) -> None:
    figures = result.of("fast engine")
    assert figures is not None
    assert figures.ratio("wall_seconds") == 2.0


def test_the_faster_bound_judges(result: Result) -> None:
    assert report.judged(result) == [
        "wall time 2.00 of fast engine, **over** 1.15",
        "CPU 2.00 of fast engine, within 2.50",
    ]


def test_who_does_a_part_of_the_work_is_not_the_nearest_peer(result: Result) -> None:
    assert "| tool | 2.0 (cpu) |" in report.summary([result])


def test_who_was_not_measured_is_listed_with_the_reason(result: Result) -> None:
    assert "- other: not measured: not installed" in report.section(result)


def test_latencies_that_a_workload_limits_are_shown_and_judged(result: Result) -> None:
    result.limits |= {"wall": None, "cpu": None, "p50_ms": 0.5, "p99_ms": 1.0}
    for figures in result.contenders:
        figures.runs = [replace(run, told={"p50_ms": 0.4, "p99_ms": 1.25}) for run in figures.runs]
    assert report.judged(result) == ["p50 0.40 ms, within 0.50 ms", "p99 1.25 ms, **over** 1.00 ms"]
    assert "| p50 ms | p99 ms | wall ÷ |" in report.contenders(result)


def test_figures_that_were_kept_read_the_same(result: Result, tmp_path: Path) -> None:
    result.write(tmp_path / "W1.json")
    assert Result.read_all(tmp_path) == [result]


def test_other_work_is_told_apart_from_sums_in_another_order() -> None:
    expected = {"rows": 10.0, "total": 1e9}
    assert check.differences(expected, {"rows": 10.0, "total": 1e9 + 1e-3}) == []
    assert check.differences(expected, {"rows": 9.0, "total": 1e9}) == ["rows is 9.00 instead of 10.00"]
    assert check.differences(expected, {"rows": 10.0}) == ["total is nan instead of 1,000,000,000.00"]
