"""The process of a folder while its files change: what it says, and how it ends."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.chaos.processes import begin, dataflare, end, ended, lines, press_ctrl_c, wait_until

if TYPE_CHECKING:
    from pathlib import Path

TEXT = """
id: NAME
runtime: {checkpoint: {interval: 50ms}, state: {type: sqlite, path: state}}
sources:
  made: {type: generator, mode: MODE, config: {rows: ROWS, columns: {id: sequence}}}
destinations:
  out: {type: file, inputs: [made], config: {path: out-NAME, format: jsonl}}
"""


def write(folder: Path, name: str, mode: str = "full", rows: str = "5") -> Path:
    file = folder / f"{name}.yaml"
    file.write_text(TEXT.replace("NAME", name).replace("MODE", mode).replace("ROWS", rows))
    return file


def test_files_that_come_change_and_go_are_followed_and_others_are_not_disturbed(tmp_path: Path) -> None:
    write(tmp_path, "steady", "streaming", "null, rate: 100")
    process = begin(tmp_path, "run", ".", "--restart-changed")
    try:
        wait_until(lambda: len(lines(tmp_path / "out-steady")) > 10, process)
        late = write(tmp_path, "late", "streaming", "null, rate: 100")
        wait_until(lambda: len(lines(tmp_path / "out-late")) > 10, process)
        late.write_text(late.read_text().replace("rate: 100", "rate: 200, seed: 3"))
        wait_until(lambda: [r["status"] for r in history(tmp_path, "late")] == ["stopped", "running"], process)
        seen = len(lines(tmp_path / "out-late"))
        late.write_text(late.read_text().replace("jsonl", "jsonll"))
        wait_until(lambda: len(lines(tmp_path / "out-late")) > seen + 400, process)
        press_ctrl_c(process)
        done = ended(process)
    finally:
        end(process)
    assert done.code == 2  # it is wrong still
    assert "late  is taken up from late.yaml" in done.out
    assert "late  late.yaml has changed: it goes on with the new version from its last checkpoint" in done.out
    assert "error  late.yaml:7:" in done.err
    assert "late.yaml is wrong; what it was before counts until it is corrected" in done.err
    assert len(history(tmp_path, "steady")) == 1
    for name in ("steady", "late"):
        ids = [row["id"] for row in lines(tmp_path / f"out-{name}")]
        assert ids == list(range(len(ids))), name


def history(folder: Path, name: str) -> list[dict[str, str]]:
    found = dataflare(folder, "history", name, "--state", "state", "--json")
    return [json.loads(line) for line in found.out.splitlines()]
