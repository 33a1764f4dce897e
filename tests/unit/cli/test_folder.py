"""`run DIR`: many workflows in one process, each on its own; what it says; `history`; `trigger`."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console

from dataflare.cli.board import Board
from dataflare.cli.main import main
from dataflare.monitoring.events import NodeProgressed, RunBegun
from dataflare.operate.history import RunRecord
from dataflare.operate.upkeep import Standing
from dataflare.testing.clock import ManualClock
from dataflare.workflow.folder import workflow_files

if TYPE_CHECKING:
    from pathlib import Path

TEXT = """
id: {name}
sources:
  made: {{type: generator, config: {{rows: {rows}, columns: {{id: sequence}}}}}}
destinations:
  out: {{type: file, inputs: [made], config: {{path: out-{name}, format: jsonl}}}}
"""
ONCE = "schedule: {type: once}\n"

STUCK = """
import time
from pathlib import Path
from dataflare import Batch, Config, Field, Schema, SourceConnector, Split, Stream, source

class StuckConfig(Config):
    wait_for: str = Field(description="A folder.")

@source("stuck", replay="exact", examples=[{"wait_for": "x"}])
class Stuck(SourceConnector[StuckConfig]):
    '''Holds up its event loop until a file comes.'''

    def declared(self):
        return {"": Stream(Schema.of({"id": "int64"}))}

    def splits(self, since):
        return [] if since else [Split("one")]

    async def read(self, split, since, until):
        deadline = time.monotonic() + 60
        while not list(Path(self.config.wait_for).glob("part-*")):
            assert time.monotonic() < deadline, "held up by the one that it waits for"
            time.sleep(0.01)
        yield Batch.of([{"id": 1}], position={"read": 1})
