"""The page tells how DataFlare grows: each kind of growth apart, with what it is judged by."""

from __future__ import annotations

from benchmarks import growth, report
from benchmarks.measure import Cost
from benchmarks.results import Figures, Result
from benchmarks.workload import SUBJECT, Role


def _result(name: str, rows: int, kind: str, seconds: float, megabytes: int, **told: float) -> Result:
    runs = [Cost(seconds, seconds, megabytes << 20, 0, 0.0, told=told)]
    return Result(name, "2 partitions", rows, kind, {}, {}, 1, [Figures(SUBJECT, Role.SUBJECT, runs=runs)])


def test_rows_a_second_and_memory_are_judged_over_the_sizes() -> None:
    page = growth.section([_result("W11a", 100, "rows", 1.0, 100), _result("W11b", 1000, "rows", 20.0, 120)])
    assert "rows/s differ by 2.00, **over** 1.10; memory by 1.20, within 1.30" in page


def test_what_a_process_of_many_workflows_told_is_shown() -> None:
    result = _result("W11e", 1000, "workflows", 30.0, 200, threads=9, files=2020, late_seconds=0.5)
    assert "| 1,000 | 30.0 | 30.0 | 30.0 | 200 | 9 | 2,020 | 500 |" in growth.section([result])


def test_a_resume_is_judged_by_its_first_rows() -> None:
    result = _result("W11k", 10, "resume", 9.0, 300, first_rows_seconds=1.25, before_share=0.6, after_share=0.4)
    page = growth.section([result])
    assert "1.25 s after the start of the process, **over** 1.00 s" in page
    assert "0.600, 0.400" in page


def test_growth_stands_once_and_names_who_was_not_measured() -> None:
    result = _result("W11f", 10, "partitions", 9.0, 300)
    result.absent["DataFlare"] = "exit status 1"
    page = report.figures([result])
    assert page.count("###") == 1
    assert "| 2 | 9.00 | 9.00 |" in page
    assert "exit status 1" in page
