"""Ctrl-C and SIGTERM at any moment: the run drains, the exit code says so, and the next run ends exactly."""

from __future__ import annotations

import random
import signal
import time
from typing import TYPE_CHECKING

import pytest

from tests.chaos.processes import begin, begin_anew, dataflare, end, ended, lines, press_ctrl_c, run, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.chaos.processes import Process

ROWS = 3000
WORKFLOW = f"""
id: drained
runtime: {{parallelism: 2, checkpoint: {{interval: 50ms}}, state: {{type: sqlite, path: state}}}}
sources:
  made:
    type: generator
    config: {{rows: {ROWS}, rate: 1500, partitions: 2, columns: {{id: sequence, odd: {{kind: int, min: 0, max: 9}}}}}}
transformations:
  per_digit: {{type: aggregate, inputs: [made], config: {{group_by: [odd], aggregations: {{n: count(*), s: sum(id)}}}}}}
destinations:
  kept: {{type: file, inputs: [made], config: {{path: out, format: jsonl}}}}
  counted: {{type: file, inputs: [per_digit], config: {{path: counts, format: jsonl}}}}
"""
SLOW = """
id: drained
runtime: {checkpoint: {interval: 50ms}, state: {type: sqlite, path: state}}
sources:
  made: {type: generator, config: {rows: 300, rate: 200, columns: {id: sequence}}}
transformations:
  slow:
    type: python
    inputs: [made]
    config:
      code: |
        import pathlib, time
        def process(row):
            if row["id"] == 100:
                pathlib.Path("at_work").touch()
                time.sleep(1.5)
            return row
destinations:
  kept: {type: file, inputs: [slow], config: {path: out, format: jsonl}}
"""


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Process]:
    """Start a run of two seconds, and wait until it has published rows."""
    (tmp_path / "workflow.yaml").write_text(WORKFLOW)
    process = begin(tmp_path, "run", "workflow.yaml", "--json")
    try:
        wait_until(lambda: bool(lines(tmp_path / "out")), process)
        yield process
    finally:
        end(process)


def exact(folder: Path) -> None:
    """Assert that every row is there once, and that the groups have counted every row once."""
    assert sorted(r["id"] for r in lines(folder / "out")) == list(range(ROWS))
    counted = lines(folder / "counts")
    assert sum(r["n"] for r in counted) == ROWS
    assert sum(r["s"] for r in counted) == ROWS * (ROWS - 1) // 2
    assert len(counted) == 10


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_drains_and_the_next_run_goes_on(
    tmp_path: Path, running: Process, number: signal.Signals, code: int
) -> None:
    running.send_signal(number)
    first = ended(running)

    assert first.code == code
    assert first.summary["status"] == "stopped"
    published = sorted(r["id"] for r in lines(tmp_path / "out"))
    assert first.rows("kept") == {"in": len(published), "out": len(published)}
    assert len(published) < ROWS
    assert not list((tmp_path / "out").glob(".staged*"))

    second = run(tmp_path)
    assert second.code == 0
    assert second.rows("made") == {"in": ROWS, "out": ROWS}
    exact(tmp_path)


def test_ctrl_c_does_not_reach_the_workers_that_drain(tmp_path: Path) -> None:
    (tmp_path / "workflow.yaml").write_text(SLOW)
    process = begin(tmp_path, "run", "workflow.yaml", "--json")
    try:
        wait_until((tmp_path / "at_work").exists, process)
        press_ctrl_c(process)
        first = ended(process)
    finally:
        end(process)

    assert first.code == 130
    assert first.err == ""
    assert 100 in {r["id"] for r in lines(tmp_path / "out")}
    assert run(tmp_path).code == 0
    assert sorted(r["id"] for r in lines(tmp_path / "out")) == list(range(300))


def test_a_second_signal_ends_at_once_and_nothing_is_lost(tmp_path: Path) -> None:
    (tmp_path / "workflow.yaml").write_text(SLOW)
    process = begin(tmp_path, "run", "workflow.yaml", "--json")
    try:
        wait_until((tmp_path / "at_work").exists, process)
        for _ in range(2):
            press_ctrl_c(process)
            time.sleep(0.2)
        first = ended(process)
    finally:
        end(process)

    assert first.code == 130
    assert "ended at once" in first.err
    assert run(tmp_path).code == 0
    assert sorted(r["id"] for r in lines(tmp_path / "out")) == list(range(300))


def test_signals_at_random_moments_leave_an_exact_result(tmp_path: Path) -> None:
    (tmp_path / "workflow.yaml").write_text(WORKFLOW)
    rng = random.Random(5)
    for _ in range(3):
        process = begin_anew(tmp_path, "run", "workflow.yaml", "--json")
        try:
            time.sleep(0.3 + rng.random() * 0.6)
            for number in rng.choices([signal.SIGINT, signal.SIGTERM], k=rng.randint(1, 2)):
                process.send_signal(number)
                time.sleep(rng.random() * 0.05)
            process.wait(60)
        finally:
            end(process)
        if process.returncode == 0:
            break
        assert process.returncode in (130, 143, -signal.SIGTERM, -signal.SIGINT)

    if process.returncode:
        assert run(tmp_path).code == 0
    exact(tmp_path)


def test_a_signal_to_a_run_that_is_complete_does_not_call_it_broken_off(tmp_path: Path) -> None:
    """A run that ends as `succeeded` exits with 0: with 130 its caller would begin all over again."""
    (tmp_path / "workflow.yaml").write_text(WORKFLOW.replace("rate: 1500, ", "") + "\n")
    process = begin(tmp_path, "run", "workflow.yaml", "--json")
    try:
        wait_until(lambda: bool(lines(tmp_path / "counts")), process)
        process.send_signal(signal.SIGINT)
        first = ended(process)
    finally:
        end(process)

    if first.out:  # a signal that comes between the end of the run and what is told of it leaves nothing to tell
        assert (first.code, first.summary["status"]) == (0, "succeeded")
    else:
        assert first.code in (130, -signal.SIGINT)
    exact(tmp_path)


def test_a_run_that_is_stopped_before_it_has_read_anything_has_not_failed(tmp_path: Path) -> None:
    (tmp_path / "workflow.yaml").write_text(WORKFLOW)
    first = run(tmp_path, "--deadline", "1ms")
    assert (first.code, first.summary["status"], first.summary["error"]) == (0, "stopped", None)
    assert first.rows("made") == {}

    assert run(tmp_path).code == 0
    exact(tmp_path)


def test_stop_without_a_run_says_so(tmp_path: Path) -> None:
    (tmp_path / "workflow.yaml").write_text(WORKFLOW)
    refused = dataflare(tmp_path, "stop", "workflow.yaml", "--json")
    assert refused.code == 3
    assert "dataflare run" in refused.error["hint"]
