"""A folder is followed while its workflows are kept: files come, change, are wrong for a while, and go."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.unit.cli.followed import ENDLESS, followed, write

from dataflare.cli.following import FolderWatch
from dataflare.errors import InvalidWorkflowError
from dataflare.monitoring.events import CallsTaken, WorkflowFollowed

if TYPE_CHECKING:
    from pathlib import Path


async def test_a_new_file_is_scheduled_and_one_without_a_schedule_is_run_at_once(tmp_path: Path) -> None:
    write(tmp_path, "first")
    async with followed(tmp_path) as folder:
        write(tmp_path, "second")
        write(tmp_path, "plain", "")
        (tmp_path / "other.yaml").write_text("services: {}\n")
        (tmp_path / "notes.txt").write_text("sources:\n")
        await folder.look()
        assert sorted(folder.told()) == [("plain", "added"), ("second", "added")]
        await folder.until_run("plain", 1)
        await folder.taken_up("first", "second")
        folder.trigger()
        await folder.until_run("first", 1)
        await folder.until_run("second", 1)
        assert folder.statuses() == {"first": "waiting", "second": "waiting", "plain": "ended"}
        await folder.look()
        assert len(folder.told()) == 2
        assert folder.said == []


async def test_a_changed_file_counts_from_the_next_run_on(tmp_path: Path) -> None:
    write(tmp_path, "orders")
    async with followed(tmp_path) as folder:
        await folder.taken_up("orders")
        write(tmp_path, "orders", BY="second")
        await folder.look(1)
        folder.trigger()  # it was seen to have changed, and may not be whole
        await folder.until_run("orders", 1)
        await folder.look(1)
        assert folder.told() == [("orders", "changed")]
        folder.trigger()
        await folder.until_run("orders", 2)
        assert [row["by"] for row in folder.rows("orders")] == ["first"] * 5 + ["second"] * 5
        (tmp_path / "orders.yaml").touch()
        await folder.look()
        assert folder.told() == [("orders", "changed")]


async def test_a_file_that_is_wrong_is_told_once_and_its_former_version_is_run(tmp_path: Path) -> None:
    file, other = write(tmp_path, "orders"), write(tmp_path, "other")
    whole = file.read_text()
    async with followed(tmp_path) as folder:
        await folder.taken_up("orders", "other")
        file.write_text(whole.replace("format: jsonl", "fromat: jsonl"))
        for _ in range(3):
            await folder.look()
            file.touch()
        (error,) = folder.said
        assert isinstance(error, InvalidWorkflowError)
        number, line = next((n, text) for n, text in enumerate(whole.split("\n"), 1) if "format:" in text)
        assert str(error.findings[0].place) == f"{file}:{number}:{1 + line.index('format:')}"
        assert folder.notices() == ["orders.yaml is wrong; what it was before counts until it is corrected"]
        assert list(folder.follower.wrong) == [file]
        folder.trigger()
        await folder.until_run("orders", 1)
        await folder.until_run("other", 1)
        file.write_text(whole.replace("'first'", "no_such_column"))  # its words are right
        await folder.look()
        assert "no_such_column" in str(getattr(folder.said[-1], "findings", ""))
        file.write_text(whole)
        other.touch()
        await folder.look()
        assert folder.follower.wrong == {}
        folder.trigger()
        await folder.until_run("orders", 2)
        assert len(folder.rows("orders")) == 10
        assert len(folder.said) == 2


async def test_a_new_file_that_is_wrong_is_scheduled_when_it_is_corrected(tmp_path: Path) -> None:
    write(tmp_path, "first")
    async with followed(tmp_path) as folder:
        (tmp_path / "plain.yaml").write_text("sources: {")
        await folder.look()
        assert len(folder.said) == 1
        assert folder.statuses().keys() == {"first"}
        write(tmp_path, "plain", "")
        await folder.look()
        await folder.until_run("plain", 1)
        assert folder.follower.wrong == {}


async def test_a_file_that_goes_is_run_no_more_and_a_run_under_way_ends(tmp_path: Path) -> None:
    file = write(tmp_path, "orders", ROWS="60, rate: 30")
    write(tmp_path, "other")
    endless = write(tmp_path, "endless", "", **ENDLESS)
    async with followed(tmp_path) as folder:
        await folder.taken_up("orders", "other")
        folder.trigger()
        await folder.until(lambda: folder.statuses()["orders"] == "running")
        await folder.until(lambda: len(folder.rows("endless")) > 10)
        file.unlink()
        endless.unlink()
        await folder.look()
        assert sorted(folder.told()) == [("endless", "removed"), ("orders", "removed")]
        assert folder.statuses().keys() == {"other"}
        await folder.until_run("orders", 1)
        await folder.until(lambda: [r.status for r in folder.runs("endless")] == ["stopped"])
        assert len(folder.rows("orders")) == 60
        ids = [row["id"] for row in folder.rows("endless")]
        assert ids == list(range(len(ids)))
        folder.trigger()
        await folder.until_run("other", 2)
        assert len(folder.runs("orders")) == 1
        write(tmp_path, "orders")
        await folder.look()
        await folder.until_run("orders", 2)  # what it was asked for meanwhile is not lost


async def test_a_run_without_an_end_is_told_that_its_file_has_changed_and_goes_on(tmp_path: Path) -> None:
    write(tmp_path, "endless", "", **ENDLESS)
    async with followed(tmp_path) as folder:
        await folder.until(lambda: len(folder.rows("endless")) > 10)
        write(tmp_path, "endless", "", **ENDLESS, BY="second")
        await folder.look()
        (event,) = [e for e in folder.events if isinstance(e, WorkflowFollowed)]
        assert "goes on as it was, unless --restart-changed" in event.message
        seen = len(folder.rows("endless"))
        await folder.until(lambda: len(folder.rows("endless")) > seen + 50)
        assert {row["by"] for row in folder.rows("endless")} == {"first"}
        assert len(folder.runs("endless")) == 1


async def test_it_goes_on_with_the_new_version_from_its_checkpoint_where_that_is_wanted(tmp_path: Path) -> None:
    write(tmp_path, "endless", "", **ENDLESS)
    write(tmp_path, "other", "", **ENDLESS)
    write(tmp_path, "done", "")
    async with followed(tmp_path, restart=True) as folder:
        await folder.until(lambda: len(folder.rows("endless")) > 10 and len(folder.rows("done")) > 0)
        await folder.until(lambda: folder.statuses()["done"] == "ended")
        write(tmp_path, "endless", "", **ENDLESS, BY="second")
        write(tmp_path, "done", "", BY="second")
        await folder.look()
        await folder.until(lambda: {row["by"] for row in folder.rows("endless")} == {"first", "second"})
        ids = [row["id"] for row in folder.rows("endless")]
        assert ids == list(range(len(ids)))
        assert [r.status for r in folder.runs("endless")] == ["stopped", "running"]
        assert [r.status for r in folder.runs("other")] == ["running"]
        assert len(folder.rows("done")) == 5


@pytest.mark.parametrize("restart", [True, False])
async def test_a_run_that_failed_goes_on_with_the_corrected_file_where_that_is_wanted(
    restart: bool, tmp_path: Path
) -> None:
    file = write(tmp_path, "plain", "")
    whole = file.read_text()
    file.write_text(whole.replace("'first'", "cast('x' || id as bigint)"))
    write(tmp_path, "other")
    async with followed(tmp_path, restart=restart) as folder:
        await folder.until(lambda: [r.status for r in folder.runs("plain")] == ["failed"])
        await folder.until(lambda: folder.statuses()["plain"] == "ended")
        file.write_text(whole)
        await folder.look()
        if restart:
            await folder.until_run("plain", 1)
        assert len(folder.runs("plain")) == 1 + restart


async def test_two_files_of_one_id_are_told_and_the_second_is_taken_up_when_the_first_goes(tmp_path: Path) -> None:
    first = write(tmp_path, "orders", file="a.yaml")
    write(tmp_path, "other")
    async with followed(tmp_path) as folder:
        await folder.taken_up("orders")
        write(tmp_path, "orders", file="b.yaml", BY="second")
        await folder.look()
        assert [error.what for error in folder.said] == ["a.yaml has the id 'orders', too"]
        first.unlink()
        await folder.look(4)
        assert folder.follower.wrong == {}
        await folder.taken_up("orders")
        folder.trigger()
        await folder.until_run("orders", 1)
        assert {row["by"] for row in folder.rows("orders")} == {"second"}


async def test_a_file_that_is_renamed_disturbs_nothing(tmp_path: Path) -> None:
    file = write(tmp_path, "endless", "", **ENDLESS)
    async with followed(tmp_path) as folder:
        await folder.until(lambda: len(folder.rows("endless")) > 10)
        file.rename(tmp_path / "renamed.yaml")
        await folder.look(3)
        assert folder.told() == []
        assert folder.statuses() == {"endless": "running"}
        assert folder.members.entries["endless"].draft.path.name == "renamed.yaml"


async def test_a_file_that_holds_another_workflow_is_that_one(tmp_path: Path) -> None:
    file = write(tmp_path, "orders")
    write(tmp_path, "other")
    async with followed(tmp_path) as folder:
        await folder.taken_up("orders")
        write(tmp_path, "renamed", file=file.name)
        await folder.look()
        assert folder.told() == [("orders", "removed"), ("renamed", "added")]
        await folder.taken_up("renamed")
        folder.trigger()
        await folder.until_run("renamed", 1)
        assert folder.statuses().keys() == {"renamed", "other"}
        assert folder.runs("orders") == []


async def test_another_schedule_is_kept_at_once_and_the_run_under_way_goes_on(tmp_path: Path) -> None:
    write(tmp_path, "orders", ROWS="60, rate: 30")
    async with followed(tmp_path) as folder:
        await folder.taken_up("orders")
        folder.trigger()
        await folder.until(lambda: folder.statuses()["orders"] == "running")
        write(tmp_path, "orders", "schedule: {type: once, overlap: queue}\n")
        await folder.look()
        await folder.until_run("orders", 2)
        assert [run.trigger for run in folder.runs("orders")] == ["event", "once"]
        assert len(folder.rows("orders")) == 65
        await folder.until(lambda: folder.statuses()["orders"] == "ended")
        write(tmp_path, "orders")  # one that has ended is kept again
        await folder.look()
        await folder.until(lambda: folder.statuses()["orders"] == "waiting")


async def test_a_webhook_that_is_added_is_listened_for(tmp_path: Path) -> None:
    write(tmp_path, "orders")
    async with followed(tmp_path) as folder:
        await folder.taken_up("orders")
        write(tmp_path, "orders", "schedule: {type: event, webhook: {path: /go}}\n")
        await folder.look()
        await folder.until(lambda: any(isinstance(e, CallsTaken) for e in folder.events))
        assert folder.scheduler.door.paths == {"/go": "orders"}
        write(tmp_path, "other", "schedule: {type: event, webhook: {path: /go}}\n")
        await folder.look()
        assert [error.what for error in folder.said] == ["orders is called at /go, too"]
        (tmp_path / "orders.yaml").unlink()
        await folder.look(4)
        assert folder.scheduler.door.paths == {"/go": "other"}


async def test_a_schedule_that_is_taken_away_is_kept_no_more_and_one_that_is_put_back_is(tmp_path: Path) -> None:
    write(tmp_path, "orders")
    write(tmp_path, "other")
    async with followed(tmp_path) as folder:
        await folder.taken_up("orders", "other")
        write(tmp_path, "orders", "")
        await folder.look()
        folder.trigger()
        await folder.until_run("other", 1)
        assert folder.runs("orders") == []
        write(tmp_path, "orders")
        await folder.look()
        await folder.until_run("orders", 1)


async def test_another_state_is_that_of_the_next_run(tmp_path: Path) -> None:
    write(tmp_path, "orders")
    async with followed(tmp_path) as folder:
        await folder.taken_up("orders")
        write(tmp_path, "orders", "schedule: {type: once}\n", STATE="moved")
        await folder.look()
        await folder.until(lambda: len(folder.rows("orders")) == 5)
        assert folder.runs("orders") == []
        assert (tmp_path / "moved" / "state.db").exists()


async def test_a_folder_that_cannot_be_looked_at_stays_as_it_was(tmp_path: Path) -> None:
    inside = tmp_path / "flows"
    inside.mkdir()
    write(inside, "orders", STATE="../state")
    async with followed(inside) as folder:
        inside.rename(tmp_path / "away")
        await folder.look(3)
        assert folder.statuses() == {"orders": "waiting"}
        assert [m for m in folder.notices() if "cannot be looked at" in m] == [
            "the folder cannot be looked at: No such file or directory"
        ]
        (tmp_path / "away").rename(inside)
        await folder.look(3)
        assert folder.told() == []


def test_a_file_counts_when_it_has_stayed_as_it_is_from_one_look_to_the_next(tmp_path: Path) -> None:
    file = write(tmp_path, "orders")
    watch = FolderWatch(tmp_path)
    assert watch.look() == ([], [])
    for size in range(3):
        file.write_text("x" * size)
        assert watch.look() == ([], [])
    assert watch.look() == ([file], [])
    assert watch.look() == ([], [])
    file.unlink()
    assert watch.look() == ([], [])
    assert watch.look() == ([], [file])
    file.write_text("back")
    assert watch.look() == ([], [])
    assert watch.look() == ([file], [])
    watch.again([file])
    assert watch.look() == ([file], [])
    assert watch.look() == ([], [])
