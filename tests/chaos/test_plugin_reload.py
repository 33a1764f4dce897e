"""A plugin whose file is rewritten while a workflow runs: taken in between two epochs, state and all, or refused."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.chaos.conftest import CHAOS
from tests.chaos.forked import Forked
from tests.chaos.processes import begin, dataflare, ended, lines, wait_until

if TYPE_CHECKING:
    from tests.chaos.processes import Process

WORKFLOW = """
id: reloading
runtime: {parallelism: 2, checkpoint: {interval: 30ms, timeout: 30s}}
sources:
  rows:
    type: generator
    config: {rows: 4000, batch_rows: 20, partitions: 2, rate: 1000, columns: {id: sequence, name: [a, b, c]}}
transformations:
  counted: {type: wasm, inputs: [rows], config: {module: keyed.js, key: [name], reload: true}}
  numbered: {type: wasm, inputs: [counted], config: {module: own.js, reload: true}}
destinations:
  out: {type: file, inputs: [numbered], config: {path: out, format: jsonl}}
"""
KEYED = """// VERSION
export const input = ["name"], adds = { nth: "int64", keyed: "string" };
export function process({ name }) {
  const nth = (dataflare.getState([name]) ?? 0) + 1;
  dataflare.setState([name], nth);
  return { nth, keyed: "VERSION" };
}
"""
OWN = """export const input = ["id"], adds = { number: "int64", own: "string" };
let seen = 0;
export const process = () => ({ number: ++seen, own: "VERSION" });
export const exportState = () => seen;
export const importState = (state) => { seen = state; };
"""
BOTH = {"keyed.js": KEYED, "own.js": OWN}


def write(folder: Path, version: str, name: str = "", code: str = "") -> None:
    """Put files into the place of others, whole."""
    for file, text in {name: code}.items() if name else BOTH.items():
        (folder / f"{file}.new").write_text(text.replace("VERSION", version))
        (folder / f"{file}.new").replace(folder / file)


def prepare(folder: Path) -> None:
    (folder / "workflow.yaml").write_text(WORKFLOW)
    write(folder, "old")


def rows_of(folder: Path) -> list[dict[str, Any]]:
    return lines(folder / "out") if (folder / "out").exists() else []


def until(folder: Path, process: Process, column: str, version: str) -> None:
    wait_until(lambda: any(r[column] == version for r in rows_of(folder)), process)


def check(folder: Path) -> list[dict[str, Any]]:
    """Return the rows in the order of their numbers: none lost, none twice, and no state forgotten."""
    rows = sorted(rows_of(folder), key=lambda r: int(r["number"]))
    assert sorted(r["id"] for r in rows) == sorted(range(1, 4001)) or sorted(r["id"] for r in rows) == list(range(4000))
    assert [r["number"] for r in rows] == list(range(1, 4001))
    for name in "abc":
        nths = sorted(r["nth"] for r in rows if r["name"] == name)
        assert nths == list(range(1, len(nths) + 1))
    return rows


def switches(rows: list[dict[str, Any]], column: str) -> list[str]:
    """Return the versions in the order in which rows had them."""
    found: list[str] = []
    for row in rows:
        if not found or found[-1] != row[column]:
            found.append(row[column])
    return found


def test_new_code_is_taken_in_between_two_epochs_with_its_state(tmp_path: Path) -> None:
    prepare(tmp_path)
    run = begin(tmp_path, "run", "workflow.yaml", "--json")
    until(tmp_path, run, "own", "old")
    write(tmp_path, "new")
    until(tmp_path, run, "own", "new")
    done = ended(run)
    assert done.code == 0, done.err
    assert switches(check(tmp_path), "own") == ["old", "new"]
    told = [json.loads(line) for line in done.err.splitlines()]
    assert [t["code"] for t in told] == ["code.taken"] * len(told) != []
    by_file = [{r["keyed"] for r in map(json.loads, f.read_text().splitlines())} for f in (tmp_path / "out").iterdir()]
    assert {len(versions) for versions in by_file} == {1}, "one epoch, one code, in all tasks"


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        ("export const process = (r) => {", "own.js:1:"),
        (OWN.replace("{ seen = state; }", "{ throw new Error('another form'); }"), "another form"),
        (OWN.replace('own: "string"', 'own: "string", more: "int64"'), "its columns or its state are others"),
        (OWN.replace("export const exportState = () => seen;", ""), "its columns or its state are others"),
        ("throw new Error('at once');" + OWN, "at once"),
    ],
)
def test_new_code_that_does_not_do_keeps_the_old_one_running(tmp_path: Path, bad: str, why: str) -> None:
    prepare(tmp_path)
    run = begin(tmp_path, "run", "workflow.yaml", "--json")
    until(tmp_path, run, "own", "old")
    write(tmp_path, "bad", "own.js", bad)
    before = len(rows_of(tmp_path))
    wait_until(lambda: len(rows_of(tmp_path)) > before + 300, run)
    write(tmp_path, "good", "own.js", OWN)
    done = ended(run)
    assert done.code == 0, done.err
    assert switches(check(tmp_path), "own") == ["old", "good"]
    refused, taken = [json.loads(line) for line in done.err.splitlines()]
    assert (refused["code"], taken["code"]) == ("code.refused", "code.taken"), "each is told once"
    assert why in refused["message"]


@pytest.mark.parametrize("kill", ["before:take_in:{}", "after:take_in:{}", "after:begin_attempt:2", "before:restore:3"])
def test_a_kill_around_a_reload_loses_and_repeats_nothing(tmp_path: Path, kill: str) -> None:
    prepare(tmp_path)
    workflow = (tmp_path / "workflow.yaml").read_text().replace("rate: 1000", "rate: 4000")
    (tmp_path / "workflow.yaml").write_text(workflow)
    run = Forked(CHAOS, "workflow.yaml", "--kill", kill.format(6), cwd=tmp_path, environ=dict(os.environ))
    until(tmp_path, run, "own", "old")
    write(tmp_path, "new")
    done = run.completed(timeout=120)
    assert done.returncode == -signal.SIGKILL, done.stderr
    again = Forked(CHAOS, "workflow.yaml", cwd=tmp_path, environ=dict(os.environ)).completed(timeout=120)
    assert again.returncode == 0, again.stderr
    assert switches(check(tmp_path), "own") == ["old", "new"]


def test_a_checkpoint_that_is_asked_for_takes_it_in(tmp_path: Path) -> None:
    prepare(tmp_path)
    workflow = (tmp_path / "workflow.yaml").read_text()
    (tmp_path / "workflow.yaml").write_text(
        workflow.replace("interval: 30ms", "interval: 1h").replace("4000", "400000")
    )
    run = begin(tmp_path, "run", "workflow.yaml", "--json")

    def seal() -> bool:
        return dataflare(tmp_path, "checkpoint", "now", "workflow.yaml").code == 0

    def has(version: str) -> bool:
        seal()
        return any(r["own"] == version for r in rows_of(tmp_path))

    wait_until(lambda: has("old"), run)
    write(tmp_path, "new")
    wait_until(lambda: has("new"), run)
    while dataflare(tmp_path, "stop", "workflow.yaml").code:
        assert run.poll() is None
    assert ended(run).code == 0
    rows = sorted(rows_of(tmp_path), key=lambda r: int(r["number"]))
    assert [r["number"] for r in rows] == list(range(1, len(rows) + 1))
    assert switches(rows, "own") == ["old", "new"]
