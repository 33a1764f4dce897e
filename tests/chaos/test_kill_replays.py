"""kill -9 in the middle of a replay of rejected rows: each of them lands once, whoever goes on."""

from __future__ import annotations

import json
import signal
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.chaos.forked import Forked
from tests.chaos.processes import dataflare, lines

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

BAD = 400
WORKFLOW = """
id: w
runtime: {parallelism: 2, checkpoint: {interval: 50ms}}
sources:
  raw: {type: file, mode: incremental, config: {path: in.csv, format: csv, columns: {id: int64, amount: string}}}
transformations:
  typed:
    type: mapping
    inputs: [raw]
    config: {set: {amount: cast(amount as bigint)}}
    on_error: {action: dead_letter}
destinations:
  table: {type: sqlite, inputs: [typed], config: {path: shop.db, table: rows}}
  out: {type: file, inputs: [typed], config: {path: out, format: jsonl}}
"""
FIXED = WORKFLOW.replace("cast(amount as bigint)", '"coalesce(try_cast(amount as bigint), 0)"')
KILLS = (
    "after:begin_attempt:1", "after:newest:1", "after:_read_and_run:1", "before:prepare:1", "after:prepare:2",
    "before:seal:1", "after:seal:1", "before:commit:1", "after:commit:1", "after:commit:2", "before:mark_committed:1",
    "after:mark_committed:1", "order", "replayed",
)  # fmt: skip


def mortal() -> int:
    """Be a command line that dies as its first argument tells."""
    from dataflare.cli.main import main
    from dataflare.executor import runtime
    from dataflare.operate.dead_letters import LetterStore
    from dataflare.testing.chaos import MortalRuntime, die

    _, kill, *arguments = sys.argv

    class Mortal(MortalRuntime):
        def __init__(self, observer: Any = None) -> None:
            super().__init__(kill, 1)
            self._observer = observer

    runtime.LocalRuntime = Mortal
    if kill in ("order", "replayed"):
        setattr(LetterStore, kill, lambda *_: die())
    return main(arguments)


def replay(folder: Path, kill: str = "") -> subprocess.CompletedProcess[str]:
    command = [f"{__name__}:mortal", kill, "dead-letter", "replay", "w.yaml"]
    return Forked(*command, cwd=folder).completed(timeout=60)


@pytest.mark.parametrize(("kill", "between"), [*((k, "") for k in KILLS), *((k, "run") for k in KILLS[6::2])])
def test_a_replay_that_is_killed_lands_each_row_once(tmp_path: Path, kill: str, between: str) -> None:
    import sqlite3

    (tmp_path / "w.yaml").write_text(WORKFLOW)
    good = "".join(f"{n},{n}\n" for n in range(BAD, BAD + 50))
    (tmp_path / "in.csv").write_text("id,amount\n" + "".join(f"{n},bad\n" for n in range(BAD)) + good)
    assert dataflare(tmp_path, "run", "w.yaml").code == 0
    assert len(lines(tmp_path / "out")) == 50
    (tmp_path / "w.yaml").write_text(FIXED)

    assert replay(tmp_path, kill).returncode == -signal.SIGKILL
    if between:  # the workflow itself goes on in between
        assert dataflare(tmp_path, "run", "w.yaml").code == 0
    done = replay(tmp_path)

    assert done.returncode == 0, done.stderr
    expected = list(range(BAD + 50))
    assert sorted(row["id"] for row in lines(tmp_path / "out")) == expected
    with sqlite3.connect(tmp_path / "shop.db") as database:
        assert [n for (n,) in database.execute("select id from rows order by id")] == expected
    listed = dataflare(tmp_path, "dead-letter", "list", "w.yaml", "--json").out
    assert [json.loads(line) for line in listed.splitlines()] == []
    again = dataflare(tmp_path, "run", "w.yaml")
    assert again.code == 0, again.err
    assert sorted(row["id"] for row in lines(tmp_path / "out")) == expected
