"""`status` and `checkpoint ...` on a workflow that has run and does not run now."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from tests.unit.cli.workflows import VALID, workflow_in

from dataflare.cli.main import main

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def ran(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    file = workflow_in(tmp_path)
    assert main(["run", str(file)]) == 0
    capsys.readouterr()
    return file


def said(capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def test_status_is_told_by_file_by_name_and_for_all(ran: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = str(ran.parent / ".dataflare")
    for arguments in ([str(ran)], ["orders", "--state", state], ["--state", state]):
        assert main(["status", *arguments, "--json"]) == 0
        status = said(capsys)
        assert (status["workflow"], status["status"], status["epoch"]) == ("orders", "finished", 1)
        assert status["nodes"]["paid"]["rows_filtered"] == 5
    assert main(["status", str(ran)]) == 0
    assert "orders    finished        1      1" in capsys.readouterr().out


@pytest.mark.parametrize("verb", ["pause", "resume", "stop"])
def test_what_does_not_run_cannot_be_controlled(verb: str, ran: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([verb, str(ran)]) == 3
    err = capsys.readouterr().err
    assert "no running workflow answers" in err
    assert "dataflare run" in err


def test_where_nothing_ever_ran_nothing_is_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = workflow_in(tmp_path)
    for arguments in (["status", str(file)], ["checkpoint", "list", str(file)]):
        assert main(arguments) == 3
        assert "there is no state" in capsys.readouterr().err
    assert not (tmp_path / ".dataflare").exists()


def test_a_workflow_that_a_state_does_not_know_is_said(ran: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "unknown", "--state", str(ran.parent / ".dataflare")]) == 3
    assert "unknown has committed nothing yet" in capsys.readouterr().err


def test_state_in_memory_cannot_be_reached(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = workflow_in(tmp_path, VALID.replace("runtime: {", "runtime: {state: {type: memory}, "))
    assert main(["stop", str(file)]) == 3
    assert "memory" in capsys.readouterr().err


def test_checkpoints_are_listed_and_shown(ran: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["checkpoint", "list", str(ran), "--json"]) == 0
    listed = said(capsys)
    assert (listed["epoch"], listed["attempt"], listed["status"], listed["last"]) == (1, 1, "finished", True)
    assert main(["checkpoint", "show", str(ran), "1", "--json"]) == 0
    shown = said(capsys)
    assert {k: n for k, n in shown["counts"]["paid"].items() if n} == {"in": 10, "out": 5, "filtered": 5}
    assert main(["checkpoint", "show", str(ran), "1"]) == 0
    assert "finished" in capsys.readouterr().out
    assert main(["checkpoint", "show", str(ran), "7"]) == 3
    assert "there is no epoch 7" in capsys.readouterr().err


def test_a_rollback_lets_the_next_run_go_on_from_that_epoch(ran: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["checkpoint", "rollback", str(ran), "1", "--json"]) == 0
    assert said(capsys) == {"workflow": "orders", "epoch": 2, "attempt": 2}
    assert main(["checkpoint", "list", str(ran)]) == 0
    assert "rollback" in capsys.readouterr().out
    assert main(["run", str(ran), "--json"]) == 0
    assert said(capsys)["status"] == "succeeded"


def test_a_rollback_to_nowhere_is_refused(ran: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["checkpoint", "rollback", str(ran), "9"]) == 3
    assert "no committed epoch 9" in capsys.readouterr().err
    assert main(["checkpoint", "rollback", "orders", "1"]) == 2
    assert "no workflow file" in capsys.readouterr().err


def test_a_savepoint_goes_to_another_state(ran: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    savepoint = tmp_path / "orders.savepoint"
    assert main(["checkpoint", "export", str(ran), str(savepoint)]) == 0
    assert savepoint.stat().st_mode & 0o777 == 0o600
    other = tmp_path / "other"
    other.mkdir()
    file = workflow_in(other)
    assert main(["checkpoint", "import", str(file), str(savepoint)]) == 0
    capsys.readouterr()
    assert main(["status", str(file), "--json"]) == 0
    assert said(capsys)["nodes"]["paid"]["rows_in"] == 10


def test_a_damaged_savepoint_is_refused(ran: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    savepoint = tmp_path / "orders.savepoint"
    assert main(["checkpoint", "export", str(ran), str(savepoint)]) == 0
    savepoint.write_bytes(savepoint.read_bytes()[:-1])
    assert main(["checkpoint", "import", str(ran), str(savepoint)]) == 3
    assert "damaged" in capsys.readouterr().err


def test_a_file_that_is_no_savepoint_is_refused(ran: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["checkpoint", "import", str(ran), str(ran)]) == 3
    err = capsys.readouterr().err
    assert f"{ran} is no savepoint" in err
    assert "`export` wrote" in err


def test_a_list_of_nothing_says_so(ran: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["checkpoint", "list", "nobody", "--state", str(ran.parent / ".dataflare")]) == 0
    assert "nobody has committed nothing" in capsys.readouterr().out


def test_a_torn_state_is_said_with_the_way_on(ran: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (ran.parent / ".dataflare" / "state.db").write_bytes(b"")
    assert main(["run", str(ran)]) == 3
    err = capsys.readouterr().err
    assert "state.db is damaged" in err
    assert "dataflare checkpoint import" in err


def test_a_rollback_asks_the_destination_that_decides(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    into_sqlite = VALID.partition("    type: file\n    inputs: [paid]")[0] + (
        "    type: sqlite\n    inputs: [paid]\n    config: {path: out.db, table: orders}\n"
    )
    file = workflow_in(tmp_path, into_sqlite)
    assert main(["run", str(file)]) == 0
    assert main(["checkpoint", "rollback", str(file), "1"]) == 0
    capsys.readouterr()
    assert main(["run", str(file), "--json"]) == 0
    again = said(capsys)
    assert (again["status"], again["guarantees"]["out"]["mechanism"]) == ("succeeded", "direct")
    assert main(["checkpoint", "list", str(file)]) == 0
    assert [line.split()[2] for line in capsys.readouterr().out.splitlines()[1:]] == [
        "finished",
        "rollback",
        "finished",
    ]
