"""`cdc status` and `cdc drop`: what a workflow keeps on its server, told and removed, and nothing of others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.changes import forget, wait_for
from tests.chaos.processes import begin, end
from tests.postgres import VARIABLE, Place, place

from dataflare.cli.main import main

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.postgres


@pytest.fixture
def spot() -> Iterator[Place]:
    with place() as found:
        found.run("create table {}.a (id int primary key)")
        found.run("insert into {}.a values (1)")
        yield found
        for name in (found.schema, f"dataflare_{found.schema}_shop"):
            forget(found, name)


def workflow(spot: Place, folder: Path, cdc: str = "") -> str:
    file = folder / "workflow.yaml"
    file.write_text(
        f"""
id: {spot.schema}
runtime: {{checkpoint: {{interval: 50ms}}}}
sources:
  shop:
    type: postgres
    mode: hybrid
    config: {{url: "${{{VARIABLE}}}", tables: [{spot.schema}.a], cdc: {{heartbeat: 100ms{cdc}}}}}
destinations:
  out: {{type: file, inputs: [shop.a], config: {{path: out, format: jsonl}}}}
"""
    )
    return str(file)


def said(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> dict[str, Any]:
    capsys.readouterr()
    assert main([*arguments, "--json"]) == code
    out, err = capsys.readouterr()
    return json.loads((out or err).splitlines()[-1])


def ran(file: str) -> None:
    assert main(["run", file, "--until", "now"]) == 0


def slots(spot: Place, name: str) -> int:
    return len(spot.run(f"select 1 from pg_replication_slots where slot_name = '{name}'"))


def publications(spot: Place, name: str) -> int:
    return len(spot.run(f"select 1 from pg_publication where pubname = '{name}'"))


def test_status_tells_before_and_after_a_run(spot: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, name = workflow(spot, tmp_path), f"dataflare_{spot.schema}_shop"
    before = said(capsys, "cdc", "status", file)
    assert (before["slot"], before["slot_status"], before["publication"]) == (name, "missing", None)
    ran(file)
    spot.run("insert into {}.a select generate_series(2, 5000)")
    after = said(capsys, "cdc", "status", file)
    assert (after["slot_status"], after["publication"], after["tables"]) == ("reserved", name, [spot.table("a")])
    assert after["reader"] is None
    assert 100_000 < after["behind_bytes"] <= after["kept_bytes"]
    assert int(after["state_lsn"].partition("/")[2], 16) >= int(after["confirmed_lsn"].partition("/")[2], 16) > 0
    assert main(["cdc", "status", file]) == 0
    assert "behind" in capsys.readouterr().out


def test_a_drop_asks_and_then_leaves_nothing(spot: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, name = workflow(spot, tmp_path), f"dataflare_{spot.schema}_shop"
    ran(file)
    refused = said(capsys, "cdc", "drop", file, code=2)
    assert "would be dropped" in refused["message"]
    assert "--yes" in refused["hint"]
    assert slots(spot, name) == publications(spot, name) == 1
    assert said(capsys, "cdc", "drop", file, "--yes")["dropped"] == [f"slot {name}", f"publication {name}"]
    assert slots(spot, name) == publications(spot, name) == 0
    assert said(capsys, "cdc", "drop", file, "--yes")["dropped"] == []
    assert "is gone" in said(capsys, "run", file, "--until", "now", code=3)["error"]["message"]


def test_what_others_made_stays(spot: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = spot.schema
    file = workflow(spot, tmp_path, f", slot_name: {name}")
    spot.run(f"create publication {name} for table {{}}.a")
    spot.run(f"select lsn::text from pg_create_logical_replication_slot('{name}', 'pgoutput')")
    ran(file)
    assert "was not made by this workflow" in said(capsys, "cdc", "drop", file, "--yes", code=2)["message"]
    assert slots(spot, name) == publications(spot, name) == 1


def test_names_of_ones_own_are_dropped_where_the_workflow_made_them(
    spot: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = spot.schema
    file = workflow(spot, tmp_path, f", slot_name: {name}")
    ran(file)
    assert said(capsys, "cdc", "drop", file, "--yes")["dropped"] == [f"slot {name}", f"publication {name}"]


def test_nothing_is_dropped_while_it_runs(spot: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, name = workflow(spot, tmp_path), f"dataflare_{spot.schema}_shop"
    process = begin(tmp_path, "run", "workflow.yaml")
    try:
        wait_for(lambda: list(tmp_path.glob("out/part-*")))  # the slot is read now and then while it is made
        wait_for(lambda: spot.run(f"select 1 from pg_replication_slots where slot_name = '{name}' and active"))
        assert said(capsys, "cdc", "status", file)["reader"] > 0
        assert "is running" in said(capsys, "cdc", "drop", file, "--yes", code=3)["message"]
        for state in tmp_path.glob(".dataflare/state.db*"):  # of a run whose state is elsewhere
            state.rename(state.with_suffix(".moved"))
        assert "read by somebody else" in said(capsys, "cdc", "drop", file, "--yes", code=3)["message"]
    finally:
        end(process)
    assert slots(spot, name) == 1


def test_a_workflow_that_follows_nothing_is_told_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "w.yaml"
    file.write_text(
        "id: w\nsources: {a: {type: generator, config: {rows: 1, columns: {id: sequence}}}}\n"
        "destinations: {out: {type: file, inputs: [a], config: {path: out, format: jsonl}}}\n"
    )
    assert "follows changes" in said(capsys, "cdc", "status", str(file), code=2)["message"]


def test_before_the_first_run_there_is_nothing_to_read_again(
    spot: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = said(capsys, "cdc", "resnapshot", workflow(spot, tmp_path), "a", code=3)
    assert found["message"] == f"{spot.schema} has not run yet: its first run reads all tables"


def test_a_name_that_two_tables_have_is_not_guessed(
    spot: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = Path(workflow(spot, tmp_path))
    with place() as other:
        other.run("create table {}.a (id int primary key)")
        text = file.read_text().replace(f"[{spot.schema}.a]", f"[{spot.schema}.a, {other.schema}.a]")
        file.write_text(text.replace("shop.a", f"shop.{spot.schema}.a, shop.{other.schema}.a"))
        found = said(capsys, "cdc", "resnapshot", str(file), "a", code=2)
        assert found["message"] == "the workflow follows several tables a"
        assert found["hint"] == f"one of {spot.schema}.a, {other.schema}.a"
        assert (Path(found["file"]).name, found["line"], found["path"]) == ("workflow.yaml", 5, "sources.shop")


@pytest.mark.parametrize("verb", ["add-table", "remove-table", "resnapshot"])
def test_what_is_wrong_is_told_with_its_place(
    spot: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str], verb: str
) -> None:
    file = workflow(spot, tmp_path)
    found = said(capsys, "cdc", verb, file, "nowhere", code=2)
    assert (found["file"], found["line"]) == (file, 5), found
