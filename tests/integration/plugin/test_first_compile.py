"""The first compilation of a runtime takes some seconds: a person at a terminal is told, a program is not."""

from __future__ import annotations

import json
import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dataflare.plugin.engine import COMPILING
from dataflare.plugin.patience import LISTENER, told

WORKFLOW = """
id: first
sources: {rows: {type: memory, config: {rows: [{id: 1}]}}}
transformations: {passed: {type: wasm, inputs: [rows], config: {module: rules.js}}}
destinations: {out: {type: file, inputs: [passed], config: {path: out, format: jsonl}}}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "w.yaml").write_text(WORKFLOW)
    (tmp_path / "rules.js").write_text("export const process = (r) => r;")
    return tmp_path


def at_a_terminal(folder: Path, *arguments: str, language: str = "en") -> str:
    """Run a command whose stderr is a terminal, and return what it says there."""
    ours, theirs = pty.openpty()
    environ = {**os.environ, "XDG_CACHE_HOME": str(folder / "cache"), "DATAFLARE_LANG": language, "NO_COLOR": "1"}
    at_once = "from dataflare.plugin import patience; patience.SECONDS = 0.0; from dataflare.cli.main import run; run()"
    command = [sys.executable, "-c", at_once, *arguments]
    done = subprocess.run(command, cwd=folder, env=environ, stdout=subprocess.PIPE, stderr=theirs, check=False)
    os.close(theirs)
    said = b""
    try:
        while part := os.read(ours, 1 << 16):
            said += part
    except OSError:  # the other end is closed, and all is read
        pass
    os.close(ours)
    assert done.returncode == 0, said
    return said.decode()


def test_a_person_is_told_once_and_a_program_never(folder: Path) -> None:
    assert COMPILING not in at_a_terminal(folder, "plan", "w.yaml", "--json")
    for path in (folder / "cache" / "dataflare" / "wasm").glob("*.compiled"):
        path.unlink()
    assert COMPILING in at_a_terminal(folder, "plan", "w.yaml")
    assert COMPILING not in at_a_terminal(folder, "run", "w.yaml"), "it is kept"


def test_what_is_quick_is_not_told() -> None:
    said: list[str] = []
    token = LISTENER.set(said.append)
    try:
        with told("quick", seconds=60):
            pass
        with told("slow", seconds=0):
            while not said:
                pass
    finally:
        LISTENER.reset(token)
    with told("nobody listens", seconds=0):
        pass
    assert said == ["slow"]


LASTING = """
id: lasting
runtime: {checkpoint: {interval: 50ms}}
sources:
  rows: {type: generator, config: {rows: 4000, batch_rows: 100, rate: 2000, columns: {id: sequence}}}
transformations:
  passed:
    type: wasm
    inputs: [rows]
    config: {module: rules.js, timeout: 100ms}
    on_error: {action: skip}
destinations: {out: {type: file, inputs: [passed], config: {path: out, format: jsonl}}}
"""


def begun(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    environ = {**os.environ, "XDG_CACHE_HOME": str(folder / "cache")}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(
        [sys.executable, "-m", "dataflare.cli", *arguments], cwd=folder, env=environ, text=True, **pipes
    )


def test_two_runs_that_compile_the_same_at_once_both_succeed(folder: Path) -> None:
    for name in ("one", "two"):
        (folder / f"{name}.yaml").write_text(WORKFLOW.replace("first", name).replace("path: out", f"path: {name}"))
    runs = [begun(folder, "run", f"{name}.yaml", "--json") for name in ("one", "two")]
    for run in runs:
        _, err = run.communicate(timeout=120)
        assert run.returncode == 0, err
    kept = {path.name for path in (folder / "cache" / "dataflare" / "wasm").iterdir()}
    assert {Path(name).suffix for name in kept - {"key"}} == {".compiled"}, "nothing half-made is left"
    assert [path.read_text() for name in ("one", "two") for path in (folder / name).glob("*.jsonl")] == [
        '{"id":1}\n'
    ] * 2
    assert COMPILING not in at_a_terminal(folder, "plan", "one.yaml"), "what they have kept is whole"


def test_a_run_goes_on_where_the_folder_of_compiled_code_vanishes(folder: Path) -> None:
    (folder / "w.yaml").write_text(LASTING)
    (folder / "rules.js").write_text("export const process = (r) => { if (r.id === 3900) for (;;); return r; };")
    run = begun(folder, "run", "w.yaml", "--json")
    while not list(folder.glob("out/*")):
        assert run.poll() is None, run.communicate()
    shutil.rmtree(folder / "cache")
    out, err = run.communicate(timeout=120)
    assert run.returncode == 0, err
    assert json.loads(out.splitlines()[-1])["nodes"]["out"]["rows_in"] == 3999, "a new instance took over"
