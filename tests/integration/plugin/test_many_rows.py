"""What a plugin does with many rows: `dataflare plugin bench` measures it, `run` passes them in bounded memory."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest

from dataflare.cli.main import main

DATAFLARE = Path(sys.executable).with_name("dataflare")
C_PAGE = Path(__file__).parents[3] / "docs" / "plugins-in-c.md"
CODE = """export const process = (r) => {
  if (r.n < 0) throw new Error("below zero");
  return { ...r, total: r.n };
};"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "p.js").write_text(CODE)
    return tmp_path / "p.js"


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, list[str], list[str]]:
    code = main(["plugin", *map(str, arguments)])
    out, err = capsys.readouterr()
    return code, out.splitlines(), err.splitlines()


def test_each_way_in_which_rows_pass_is_measured(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = file.with_name("rows.jsonl")
    rows.write_text('{"n": 1}\n{"n": -1}\n{"n": 2}\n')
    file.write_text(f"export const adds = {{ total: 'int64' }};\n{CODE}")
    code, out, _ = run(capsys, "bench", file, "--input", rows, "--rows", 50, "--json")
    told = json.loads(out[0])
    assert code == 0
    assert (told["rows_file"], told["rows_left_out"]) == (str(rows), 1)
    ways = {way["name"]: way for way in told["ways"]}
    assert list(ways) == ["one record a call", "JSON lines", "JSON columns", "in a workflow"]
    assert all(way["rows"] == 50 and way["rows_per_second"] > 0 and way["size_bytes"] > 0 for way in ways.values())
    assert all(told[name] > 0 for name in ("cold_seconds", "cached_seconds", "instance_seconds", "fuel_factor"))
    assert told["instance_bytes"] >= 0


def test_columns_are_measured_where_a_plugin_asks_for_them(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text("export const input = ['n'], adds = { t: 'int64' };\nexport const process = ({ n }) => ({ t: n });")
    rows = file.with_name("rows.jsonl")
    rows.write_text('{"n": 1, "other": "x"}\n')
    code, out, _ = run(capsys, "bench", file, "--input", rows, "--rows", 50)
    assert code == 0
    assert out[0] == f"{file}: 50 rows like those of {rows}"
    assert [line.split("  ")[0] for line in out[3:7]] == [
        "one record a call", "JSON lines", "JSON columns", "in a workflow",
    ]  # fmt: skip
    heads = out[2]
    assert all(len(line) <= len(heads) for line in out[3:7])
    assert len({line.rindex(" ") for line in out[3:7]} | {len(heads)}) > 1


def test_what_a_plugin_cannot_do_is_told_beside_the_rest(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(
        "export const input = ['n'], adds = { t: 'int64' };\nexport const processColumns = ({ n }) => ({ t: n });"
    )
    rows = file.with_name("rows.jsonl")
    rows.write_text('{"n": 1}\n')
    code, out, _ = run(capsys, "bench", file, "--input", rows, "--rows", 50)
    assert code == 0
    assert any(re.fullmatch(r"JSON lines +- +- +-", line) for line in out)
    assert any(line.startswith("JSON lines:") and "it exports no process" in line for line in out)


def test_a_column_that_the_rows_lack_is_told(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text("export const input = ['n'], adds = { t: 'int64' };\nexport const process = ({ n }) => ({ t: n });")
    rows = file.with_name("rows.jsonl")
    rows.write_text('{"other": 1}\n')
    code, _, err = run(capsys, "bench", file, "--input", rows)
    assert code == 2
    assert err[0] == "error: the plugin is to be given 'n', and there is no such column"


def test_rows_that_are_not_there_or_fail_all_are_told(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "bench", file)
    assert code == 2
    assert err == ["error: there are no rows", "  hint: name a file with some, as JSON lines: --input rows.jsonl"]
    rows = file.with_name("rows.jsonl")
    rows.write_text('{"n": -1}\n')
    code, _, err = run(capsys, "bench", file, "--input", rows)
    assert code == 1
    assert err[0] == "error: every row fails, so there is nothing to measure"


@pytest.mark.skipif(shutil.which("clang-19") is None, reason="needs clang-19 and wasi-libc")
def test_a_plugin_that_takes_buffers_alone_is_measured_in_a_workflow(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = re.search(r"```c\n(/\* total\.c \*/.*?)```", C_PAGE.read_text(), re.DOTALL)[1]
    (tmp_path / "total.c").write_text(source)
    sdk, made = files("dataflare.plugin") / "sdk", tmp_path / "total.wasm"
    flags = ["--target=wasm32-wasi", "-O3", "-mexec-model=reactor", "-I", str(sdk)]
    subprocess.run(["clang-19", *flags, str(tmp_path / "total.c"), "-o", str(made)], check=True)
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"amount": 1.5, "quantity": 2.0}\n')
    code, out, _ = run(capsys, "bench", made, "--input", rows, "--rows", 1000, "--json")
    told = json.loads(out[0])
    assert code == 0
    ways = {way["name"]: way for way in told["ways"]}
    assert "it takes rows as buffers alone" in ways["JSON lines"]["failed"]
    assert ways["in a workflow, as buffers"]["rows"] == 1000
    assert ways["in a workflow, as buffers"]["failed"] == ""
    assert told["fuel_factor"] > 0


def test_many_rows_pass_in_bounded_memory(file: Path) -> None:
    rows = file.with_name("rows.jsonl")
    rows.write_text((json.dumps({"n": 5, "text": "x" * 1000}) + "\n") * 100_000)
    command = [DATAFLARE, "plugin", "run", file, "--input", rows]
    peaks = []
    with subprocess.Popen(command, text=True, stdout=subprocess.PIPE) as process:
        for part in (45_000, 54_000):  # the rest is in the buffer of the pipe
            for _ in range(part):
                assert process.stdout.readline()
            peaks.append(int(re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{process.pid}/status").read_text())[1]))
        process.kill()
    assert peaks[1] - peaks[0] < 24 << 10  # KB, of 54 MB more
