"""kill -9 of a process that keeps a folder of workflows, at any moment: each run is begun once, and complete once."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

from tests.chaos.processes import begin, dataflare, end, ended, lines, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.chaos.processes import Process

RUNS = 12
ROWS = 20
KILLS = 8
TIMED = f"""
id: timed
runtime: {{parallelism: 2, checkpoint: {{interval: 50ms}}, state: {{type: sqlite, path: state}}}}
sources:
  made: {{type: generator, config: {{rows: {ROWS}, partitions: 2, rate: 100, columns: {{id: sequence}}}}}}
destinations:
  out: {{type: file, inputs: [made], config: {{path: timed, format: jsonl}}}}
schedule:
  {{type: interval, interval: 1s, missed: all, overlap: queue, start_date: "START", end_date: "END"}}
"""
FOLLOWING = f"""
id: following
runtime: {{checkpoint: {{interval: 50ms}}, state: {{type: sqlite, path: state}}}}
sources:
  made: {{type: generator, config: {{rows: {ROWS}, columns: {{id: sequence}}}}}}
destinations:
  out: {{type: file, inputs: [made], config: {{path: following, format: jsonl}}}}
schedule: {{type: event, after: {{workflow: timed}}, missed: all, overlap: queue}}
"""
ENDLESS = """
id: endless
runtime: {checkpoint: {interval: 50ms}, state: {type: sqlite, path: state}}
sources:
  made: {type: generator, mode: streaming, config: {rows: null, rate: 200, columns: {id: sequence}}}
destinations:
  out: {type: file, inputs: [made], config: {path: endless, format: jsonl}}
"""


def history(folder: Path, workflow: str) -> list[dict[str, object]]:
    """Return the runs of a workflow, oldest first."""
    found = dataflare(folder, "history", workflow, "--state", "state", "--last", "1000", "--json")
    return [json.loads(line) for line in found.out.splitlines()]


def keep(folder: Path) -> Process:
    """Keep the folder in a process of its own."""
    return begin(folder, "run", ".", "--log", "json")


def test_a_process_that_is_killed_at_any_moment_begins_each_run_once(tmp_path: Path) -> None:
    start = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=5)
    planned = [start + timedelta(seconds=n) for n in range(RUNS)]
    text = TIMED.replace("START", start.isoformat()).replace("END", planned[-1].isoformat())
    (tmp_path / "timed.yaml").write_text(text)
    (tmp_path / "following.yaml").write_text(FOLLOWING)
    rng = random.Random(5)
    for number in range(KILLS):
        process = keep(tmp_path)
        try:
            if number == 0:  # so that both schedules are taken up before anything is due
                wait_until(lambda: bool(list((tmp_path / "timed").glob("part-*"))), process)
            else:
                time.sleep(0.5 + rng.random())
            os.killpg(process.pid, signal.SIGKILL)
        finally:
            end(process)
    process = keep(tmp_path)
    try:
        all_ended = [RUNS, RUNS]
        wait_until(lambda: _ended(tmp_path) == all_ended, process)
        process.send_signal(signal.SIGINT)
        assert ended(process).code == 130
    finally:
        end(process)
    runs = history(tmp_path, "timed")
    assert [run["run"] for run in runs] == [f"{p:%Y-%m-%dT%H:%M:%SZ}" for p in planned]
    followed = history(tmp_path, "following")
    assert len({run["run"] for run in followed}) == RUNS
    for name, found in (("timed", runs), ("following", followed)):
        assert {run["status"] for run in found} == {"succeeded"}
        ids = [row["id"] for row in lines(tmp_path / name)]
        assert sorted(ids) == sorted(list(range(ROWS)) * RUNS), name
    assert max(int(str(run["tries"])) for run in runs) > 1, "no run was killed under way"


def _ended(folder: Path) -> list[int]:
    """Count the runs that nobody goes on with: those of a killed process are "interrupted" until they are taken up."""
    going = ("running", "interrupted")
    return [sum(r["status"] not in going for r in history(folder, name)) for name in ("timed", "following")]


def test_ctrl_c_drains_all_that_run_and_the_next_process_goes_on(tmp_path: Path) -> None:
    (tmp_path / "endless.yaml").write_text(ENDLESS)
    (tmp_path / "other.yaml").write_text(ENDLESS.replace("endless", "other"))
    seen = 0
    for number in (signal.SIGINT, signal.SIGTERM):
        process = begin(tmp_path, "run", ".")
        try:
            wait_until(partial(_have_more_than, tmp_path, 20 + seen), process)
            process.send_signal(number)
            done = ended(process)
        finally:
            end(process)
        assert done.code == 128 + number
        assert "endless   ended" in done.out
        assert done.err == ""
        found = [[row["id"] for row in lines(tmp_path / n)] for n in ("endless", "other")]
        assert all(sorted(ids) == list(range(len(ids))) for ids in found)
        seen = max(map(len, found))
        assert [run["status"] for run in history(tmp_path, "other")][-1] == "stopped"


def _have_more_than(folder: Path, rows: int) -> bool:
    return all(len(lines(folder / name)) > rows for name in ("endless", "other"))


def test_a_second_ctrl_c_ends_a_folder_at_once(tmp_path: Path) -> None:
    (tmp_path / "endless.yaml").write_text(ENDLESS)
    (tmp_path / "stuck.yaml").write_text(
        ENDLESS.replace("endless", "stuck").replace("inputs: [made]", "inputs: [slow]").replace(
            "destinations:",
            "transformations:\n  slow:\n    type: python\n    inputs: [made]\n    config:\n      timeout: 300s\n"
            "      code: |\n        import pathlib, time\n        def process(row):\n"
            "            pathlib.Path('at_work').touch()\n            time.sleep(200)\n            return row\n"
            "destinations:",
        )
    )  # fmt: skip
    process = begin(tmp_path, "run", ".")
    try:
        wait_until(lambda: (tmp_path / "at_work").exists() and len(lines(tmp_path / "endless")) > 1, process)
        process.send_signal(signal.SIGINT)
        wait_until(lambda: [r["status"] for r in history(tmp_path, "endless")] == ["stopped"], process)
        process.send_signal(signal.SIGINT)
        done = ended(process)
    finally:
        end(process)
    assert done.code == 130
    assert "ended at once" in done.err


def test_a_run_of_a_folder_is_controlled_as_any_other(tmp_path: Path) -> None:
    (tmp_path / "endless.yaml").write_text(ENDLESS)
    (tmp_path / "other.yaml").write_text(ENDLESS.replace("endless", "other"))
    process = begin(tmp_path, "run", ".")
    try:
        wait_until(lambda: all(lines(tmp_path / n) for n in ("endless", "other")), process)
        assert dataflare(tmp_path, "pause", "endless", "--state", "state").code == 0
        statuses = [json.loads(x) for x in dataflare(tmp_path, "status", "--state", "state", "--json").out.splitlines()]
        assert {s["workflow"]: s["status"] for s in statuses} == {"endless": "paused", "other": "running"}
        for name in ("endless", "other"):
            assert dataflare(tmp_path, "stop", name, "--state", "state").code == 0
        assert ended(process).code == 0  # nothing is left to keep
    finally:
        end(process)
