"""`Workflow.run_tests` runs the tests that a program added as `dataflare test` runs those of a file."""

from __future__ import annotations

import asyncio
import inspect
import json
from typing import TYPE_CHECKING

import pytest

from dataflare.cli.main import main
from dataflare.errors import InvalidWorkflowError, WorkflowError
from dataflare.program import Workflow

if TYPE_CHECKING:
    from pathlib import Path

GIVEN = {"orders": [{"id": 1, "amount": 5}, {"id": 2, "amount": 50}]}


def shop(tmp_path: Path) -> Workflow:
    """Return a workflow that keeps large orders; nothing of what it names is there."""
    workflow = Workflow("shop", directory=tmp_path, guarantee="exactly_once")
    orders = workflow.source("orders", "file", {"path": "none.csv", "columns": {"id": "int64", "amount": "int64"}})
    big = orders.then("big", "filter", {"condition": "amount > 10"})
    big.into("lake", "file", {"path": "lake", "format": "parquet"})
    return workflow


def test_tests_pass_and_fail_where_they_were_added(tmp_path: Path) -> None:
    workflow = shop(tmp_path)
    workflow.test("keeps the large one", given=GIVEN, expect={"lake": [{"id": 2, "amount": 50}]})
    line = inspect.currentframe().f_lineno + 1  # type: ignore[union-attr]
    workflow.test("keeps none", given=GIVEN, expect={"lake": []})
    good, bad = workflow.run_tests()
    assert good.passed
    assert not bad.passed
    (failure,) = bad.failures
    assert (failure.place.file, failure.place.line) == (__file__, line)
    assert "+ id=2  amount=50" in failure.difference
    assert not list(tmp_path.iterdir()), "no source or destination is opened, and no state is kept"


def test_they_end_as_those_of_the_file_that_says_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    workflow = shop(tmp_path)
    workflow.test("all", given=GIVEN, expect={"big": 2}, faults=[{"crash": "every"}])
    workflow.test("one", given=GIVEN, expect={"big": 1}, faults=[{"crash": "every"}])
    (tmp_path / "shop.yaml").write_text(workflow.to_yaml())
    assert main(["test", "--json", str(tmp_path / "shop.yaml")]) == 1
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()[:-1]]
    for result, other in zip(workflow.run_tests(), told, strict=True):
        assert (result.name, result.passed) == (other["test"], other["status"] == "passed")
        assert [f.message for f in result.failures] == [f["message"] for f in other["failures"]]
        assert list(result.notes) == other["notes"]


def test_functions_of_the_program_run_in_them(tmp_path: Path) -> None:
    workflow = Workflow("numbers", directory=tmp_path)
    factor = 3

    def unread() -> None:
        pytest.fail("a test opens no source")

    numbers = workflow.source("numbers", unread, {"columns": {"n": "int64"}})
    numbers.then("times", lambda record: {"n": record["n"] * factor}).into("out", "stdout")
    workflow.test("times three", given={"numbers": [{"n": 2}]}, expect={"out": [{"n": 6}]})
    assert [result.passed for result in workflow.run_tests()] == [True]


def test_only_those_that_are_named_run_also_within_an_event_loop(tmp_path: Path) -> None:
    workflow = shop(tmp_path)
    workflow.test("Small", given=GIVEN, expect={"big": 1})
    workflow.test("large", given=GIVEN, expect={"big": 1})

    async def within() -> list[str]:
        return [result.name for result in workflow.run_tests(only="small")]

    assert asyncio.run(within()) == ["Small"]


def test_no_tests_are_not_taken_for_tests_that_pass(tmp_path: Path) -> None:
    workflow = shop(tmp_path)
    with pytest.raises(WorkflowError, match="there are no tests in shop") as none:
        workflow.run_tests()
    assert "workflow.test" in none.value.hint
    workflow.test("small", given=GIVEN, expect={"big": 1})
    with pytest.raises(WorkflowError) as other:
        workflow.run_tests(only="large")
    assert other.value.hint == "no test has 'large' in its name"


def test_a_test_that_is_wrong_is_told_at_its_line(tmp_path: Path) -> None:
    workflow = shop(tmp_path)
    line = inspect.currentframe().f_lineno + 1  # type: ignore[union-attr]
    workflow.test("typo", given={"ordres": []}, expect={"big": 0})
    with pytest.raises(InvalidWorkflowError) as error:
        workflow.run_tests()
    (finding,) = error.value.findings
    assert (finding.place.file, finding.place.line) == (__file__, line)
    assert "orders" in finding.hint


def test_a_test_of_another_file_is_told_there(tmp_path: Path) -> None:
    added = tmp_path / "more.py"
    added.write_text("def add(workflow, given):\n    workflow.test('none', given=given, expect={'big': 0})\n")
    space: dict[str, object] = {}
    exec(compile(added.read_text(), str(added), "exec"), space)
    workflow = shop(tmp_path)
    space["add"](workflow, GIVEN)  # type: ignore[operator]
    (result,) = workflow.run_tests()
    places = [result.place, *(failure.place for failure in result.failures)]
    assert {(place.file, place.line) for place in places} == {(str(added), 2)}
    space["add"](workflow, {"nowhere": []})  # type: ignore[operator]
    findings = workflow.validate()
    assert {(f.place.file, f.place.line) for f in findings} == {(str(added), 2)}
