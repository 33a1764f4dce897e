"""`dataflare test` says which tests hold, in words and in JSON, by exit codes that scripts can go by."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.unit.cli.workflows import VALID

from dataflare.cli.main import main

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

GOOD = """\
tests:
  - {name: paid only, given: {raw: [{id: 1, amount: 5}, {id: 2, amount: 0}]}, expect: {out: [{id: 1}]}}
"""
BAD = GOOD.replace("paid only", "all of them").replace("[{id: 1}]}}", "2}}")


def test_tests_that_hold_end_with_0_and_those_that_do_not_with_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "orders.yaml"
    file.write_text(VALID + GOOD)
    assert main(["test", str(file)]) == 0
    assert "ok    paid only" in capsys.readouterr().out

    file.write_text(VALID + GOOD + BAD.removeprefix("tests:\n"))
    assert main(["test", str(file)]) == 1
    out, err = capsys.readouterr()
    assert "FAIL  all of them" in out
    assert f"{file}:20:" in out
    assert "out has 1 row, not 2" in out
    assert out.endswith("1 passed, 1 failed\n")
    assert err == ""
    assert main(["test", str(file), "--filter", "PAID"]) == 0


def test_a_folder_is_searched_and_a_file_that_is_wrong_does_not_stop_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    inner = tmp_path / "deep" / "er"
    inner.mkdir(parents=True)
    (inner / "orders.yaml").write_text(VALID)
    (inner / "orders.test.yaml").write_text(GOOD)
    (tmp_path / "broken.yaml").write_text(VALID.replace("type: filter", "type: filtr") + GOOD)
    (tmp_path / "other.yaml").write_text("just: data\n")
    assert main(["test", str(tmp_path), "--json"]) == 2
    out, err = capsys.readouterr()
    test, summary = map(json.loads, out.splitlines())
    assert (test["test"], test["status"], test["failures"]) == ("paid only", "passed", [])
    assert test["file"] == str(inner / "orders.test.yaml")
    assert summary == {"tests": 1, "passed": 1, "failed": 0, "wrong_files": 1}
    assert json.loads(err)["code"] == "workflow.unknown_type"


def test_a_failure_in_json_says_where_and_how(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "orders.yaml"
    file.write_text(VALID + BAD)
    assert main(["test", str(file), "--json"]) == 1
    test = json.loads(capsys.readouterr().out.splitlines()[0])
    assert set(test) == {"test", "status", "file", "line", "elapsed_seconds", "failures", "notes"}
    (failure,) = test["failures"]
    assert failure["path"] == "tests[0].expect.out"
    assert failure["difference"] == ["+ id=1  amount=5"]


def test_nothing_to_test_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "orders.yaml"
    file.write_text(VALID)
    assert main(["test", str(file)]) == 2
    assert main(["test", str(tmp_path)]) == 2
    assert main(["test", str(tmp_path / "missing.yaml")]) == 2
    file.write_text(VALID + GOOD)
    assert main(["test", str(file), "--filter", "nothing"]) == 2
    assert "no test has 'nothing' in its name" in capsys.readouterr().err
