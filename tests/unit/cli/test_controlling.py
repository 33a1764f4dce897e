"""A running workflow answers `status`, `pause`, `resume`, `checkpoint now` and `stop`, and drains at a signal."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from dataflare.cli.main import main
from dataflare.clock import wait_blocking

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

ENDLESS = '''\
"""Counts for ever."""
from dataflare import Batch, Config, SourceConnector, Split, Stream, source
from dataflare.clock import wait_blocking
from dataflare.schema import Schema

NUMBERS = Schema.of({"n": "int64"})

@source("endless", replay="exact", examples=[{}])
class Endless(SourceConnector[Config]):
    """Counts for ever."""

    def declared(self):
        return {"": Stream(NUMBERS)}

    def splits(self, since):
        return [Split("numbers")]

    def read(self, split, since, until):
        import pyarrow as pa
        n = since["n"] if since else 0
        while True:
            wait_blocking(0.005)
            n += 1
            yield Batch(pa.table({"n": pa.array([n], pa.int64())}), position={"n": n})
'''
WORKFLOW = """\
id: counting
runtime: {checkpoint: {interval: 50ms}}
sources: {numbers: {type: "python:endless:Endless"}}
destinations: {out: {type: file, inputs: [numbers], config: {path: out, format: jsonl}}}
"""


def until(reached: Callable[[], bool]) -> None:
    for _ in range(3000):
        if reached():
            return
        wait_blocking(0.01)
    pytest.fail("it never came so far")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "endless.py").write_text(ENDLESS)
    (tmp_path / "counting.yaml").write_text(WORKFLOW)
    return tmp_path / "counting.yaml"


@pytest.fixture
def running(file: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "dataflare.cli", "run", str(file), "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            until(lambda: process.poll() is not None or any((file.parent / "out").glob("*.jsonl")))
            assert process.poll() is None, process.communicate()
            yield process
        finally:
            process.kill()


def said(capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def numbers(file: Path) -> list[int]:
    lines = [line for path in (file.parent / "out").glob("*.jsonl") for line in path.read_text().splitlines()]
    return sorted(json.loads(line)["n"] for line in lines)


def test_a_running_workflow_is_controlled(
    file: Path, running: subprocess.Popen[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["status", str(file), "--json"]) == 0
    assert said(capsys)["status"] == "running"
    assert main(["pause", str(file), "--json"]) == 0
    paused = said(capsys)
    assert paused == {
        "workflow": "counting",
        "done": "pause",
        "status": "paused",
        "attempt": 1,
        "epoch": paused["epoch"],
    }
    assert main(["status", str(file), "--json"]) == 0
    assert said(capsys)["status"] == "paused"
    assert main(["resume", str(file), "--json"]) == 0
    resumed = said(capsys)
    assert [resumed[key] for key in ("done", "status")] == ["resume", "running"]
    assert main(["checkpoint", "now", str(file), "--json"]) == 0
    first = said(capsys)
    assert main(["checkpoint", "now", "counting", "--state", str(file.parent / ".dataflare"), "--json"]) == 0
    assert said(capsys)["epoch"] > first["epoch"]
    assert main(["stop", str(file), "--json"]) == 0
    stopped = said(capsys)
    assert [stopped[key] for key in ("workflow", "done", "status", "attempt")] == ["counting", "stop", "stopping", 1]
    assert stopped["epoch"] > first["epoch"]

    out, err = running.communicate(timeout=60)
    line = json.loads(out.splitlines()[-1])
    assert (running.returncode, line["status"], line["error"], err) == (0, "stopped", None, "")
    assert numbers(file) == list(range(1, line["nodes"]["numbers"]["rows_out"] + 1))
    assert main(["status", str(file), "--json"]) == 0
    assert said(capsys)["status"] == "stopped"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_drains_the_run_and_the_next_goes_on(
    file: Path, running: subprocess.Popen[str], number: int, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    running.send_signal(number)
    out, err = running.communicate(timeout=60)
    line = json.loads(out.splitlines()[-1])
    assert (running.returncode, line["status"], err) == (code, "stopped", "")
    before = numbers(file)
    assert before == list(range(1, line["nodes"]["numbers"]["rows_out"] + 1))

    assert main(["run", str(file), "--deadline", "200ms", "--json"]) == 0
    again = said(capsys)
    assert (again["status"], again["more"]) == ("stopped", True)
    assert len(numbers(file)) > len(before)
    assert numbers(file) == list(range(1, len(numbers(file)) + 1))


def test_a_killed_run_leaves_a_socket_that_nobody_answers_and_goes_on_later(
    file: Path, running: subprocess.Popen[str], capsys: pytest.CaptureFixture[str]
) -> None:
    running.kill()
    running.communicate()
    assert (file.parent / ".dataflare" / "counting.sock").exists()
    assert main(["status", str(file), "--json"]) == 0
    assert said(capsys)["status"] == "stopped"
    assert main(["run", str(file), "--deadline", "200ms"]) == 0
    assert "there is more to read" in capsys.readouterr().out
    assert numbers(file) == list(range(1, len(numbers(file)) + 1))


def test_ctrl_c_before_anything_runs_ends_at_once_and_without_a_word(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(
        "import pathlib, threading\npathlib.Path(__file__).with_name('planning').touch()\nthreading.Event().wait(60)\n"
    )
    (tmp_path / "slow.yaml").write_text(WORKFLOW.replace("endless:Endless", "slow:Slow"))
    command = [sys.executable, "-m", "dataflare.cli", "run", str(tmp_path / "slow.yaml")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        until(lambda: process.poll() is not None or (tmp_path / "planning").exists())
        process.send_signal(signal.SIGINT)
        told = process.communicate(timeout=60)
    assert (process.returncode, *told) == (130, "", "")


def test_the_rate_of_a_run_that_goes_on_is_that_of_its_own_rows(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        assert main(["run", str(file), "--deadline", "300ms"]) == 0
    text = capsys.readouterr().out.splitlines()
    rows = [line.split() for line in text if line.startswith("numbers")]
    seconds = [float(line.split(" in ")[1].split(" s,")[0]) for line in text if line.startswith("counting")]
    read = [int(row[3].replace(",", "")) for row in rows]
    assert read[1] > read[0]
    rate = int(rows[1][-1].replace(",", ""))
    assert rate * seconds[1] == pytest.approx(read[1] - read[0], rel=0.05)
