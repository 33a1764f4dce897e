"""Two runs on one state: the second is told who holds it, the first does not notice, and death lets go at once."""

from __future__ import annotations

import os
import signal
import socket
from typing import TYPE_CHECKING

import pytest

from tests.chaos.processes import Ended, begin, dataflare, end, ended, lines, run, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.chaos.processes import Process

WORKFLOW = """
id: held
runtime: {checkpoint: {interval: 50ms}, state: {type: sqlite, path: state}}
sources:
  made: {type: generator, config: {rows: null, rate: 40, columns: {id: sequence}}}
transformations:
  changed: {type: filter, inputs: [made], config: {condition: id >= 0}}
destinations:
  kept: {type: file, inputs: [changed], config: {path: out, format: jsonl}}
"""
FILTER = "type: filter, inputs: [made], config: {condition: id >= 0}"
PYTHON = r'type: python, inputs: [made], config: {code: "def process(row):\n    return row\n"}'


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[Process]:
    """Start a run without end, with a worker of its own, and wait until it has committed rows."""
    (tmp_path / "workflow.yaml").write_text(WORKFLOW.replace(FILTER, PYTHON))
    process = begin(tmp_path, "run", "workflow.yaml", "--json")
    try:
        wait_until(lambda: bool(lines(tmp_path / "out")), process)
        yield process
    finally:
        end(process)


def held(second: Ended, holder: Process) -> None:
    """Assert that a command was refused, and names the holder and the cure."""
    assert second.code == 3
    assert second.out == ""
    error = second.error
    assert error["code"] == "state.lease_held"
    assert f"process {holder.pid} on {socket.gethostname()}, since 20" in error["message"]
    assert "dataflare stop held" in error["hint"]
    assert "runtime.state.path" in error["hint"]


def exact(folder: Path) -> int:
    """Assert that what was published is the beginning of the sequence, once; return how much it is."""
    ids = sorted(r["id"] for r in lines(folder / "out"))
    assert ids == list(range(len(ids)))
    return len(ids)


def test_a_second_run_is_told_who_holds_the_state_and_the_first_does_not_notice(
    tmp_path: Path, holder: Process
) -> None:
    held(run(tmp_path), holder)
    held(dataflare(tmp_path, "checkpoint", "rollback", "workflow.yaml", "1", "--json"), holder)

    assert dataflare(tmp_path, "stop", "workflow.yaml").code == 0
    first = ended(holder)
    assert first.code == 0
    assert first.err == ""
    assert first.summary["status"] == "stopped"
    assert first.rows("kept")["out"] == exact(tmp_path)


def test_a_killed_holder_and_its_worker_let_go_at_once(tmp_path: Path, holder: Process) -> None:
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    before = exact(tmp_path)

    following = run(tmp_path, "--deadline", "1s")
    assert following.code == 0
    assert following.summary["more"] is True
    assert following.rows("kept")["out"] == exact(tmp_path) > before


def test_a_stale_note_in_the_lock_does_not_keep_anybody_out(tmp_path: Path) -> None:
    (tmp_path / "workflow.yaml").write_text(WORKFLOW.replace("rows: null, rate: 40", "rows: 10"))
    (tmp_path / "state").mkdir(mode=0o700)
    (tmp_path / "state" / "default%2Fheld.lock").write_text(f'{{"pid": {os.getpid()}, "host": "h", "start": "s"}}')

    assert run(tmp_path).code == 0
    assert exact(tmp_path) == 10
