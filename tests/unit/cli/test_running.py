"""`run`: its summary, its line of JSON, its exit codes, and what it keeps silent about."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from tests.unit.cli.workflows import BROKEN, VALID, workflow_in

from dataflare.cli.main import main
from dataflare.cli.running import warning_of
from dataflare.monitoring.events import AttemptFailed, EpochSealed, Noticed
from dataflare.state.sqlite import SqliteStore, SqliteStoreConfig

if TYPE_CHECKING:
    from pathlib import Path

KEYS = [
    *("workflow", "status", "epochs", "elapsed_seconds", "cpu_seconds", "rss_bytes_max"),
    *("nodes", "guarantees", "error"),
]


def rows_out(folder: Path) -> list[int]:
    lines = [line for path in sorted((folder / "out").glob("*.jsonl")) for line in path.read_text().splitlines()]
    return sorted(json.loads(line)["id"] for line in lines)


def test_a_run_prints_its_summary_and_nothing_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", str(workflow_in(tmp_path))]) == 0
    out, err = capsys.readouterr()
    lines = [line.split() for line in out.splitlines()]
    assert lines[0][:2] == ["orders", "succeeded"]
    assert ["paid", "processor", "filter", "10", "5", "5"] in [line[:6] for line in lines]
    assert lines[-1] == ["exactly_once:", "out", "(two_phase)"]
    assert err == ""
    assert rows_out(tmp_path) == [1, 3, 5, 7, 9]


def test_the_json_of_run_has_the_documented_shape(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", str(workflow_in(tmp_path)), "--json"]) == 0
    out, err = capsys.readouterr()
    line = json.loads(out.splitlines()[-1])
    assert list(line) == KEYS
    assert (line["workflow"], line["status"], line["error"]) == ("orders", "succeeded", None)
    assert line["nodes"]["paid"]["rows_in"] == 10
    assert line["nodes"]["paid"]["rows_filtered"] == 5
    assert line["guarantees"]["out"]["level"] == "exactly_once"
    assert line["rss_bytes_max"] > 10 << 20
    assert line["cpu_seconds"] > 0
    assert err == ""


def test_the_log_is_json_on_stderr(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", str(workflow_in(tmp_path)), "--log", "json"]) == 0
    out, err = capsys.readouterr()
    events = [json.loads(line)["event"] for line in err.splitlines()]
    assert events[0] == "run_started"
    assert events[-1] == "run_ended"
    assert "epoch_committed" in events
    assert out.startswith("orders succeeded")


def test_a_wrong_workflow_is_not_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", str(workflow_in(tmp_path, BROKEN)), "--json"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert {json.loads(line)["line"] for line in err.splitlines()} == {10, 17}
    assert not (tmp_path / ".dataflare").exists()


def test_wrong_data_fails_the_run_with_place_and_exit_code_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = workflow_in(tmp_path)
    with (tmp_path / "orders.csv").open("a") as data:
        data.write("11,many\n")
    assert main(["run", str(file), "--json"]) == 1
    out, err = capsys.readouterr()
    line = json.loads(out.splitlines()[-1])
    assert (line["status"], line["error"]["severity"]) == ("failed", "error")
    assert json.loads(err.splitlines()[-1]) == line["error"]
    assert rows_out(tmp_path) == []


def test_a_workflow_that_runs_already_is_refused_with_exit_code_3(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = workflow_in(tmp_path)
    store = SqliteStore(SqliteStoreConfig(path=str(tmp_path / ".dataflare")))
    store.open()
    store.lease("default/orders")
    assert main(["run", str(file)]) == 3
    store.close()
    err = capsys.readouterr().err
    assert "is running already: process" in err
    assert "dataflare stop orders" in err


def test_a_state_store_with_wrong_settings_is_the_workflows_fault(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = VALID.replace("runtime: {", "runtime: {state: {type: sqlite, pth: x}, ")
    assert main(["run", str(workflow_in(tmp_path, text))]) == 2
    assert "pth" in capsys.readouterr().err


def test_a_named_run_that_is_complete_succeeds_at_once_and_does_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = workflow_in(tmp_path)
    for name, rows in (("monday", 5), ("monday", 5), ("tuesday", 10), ("tuesday", 10)):
        assert main(["run", str(file), "--run-id", name, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["status"] == "succeeded"
        assert len(rows_out(tmp_path)) == rows


def test_a_run_that_committed_nothing_shows_no_empty_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = workflow_in(tmp_path)
    (tmp_path / "orders.csv").write_text("id,amount\n1,many\n")
    assert main(["run", str(file)]) == 1
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_no_other_end_than_now_is_known(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", str(workflow_in(tmp_path)), "--until", "noon"]) == 2
    assert "--until now" in capsys.readouterr().err


def test_a_bounded_source_is_read_whole_until_now(tmp_path: Path) -> None:
    assert main(["run", str(workflow_in(tmp_path)), "--until", "now", "--json"]) == 0
    assert rows_out(tmp_path) == [1, 3, 5, 7, 9]


def test_a_deadline_without_a_unit_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", str(workflow_in(tmp_path)), "--deadline", "30"]) == 2
    assert "--deadline" in capsys.readouterr().err


def test_state_in_memory_leaves_nothing_behind(tmp_path: Path) -> None:
    file = workflow_in(tmp_path, VALID.replace("runtime: {", "runtime: {state: {type: memory}, "))
    assert main(["run", str(file)]) == 0
    assert {p.name for p in tmp_path.iterdir()} == {"orders.csv", "orders.yaml", "out"}


LEAKY = '''\
"""Tells its password to everybody."""
from dataflare import Config, Field, SourceConnector, Split, Stream, source
from dataflare.monitoring.events import Noticed
from dataflare.schema import Schema

class LeakyConfig(Config):
    """Settings."""
    password: str = Field(description="Secret.")

@source("leaky", replay="exact", examples=[{"password": "x"}])
class Leaky(SourceConnector[LeakyConfig]):
    """Tells its password to everybody."""

    def declared(self):
        return {"": Stream(Schema.of({"n": "int64"}))}

    def splits(self, since):
        self.context.emit(Noticed("w", "login", f"logging in with {self.config.password}"))
        raise ValueError(f"login with {self.config.password} failed")

    def read(self, split, since, until):
        return iter(())
'''
LEAKY_WORKFLOW = """\
id: leaky
runtime: {restart: {attempts: 0}}
secrets: {vault: {type: env, prefix: VAULT_}}
sources: {raw: {type: "python:leaky:Leaky", config: {password: "${secret:vault/PASSWORD}"}}}
destinations: {out: {type: file, inputs: [raw], config: {path: out, format: jsonl}}}
"""


@pytest.mark.parametrize("how", [[], ["--json"], ["--log", "json"]])
def test_a_secret_is_not_told_whatever_a_component_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, how: list[str]
) -> None:
    monkeypatch.setenv("VAULT_PASSWORD", "swordfish")
    (tmp_path / "leaky.py").write_text(LEAKY)
    assert main(["run", str(workflow_in(tmp_path, LEAKY_WORKFLOW)), *how]) == 1
    out, err = capsys.readouterr()
    assert "login with *** failed" in err
    assert "logging in with ***" in err
    assert "swordfish" not in out + err


def test_warnings_are_made_of_what_a_person_should_know_only() -> None:
    failed = warning_of(AttemptFailed("w", 2, "external", "the server is gone", 1.5))
    assert failed is not None
    assert failed.message == "attempt 2 failed: the server is gone; trying again in 1.5 s"
    noticed = warning_of(Noticed("w", "code", "look", "node"))
    assert noticed is not None
    assert str(noticed.place) == "node"
    assert warning_of(EpochSealed("w", 1, 1)) is None
