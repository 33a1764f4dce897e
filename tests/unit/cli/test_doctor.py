"""`doctor` looks at the machine, the state and what a workflow names; the shell completes what is there."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from tests.unit.cli.workflows import workflow_in

from dataflare.cli import doctor
from dataflare.cli.main import main

if TYPE_CHECKING:
    from pathlib import Path


def checks(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> dict[str, tuple[str, str, str]]:
    capsys.readouterr()
    assert main(["doctor", *arguments, "--json"]) == code
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return {c["check"]: (c["status"], c["message"], c["hint"]) for c in found}


def test_where_all_is_well_nothing_needs_a_cure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = workflow_in(tmp_path)
    assert main(["run", str(file)]) == 0
    found = checks(capsys, str(file))
    for name in ("python", "packages", "time zones", "workflow", "state", "clock"):
        assert found[name][0] == "ok", found[name]
    assert "is whole; 1 workflows" in found["state"][1]
    assert main(["doctor", str(file)]) == 0
    assert capsys.readouterr().out.startswith("check ")


def test_what_a_workflow_names_and_is_not_there_is_told_with_a_cure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = workflow_in(tmp_path)
    (tmp_path / "orders.csv").unlink()
    status, message, _ = checks(capsys, str(file), code=3)["workflow"]
    assert status == "error"
    assert "orders.csv" in message


def test_a_state_that_is_open_to_others_or_damaged_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = workflow_in(tmp_path)
    assert main(["run", str(file)]) == 0
    folder = tmp_path / ".dataflare"
    folder.chmod(0o755)
    capsys.readouterr()
    assert main(["doctor", "--state", str(folder)]) == 0
    out = capsys.readouterr().out
    assert "is open to others (mode 755)" in out
    assert f"hint: chmod 700 {folder}" in out
    (folder / "state.db").write_bytes(b"no database")
    status, message, _ = checks(capsys, "--state", str(folder), code=3)["state"]
    assert status == "error"
    assert "damaged" in message


def test_a_state_that_is_not_there_yet_is_well(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = checks(capsys, "--state", str(tmp_path / "new"))
    assert found["state"][:2] == ("ok", f"{tmp_path / 'new'} is not there yet: the first run makes it")


def test_a_network_a_full_disk_and_a_path_that_is_too_long_for_a_socket_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "FREE_BYTES_MIN", 1 << 60)
    monkeypatch.setattr(doctor, "_filesystem", lambda _: "nfs4")
    assert main(["doctor", "--state", str(tmp_path / ("x" * 120))]) == 3
    out = capsys.readouterr().out
    assert "is on nfs4" in out
    assert "a full disk ends runs" in out
    assert "a socket's path has at most 107 bytes" in out


def complete(words: str, at: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    for name, value in {"_DATAFLARE_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(at)}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit):
        main([])
    return capsys.readouterr().out.split()


def test_the_shell_completes_files_nodes_and_components(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    workflow_in(tmp_path)
    (tmp_path / "torn.yaml").write_text("id: [")
    (tmp_path / "notes.txt").write_text("")
    monkeypatch.chdir(tmp_path)
    assert complete("dataflare run ", 2, capsys, monkeypatch) == ["orders.yaml", "torn.yaml"]
    assert complete("dataflare validate or", 2, capsys, monkeypatch) == ["orders.yaml"]
    assert complete("dataflare preview orders.yaml ", 3, capsys, monkeypatch) == ["raw", "paid", "out"]
    assert complete("dataflare preview orders.yaml p", 3, capsys, monkeypatch) == ["paid"]
    assert complete("dataflare preview torn.yaml p", 3, capsys, monkeypatch) == []
    assert "postgres" in complete("dataflare describe po", 2, capsys, monkeypatch)
    assert complete("dataflare list sou", 2, capsys, monkeypatch) == ["source"]
