"""Runs of a program are in the history of the workflow, as those of the command line are."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from dataflare.cli.main import main
from dataflare.errors import DataFlareError
from dataflare.program import Workflow

if TYPE_CHECKING:
    from pathlib import Path

    from dataflare.monitoring.events import Event


def numbers(folder: Path, **words: Any) -> Workflow:
    workflow = Workflow("numbers", directory=folder, runtime={"state": {"type": "sqlite", "path": str(folder / "s")}})
    rows = words.pop("rows", [{"n": 1}, {"n": 2}])
    found = workflow.source("numbers", "memory", {"rows": rows, "columns": {"n": "int64"}})
    found.then("signs", "mapping", {"set": {"sign": "cast(if(n = 7, 'x', '1') as int64)"}}, **words).into(
        "out", "memory", {"bucket": "h"}
    )
    return workflow


def history(folder: Path, capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    capsys.readouterr()
    assert main(["history", "numbers", "--state", str(folder / "s"), "--json"]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_runs_that_succeed_and_fail_are_in_the_history(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    numbers(tmp_path).run(run_id="first")
    asyncio.run(numbers(tmp_path).run_async())
    with pytest.raises(DataFlareError, match="signs"):
        numbers(tmp_path, rows=[{"n": 7}]).run()
    first, second, third = history(tmp_path, capsys)
    assert [r["number"] for r in (first, second, third)] == [1, 2, 3]
    assert {r["trigger"] for r in (first, second, third)} == {"program"}
    assert (first["run"], first["status"], first["rows"]) == (
        "first",
        "succeeded",
        {"read": 2, "written": 2, "dead": 0},
    )
    assert first["began"] <= first["ended"]
    assert (second["run"], second["status"]) == ("", "succeeded")
    assert third["status"] == "failed"
    assert "sign" in third["error"]["message"]


def test_a_run_that_another_one_keeps_from_beginning_is_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refused: list[str] = []

    def also(event: Event) -> None:
        if not refused:
            refused.append("")
            with pytest.raises(DataFlareError) as error:
                numbers(tmp_path).run()
            refused[0] = error.value.code

    numbers(tmp_path).run(observer=also)
    assert refused[0]
    (only,) = history(tmp_path, capsys)
    assert only["status"] == "succeeded"


def test_a_run_that_is_cancelled_has_no_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async def cancelled() -> None:
        def cancel(_: Event) -> None:
            run.cancel()

        run = asyncio.create_task(numbers(tmp_path).run_async(observer=cancel))
        with pytest.raises(asyncio.CancelledError):
            await run

    asyncio.run(cancelled())
    (only,) = history(tmp_path, capsys)
    assert only["status"] == "interrupted"