"""


def write(folder: Path, name: str, more: str = "", rows: int = 5) -> Path:
    file = folder / f"{name}.yaml"
    file.write_text(TEXT.format(name=name, rows=rows) + more)
    return file


def rows_out(folder: Path, name: str) -> int:
    return sum(len(p.read_text().splitlines()) for p in (folder / f"out-{name}").glob("part-*.jsonl"))


def runs(folder: Path, capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, Any]]:
    """Return what `history --json` says."""
    capsys.readouterr()
    assert main(["history", *arguments, "--state", str(folder / ".dataflare"), "--json"]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_a_folder_is_run_in_one_process_and_all_runs_are_in_the_history(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, "plain", rows=7)
    write(tmp_path, "once", ONCE)
    assert main(["run", str(tmp_path)]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "plain  succeeded, 7 rows read, 7 rows written" in out
    assert [line.split()[:2] for line in out.splitlines()[-2:]] == [["once", "ended"], ["plain", "ended"]]
    assert (rows_out(tmp_path, "plain"), rows_out(tmp_path, "once")) == (7, 5)
    found = {run["workflow"]: run for run in runs(tmp_path, capsys)}
    assert {name: (run["status"], run["trigger"]) for name, run in found.items()} == {
        "plain": ("succeeded", "start"),
        "once": ("succeeded", "once"),
    }
    assert found["plain"]["rows"] == {"read": 7, "written": 7, "dead": 0}


def test_what_is_due_once_is_run_once_and_what_has_no_schedule_each_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, "plain")
    write(tmp_path, "once", ONCE)
    for _ in range(2):
        assert main(["run", str(tmp_path)]) == 0
    assert (rows_out(tmp_path, "plain"), rows_out(tmp_path, "once")) == (10, 5)
    assert len(runs(tmp_path, capsys, "once")) == 1
    assert len(runs(tmp_path, capsys)) == 3
    assert [run["number"] for run in runs(tmp_path, capsys, "plain", "--last", "1")] == [2]


def test_one_that_fails_or_is_wrong_does_not_keep_others_from_being_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, "good")
    bad = write(tmp_path, "bad")
    bad.write_text(bad.read_text().replace("type: generator", "type: file").replace("rows: 5, columns", "path: no.csv"))
    bad.write_text(bad.read_text().replace(": {id: sequence}", ", columns: {id: int64}"))
    assert main(["run", str(tmp_path)]) == 1
    assert "bad  failed: " in capsys.readouterr().out
    wrong = write(tmp_path, "wrong")
    wrong.write_text(wrong.read_text().replace("format: jsonl", "fromat: jsonl"))
    (tmp_path / "torn.yaml").write_text("sources: {")
    assert main(["run", str(tmp_path)]) == 2
    out, err = capsys.readouterr()
    assert "wrong.yaml" in err
    assert "torn.yaml" in err
    assert rows_out(tmp_path, "good") == 10
    statuses = {run["workflow"]: run["status"] for run in runs(tmp_path, capsys)}
    assert statuses == {"good": "succeeded", "bad": "failed"}
    assert [run["workflow"] for run in runs(tmp_path, capsys, "--status", "failed")] == ["bad", "bad"]
    assert "wrong" not in out


def test_one_that_blocks_its_event_loop_holds_up_no_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, "good", ONCE)
    (tmp_path / "components_that_wait.py").write_text(STUCK)
    stuck = write(tmp_path, "a-stuck")
    text = stuck.read_text().replace("type: generator", "type: python:components_that_wait:Stuck")
    stuck.write_text(text.replace("rows: 5, columns: {id: sequence}", f"wait_for: '{tmp_path / 'out-good'}'"))
    assert main(["run", str(tmp_path)]) == 0, capsys.readouterr()
    assert (rows_out(tmp_path, "good"), rows_out(tmp_path, "a-stuck")) == (5, 1)


def test_two_files_with_one_id_are_told_and_the_first_is_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = write(tmp_path, "first")
    (tmp_path / "second.yaml").write_text(first.read_text())
    assert main(["run", str(tmp_path)]) == 2
    err = capsys.readouterr().err
    assert "first.yaml has the id 'first', too" in err
    assert "second.yaml" in err
    assert rows_out(tmp_path, "first") == 5


def test_one_that_another_process_runs_is_refused_and_leaves_no_run_behind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from dataflare.state.sqlite import SqliteStore, SqliteStoreConfig

    write(tmp_path, "free")
    write(tmp_path, "held")
    write(tmp_path, "kept", ONCE)
    store = SqliteStore(SqliteStoreConfig(path=str(tmp_path / ".dataflare")))
    store.open()
    store.lease("default/held")
    store.lease("default/schedule/kept")
    assert main(["run", str(tmp_path)]) == 3
    store.close()
    out, err = capsys.readouterr()
    assert "held: default/held is running already" in err
    assert "kept: another process keeps the schedule of kept: process" in err
    assert [line.split()[:2] for line in out.splitlines()[-3:]] == [
        ["free", "ended"],
        ["held", "refused"],
        ["kept", "refused"],
    ]
    assert [run["workflow"] for run in runs(tmp_path, capsys)] == ["free"]


def test_events_and_the_last_word_are_json_where_it_is_wanted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, "plain")
    assert main(["run", str(tmp_path), "--json"]) == 0
    begun, ended, last = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert (begun["event"], begun["workflow"], begun["run"]) == ("begun", "plain", "")
    assert (ended["event"], ended["status"]) == ("ended", "succeeded")
    assert ended["rows"] == {"read": 5, "written": 5, "dead": 0}
    assert (last["workflow"], last["status"], last["error"]) == ("plain", "ended", None)
    assert last["last"]["status"] == "succeeded"


def test_the_log_tells_the_events_of_all(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, "one")
    write(tmp_path, "two")
    assert main(["run", str(tmp_path), "--log", "json"]) == 0
    events = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    ended = {e["workflow"] for e in events if e["event"] == "epoch_committed"}
    assert ended == {"one", "two"}


@pytest.mark.parametrize("option", [["--run-id", "x"], ["--until", "now"], ["--deadline", "5s"]])
def test_what_is_said_of_one_run_does_not_fit_a_folder(
    option: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, "plain")
    assert main(["run", str(tmp_path), *option]) == 2
    assert f"{option[0]} is for one workflow" in capsys.readouterr().err


def test_a_folder_without_workflows_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", str(tmp_path)]) == 2
    assert "there is no workflow file in" in capsys.readouterr().err


def test_a_secret_in_an_error_is_hidden_in_what_is_said_and_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOP_FOLDER", "pssst-hidden")
    file = write(tmp_path, "hush", "secrets: {shop: {type: env, prefix: SHOP_}}\n")
    text = file.read_text().replace("type: generator", "type: file")
    file.write_text(
        text.replace("rows: 5, columns: {id: sequence}", "path: '${secret:shop/FOLDER}.csv', columns: {id: int64}")
    )
    assert main(["run", str(tmp_path)]) == 1
    out, err = capsys.readouterr()
    assert "hush  failed" in out
    assert "pssst" not in out + err + json.dumps(runs(tmp_path, capsys))


def test_workflow_files_are_told_from_others(tmp_path: Path) -> None:
    names = [write(tmp_path, "one").name]
    (tmp_path / "two.json").write_text('{"id": "two", \n"sources": {}}')
    (tmp_path / "rows.json").write_text('[{"sources": 1}]')
    (tmp_path / "other.yaml").write_text("services: {}\n")
    (tmp_path / ".hidden.yaml").write_text("sources: {}\n")
    (tmp_path / "one.test.yaml").write_text("sources: {}\n")
    (tmp_path / "old.yml").write_text("id: old\nsinks: {}\n")
    assert [f.name for f in workflow_files(tmp_path)] == ["old.yml", *names, "two.json"]


def test_a_run_by_hand_is_in_the_history_and_one_that_was_killed_was_interrupted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from dataflare.operate.history import History
    from dataflare.security.codec import Codec
    from dataflare.state.sqlite import SqliteStore, SqliteStoreConfig

    file = write(tmp_path, "plain")
    assert main(["run", str(file), "--run-id", "monday"]) == 0
    store = SqliteStore(SqliteStoreConfig(path=str(tmp_path / ".dataflare")))
    store.open()
    History(store, Codec(), "plain").begin(RunRecord(0, "", "command", began=1))
    store.close()
    by_hand, killed = sorted(runs(tmp_path, capsys, str(file)), key=lambda run: run["number"])
    assert (by_hand["run"], by_hand["trigger"], by_hand["status"]) == ("monday", "command", "succeeded")
    assert killed["status"] == "interrupted"
    assert main(["history", str(file), "--status", "interrupted"]) == 0
    assert "interrupted" in capsys.readouterr().out


def test_the_status_of_a_workflow_tells_its_last_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, "once", ONCE)
    assert main(["run", str(tmp_path)]) == 0
    capsys.readouterr()
    assert main(["status", "--state", str(tmp_path / ".dataflare"), "--json"]) == 0
    status = json.loads(capsys.readouterr().out)
    assert (status["status"], status["last_run"], status["next_run"]) == ("finished", "succeeded", None)


def test_a_status_of_runs_that_there_is_not_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["history", "--status", "sleeping"]) == 2
    assert "one of running" in capsys.readouterr().err


def test_an_event_is_published_where_there_is_a_state(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = ["--state", str(tmp_path / ".dataflare")]
    assert main(["trigger", "loaded", *state]) == 3
    write(tmp_path, "plain")
    assert main(["run", str(tmp_path)]) == 0
    capsys.readouterr()
    assert main(["trigger", "loaded", *state, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"event": "loaded", "number": 1}


class Scheduled:
    """A scheduler with standings, and nothing else."""

    def __init__(self, *standings: Standing) -> None:
        self.standings = list(standings)


def test_the_board_shows_what_each_does(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = ManualClock()
    board = Board(clock, io.StringIO())
    last = RunRecord(1, "r", "cron", "failed", began=0, ended=60_000_000, rows={"read": 9})
    standings = [Standing("orders", "running"), Standing("nightly", "waiting", next=120_000_000, record=last)]
    board.watch(Scheduled(*standings))  # type: ignore[arg-type]
    board(RunBegun("orders", "r", "cron", 1))
    board.rates()
    board(NodeProgressed("orders", "made", 0, 500))
    clock.advance(1)
    lines = shown(board)
    assert lines[1:] == [
        "orders running 500 500",
        "nightly waiting 9 failed 1970-01-01 00:01:00 1970-01-01 00:02:00",
    ]
    board(RunBegun("orders", "s", "cron", 1))
    assert board.rows()["orders"] == 0
    monkeypatch.setenv("LINES", "6")
    many = [Standing(f"w{n}", "waiting") for n in range(10)]
    board.watch(Scheduled(*many, Standing("busy", "running")))  # type: ignore[arg-type]
    assert shown(board)[1:] == ["busy running 0", "w0 waiting", "w1 waiting", "and 8 more; see: dataflare status"]


def shown(board: Board) -> list[str]:
    console = Console(file=io.StringIO(), width=120, record=True)
    console.print(board.render())
    return [" ".join(line.split()) for line in console.export_text().splitlines()]
