"""`validate` and `plan` say everything before a row moves."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.unit.cli.workflows import BROKEN, VALID, workflow_in

from dataflare.cli.main import main
from dataflare.plan import Plan

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_a_valid_workflow_tells_its_guarantees(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = workflow_in(tmp_path)
    assert main(["validate", str(file)]) == 0
    out, err = capsys.readouterr()
    assert f"{file} is valid" in out
    assert "out          exactly_once  two_phase  " in out
    assert err == ""


def test_a_wrong_workflow_is_told_all_its_mistakes_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = workflow_in(tmp_path, BROKEN)
    assert main(["validate", str(file)]) == 2
    out, err = capsys.readouterr()
    assert f"error  {file}:10:11  " in out
    assert f"error  {file}:17:" in out
    assert "did you mean 'filter'?" in out
    assert f"{file} has 2 errors" in out
    assert err == ""


def test_the_json_of_validate_has_the_documented_shape(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", str(workflow_in(tmp_path)), "--json"]) == 0
    valid = json.loads(capsys.readouterr().out)
    assert set(valid) == {"valid", "findings", "guarantees"}
    assert valid["valid"] is True
    assert set(valid["guarantees"]["out"]) == {"level", "mechanism", "reason"}

    assert main(["validate", str(workflow_in(tmp_path, BROKEN)), "--json"]) == 2
    wrong = json.loads(capsys.readouterr().out)
    assert (wrong["valid"], wrong["guarantees"]) == (False, {})
    first = wrong["findings"][0]
    assert set(first) == {"severity", "code", "message", "hint", "file", "line", "column", "path"}
    assert (first["severity"], first["line"], first["column"]) == ("error", 10, 11)


def test_sources_are_asked_only_at_the_level_sample(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = workflow_in(tmp_path, VALID.replace(", columns: {id: int64, amount: int64}", ""))
    (tmp_path / "orders.csv").unlink()
    assert main(["validate", str(file)]) == 0
    assert main(["validate", str(file), "--level", "sample"]) == 3
    assert "orders.csv" in capsys.readouterr().out


def test_a_file_that_is_not_there_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", str(tmp_path / "none.yaml")]) == 2
    assert "cannot be read" in capsys.readouterr().out


def test_a_plan_is_printed_and_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, drawing = workflow_in(tmp_path), tmp_path / "pictures" / "orders.svg"
    assert main(["plan", str(file)]) == 0
    text = capsys.readouterr().out
    assert "id int64, amount int64" in text
    assert main(["plan", str(file), "--picture", str(drawing)]) == 0
    assert drawing.read_text().startswith("<svg")


def test_a_plan_as_json_is_a_plan(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", str(workflow_in(tmp_path)), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["stages"] == [{"tasks": 1, "nodes": ["raw", "paid", "out"], "statements": [["paid"]]}]
    plan = Plan.from_json(printed)
    assert [n.id for n in plan.topological()] == ["raw", "paid", "out"]


def test_a_plan_of_a_wrong_workflow_is_refused_with_its_findings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plan", str(workflow_in(tmp_path, BROKEN))]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert len([line for line in err.splitlines() if line.startswith("error")]) == 2
