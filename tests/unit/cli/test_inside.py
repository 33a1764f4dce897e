"""`top` and `tap`: what goes through a running workflow, and rows of a node, which never hold it up."""

from __future__ import annotations

import io
import json
import os
import pty
import signal
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from dataflare.batch import Batch, Encoded
from dataflare.cli.inside import Top
from dataflare.cli.main import main
from dataflare.clock import wait_blocking
from dataflare.executor.surroundings import StateOf
from dataflare.executor.watching import FORGET_SECONDS, Taps
from dataflare.testing.clock import ManualClock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WORKFLOW = """
id: flowing
runtime: {checkpoint: {interval: 100ms}}
sources:
  made:
    type: generator
    mode: streaming
    tags: {name: pii}
    config: {rows: null, rate: 2000, columns: {id: sequence, name: [Ann, Bob]}}
transformations:
  even: {type: filter, inputs: [made], config: {condition: "id % 2 = 0"}}
  few: {type: filter, inputs: [even], config: {condition: "id % 4 = 0"}}
  hidden: {type: mask, inputs: [few], config: {rules: {pii: {method: redact}}}}
destinations:
  out: {type: file, inputs: [hidden], config: {path: out, format: jsonl}}
"""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    file = tmp_path_factory.mktemp("flowing") / "flowing.yaml"
    file.write_text(WORKFLOW)
    command = [sys.executable, "-m", "dataflare.cli", "run", str(file), "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            for _ in range(3000):
                if process.poll() is not None or any((file.parent / "out").glob("*.jsonl")):
                    break
                wait_blocking(0.01)
            assert process.poll() is None, process.communicate()
            yield file
        finally:
            process.kill()


def test_top_tells_what_goes_through_each_node(running: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["top", str(running), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["workflow"], told["status"], told["attempt"]) == ("flowing", "running", 1)
    nodes = {node["node"]: node for node in told["nodes"]}
    assert list(nodes) == ["made", "even", "few", "hidden", "out"]
    assert nodes["made"]["rows_out"] >= nodes["even"]["rows_in"] > nodes["even"]["rows_out"] > 0
    assert nodes["made"]["rows_per_second"] > 0
    assert all(0 <= node[share] <= 1 for node in nodes.values() for share in ("busy", "blocked"))
    state = str(running.parent / ".dataflare")
    assert main(["top", "--state", state, "--once"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("flowing  running  attempt 1")
    assert out.splitlines()[1].split()[:3] == ["node", "kind", "tasks"]
    assert [line.split()[0] for line in out.splitlines()[2:7]] == ["made", "even", "few", "hidden", "out"]


def test_rates_are_those_since_the_look_before(running: Path) -> None:
    top = Top(StateOf("", {"path": str(running.parent / ".dataflare")}, running.parent), io.StringIO())
    top.look()
    assert top.told("flowing")["nodes"][0]["rows_per_second"] == 0
    wait_blocking(0.5)
    top.look()
    assert top.told("flowing")["nodes"][0]["rows_per_second"] > 0
    assert len(top.samples["flowing"]) == 2


def test_rows_of_a_node_are_tapped_and_what_is_tagged_is_hidden(
    running: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["tap", str(running), "few", "--rows", "5", "--rate", "10"]) == 0
    out, err = capsys.readouterr()
    rows = [json.loads(line) for line in out.splitlines()]
    assert len(rows) == 5
    assert all(row["id"] % 4 == 0 and row["name"] == "***" for row in rows)
    assert "more rows went by" in err
    assert main(["tap", str(running), "out", "--rows", "1", "--json"]) == 0
    out, err = capsys.readouterr()
    assert set(json.loads(out)) == {"id", "name"}
    assert json.loads(err)["passed_by"] >= 0


@pytest.mark.parametrize(
    ("node", "said", "cure"),
    [
        ("fwe", "there is no node 'fwe'", "made, even, few"),
        ("even", "runs in one statement with 'few'", "tap few"),
        ("few.big", "does not name one output of 'few'", "tap one of few"),
    ],
)
def test_what_cannot_be_tapped_is_said(
    node: str, said: str, cure: str, running: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["tap", str(running), node]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert cure in err


def test_where_nothing_runs_that_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["top", "--state", str(tmp_path)]) == 3
    assert "no workflow runs on" in capsys.readouterr().err
    assert main(["tap", "w", "n", "--state", str(tmp_path)]) == 3


def test_ctrl_c_leaves_the_terminal_as_it_was(running: Path) -> None:
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "dataflare.cli", "top", str(running)]
    with subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, start_new_session=True) as process:
        os.close(slave)
        shown = b""
        while b"hidden" not in shown:  # the name of a node: it is drawn
            shown += os.read(master, 4096)
        process.send_signal(signal.SIGINT)
        with suppress(OSError):  # the other end is closed
            while more := os.read(master, 4096):
                shown += more
        assert process.wait(30) == 0
    os.close(master)
    assert shown.rfind(b"\x1b[?25h") > shown.rfind(b"\x1b[?25l"), "the cursor is hidden"


def test_ctrl_c_ends_a_tap_with_what_it_has_to_say(running: Path) -> None:
    command = [sys.executable, "-m", "dataflare.cli", "tap", str(running), "few", "--rate", "1"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, start_new_session=True, text=True, **pipes) as process:
        assert process.stdout is not None
        assert "id" in json.loads(process.stdout.readline())
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 0
    assert "more rows went by" in err


def batch(rows: int) -> Batch:
    return Batch(pa.table({"n": list(range(rows))}))


def test_a_tap_keeps_no_more_than_it_was_asked_for() -> None:
    taps = Taps(ManualClock())
    taps.offer("a", "", batch(3))  # nobody looks
    assert taps.take("a", "", 4) == ([], 0)
    taps.offer("a", "", batch(3))
    taps.offer("a", "", batch(3))
    taps.offer("a", "errors", batch(3))
    taps.offer("a", "", Batch(Encoded([b"{}\n"], "jsonl", 2)))
    tables, passed = taps.take("a", "", 4)
    assert [t.num_rows for t in tables] == [3, 1]
    assert passed == 4
    assert taps.take("a", "", 4) == ([], 0)


def test_a_tap_that_nobody_asks_for_is_taken_off() -> None:
    clock = ManualClock()
    taps = Taps(clock)
    taps.take("a", "", 4)
    clock.advance(FORGET_SECONDS + 1)
    taps.offer("a", "", batch(3))
    assert not taps._taps
