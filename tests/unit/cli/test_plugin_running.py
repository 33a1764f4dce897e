"""`dataflare plugin run` passes rows on as they come."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dataflare.cli.main import main

DATAFLARE = Path(sys.executable).with_name("dataflare")
CODE = """export const outputs = { big: null };
let rate;
export const open = (settings) => { rate = settings.rate ?? 1; };
export const close = () => dataflare.log("closed");
export function process(r) {
  if (r.n < 0) throw new Error("below zero");
  if (r.n > 10) return dataflare.to("big", r);
  return r.n === 0 ? null : { ...r, total: r.n * rate };
}"""
LINES = '{"n": 1}\n\n{"n": -1}\n{"n": ' + "[" * 100_000 + '\n{"n": 11}\n[]\n{"n": 0}\n{"n": 2}'


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "rows.jsonl").write_text(LINES)
    (tmp_path / "p.js").write_text(CODE)
    return tmp_path / "p.js"


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, list[str], list[str]]:
    code = main(["plugin", *map(str, arguments)])
    out, err = capsys.readouterr()
    return code, out.splitlines(), err.splitlines()


def test_rows_go_out_and_why_others_fail_is_told_by_their_lines(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = file.with_name("rows.jsonl")
    code, out, err = run(capsys, "run", file, "--input", rows, "--settings", '{"rate": 3}')
    assert code == 1
    assert out == ['{"n": 1, "total": 3}', '{"big": {"n": 11}}', '{"n": 2, "total": 6}']
    assert err[0] == "row 3: below zero (6)"
    assert err[1].startswith("row 4: this is no JSON")
    assert err[2:] == ["row 6: this is no object: {...}", "info: closed"]
    code, out, err = run(capsys, "run", file, "--input", rows, "--json")
    assert [json.loads(line) for line in out] == [
        {"output": "", "row": {"n": 1, "total": 1}},
        {"output": "big", "row": {"n": 11}},
        {"output": "", "row": {"n": 2, "total": 2}},
    ]
    assert json.loads(err[0]) == {"row": 3, "error": "below zero (6)"}
    rows.write_text('{"n": 1}\n')
    assert run(capsys, "run", file, "--input", rows)[0] == 0


def test_what_cannot_be_run_is_told(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "the plugin cannot be read" in run(capsys, "run", file.with_name("none.js"))[2][0]
    code, _, err = run(capsys, "run", file, "--input", file.with_name("none.jsonl"))
    assert (code, err[0]) == (3, "error: the rows cannot be read: No such file or directory")
    for settings, what in (("{", "the settings are no JSON"), ("[]", "the settings are no object")):
        code, _, err = run(capsys, "run", file, "--settings", settings)
        assert code == 2
        assert what in err[0]
    code, _, err = run(capsys, "run", file, "--watch")
    assert code == 2
    assert "rows of stdin come but once" in err[0]


def test_a_folder_is_run_by_its_manifest_with_its_limits(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    head = '[plugin]\nname = "p"\nversion = "1.0.0"\nlanguage = "javascript"\nentry = "p.js"\ninterface = 1\n'
    (file.parent / "plugin.toml").write_text(f'{head}[limits]\ntimeout = "50ms"\n')
    file.write_text("export const process = (r) => { if (r.n === 2) for (;;); return r; };")
    rows = file.with_name("rows.jsonl")
    rows.write_text('{"n": 1}\n{"n": 2}\n')
    code, out, err = run(capsys, "run", file.parent, "--input", rows)
    assert (code, out) == (1, ['{"n": 1}'])
    assert err == ["row 2: stopped: it took longer than it may"]


@pytest.fixture
def started(file: Path):
    """Return what starts a process that is killed at the end."""
    processes: list[subprocess.Popen[str]] = []

    def start(*options: object) -> subprocess.Popen[str]:
        pipes: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        command = [str(DATAFLARE), "plugin", "run", str(file), *map(str, options)]
        processes.append(subprocess.Popen(command, text=True, env={**os.environ, "NO_COLOR": "1"}, **pipes))
        return processes[-1]

    yield start
    for one in processes:
        one.kill()
        one.communicate()


def test_rows_come_out_while_others_are_still_to_come_in_and_ctrl_c_closes_the_plugin(started) -> None:
    process = started()
    for n in (1, 2, 3):
        process.stdin.write(f'{{"n": {n}}}\n')
        process.stdin.flush()
        assert json.loads(process.stdout.readline()) == {"n": n, "total": n}
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    assert process.stdout.read() == ""
    assert process.stderr.read() == "info: closed\n"


def test_a_reader_that_has_enough_ends_it(started) -> None:
    process = started()
    process.stdout.close()
    process.stdin.write('{"n": 1}\n')
    process.stdin.flush()
    assert process.wait(60) == 1
    assert "Traceback" not in process.stderr.read()


def test_a_plugin_that_is_watched_runs_again_when_it_changes(started, file: Path) -> None:
    rows = file.with_name("rows.jsonl")
    rows.write_text('{"n": 1}\n')
    process = started("--input", rows, "--watch")
    assert json.loads(process.stdout.readline()) == {"n": 1, "total": 1}
    said = iter(process.stderr.readline, "")
    assert "waiting for changes; Ctrl-C ends it\n" in said
    file.write_text("export const process = (;")
    assert any("p.js:1" in line for line in said)
    assert "waiting for changes; Ctrl-C ends it\n" in said
    file.write_text("export const process = (r) => ({ again: r.n });")
    assert json.loads(process.stdout.readline()) == {"again": 1}
    rows.write_text('{"n": 2}\n')
    assert json.loads(process.stdout.readline()) == {"again": 2}
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
