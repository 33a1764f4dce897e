"""`dataflare plugin new` and `build`: a folder that is a plugin, a compiler that is run, a file that stays whole."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dataflare.cli.main import main

DATAFLARE = Path(sys.executable).with_name("dataflare")


def said(capsys: pytest.CaptureFixture[str]) -> tuple[str, str]:
    return capsys.readouterr()


@pytest.mark.parametrize("language", ["js", "typescript"])
def test_a_new_script_is_a_plugin_and_passes_its_tests(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, language: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["plugin", "new", "price", "--language", language]) == 0
    out, _ = said(capsys)
    assert out.startswith("wrote price into price: plugin.toml, ")
    assert out.endswith("next:\n  dataflare plugin test price\n")
    assert main(["plugin", "build", "price"]) == 0
    assert " bytes, runs as it is\n" in said(capsys)[0]
    monkeypatch.setenv("PATH", "")
    assert main(["plugin", "test", "price"]) == 0
    assert said(capsys) == ("ok    first  4 in, 2 out, 1 failed\n1 passed\n", "")


def test_new_tells_json_and_which_languages_there_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plugin", "new", "price", "--language", "c", "--into", str(tmp_path / "x"), "--json"]) == 0
    told = json.loads(said(capsys)[0])
    assert (told["folder"], told["language"]) == (str(tmp_path / "x"), "c")
    assert "src/plugin.c" in told["files"]
    assert main(["plugin", "new", "price"]) == 2
    assert "--language javascript|typescript|c" in said(capsys)[1]
    assert main(["plugin", "new", "Price", "--language", "js"]) == 2
    assert main(["plugin", "new", "price", "--language", "js", "--into", "/proc/price"]) == 3
    assert "cannot be written" in said(capsys)[1]


def test_a_script_that_is_no_plugin_is_told_with_its_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["plugin", "new", "price", "--language", "js", "--into", str(tmp_path)])
    said(capsys)
    for code, place, what in (
        ("export const a = 1;\nexport function process(r) { return r", ":2:38", "Unexpected token"),
        ("export const other = 1;", "", "neither process nor processColumns"),
        (
            "export const process = (r) => r, open = (s) => { if (s.rate === 2) throw Error('it is 2'); };",
            ":1",
            "it is 2",
        ),
    ):
        (tmp_path / "plugin.js").write_text(code)
        assert main(["plugin", "build", str(tmp_path)]) == 2
        err = said(capsys)[1]
        assert f"{tmp_path}/plugin.js{place}" in err
        assert what in err


def test_a_folder_without_a_manifest_or_with_a_wrong_one_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for verb in ("build", "test", "bench"):
        assert main(["plugin", verb, str(tmp_path)]) == 3
        assert "the manifest cannot be read: No such file" in said(capsys)[1]
    (tmp_path / "plugin.toml").write_text('[plugin]\nname = "P"\n')
    assert main(["plugin", "build", str(tmp_path)]) == 2
    assert f"{tmp_path}/plugin.toml:2" in said(capsys)[1]


# ---- compilers ------------------------------------------------------------------------------------------------------


@pytest.fixture
def plugin(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """Return the folder of a new plugin in C with a file that was built before."""
    folder = tmp_path / "price"
    main(["plugin", "new", "price", "--language", "c", "--into", str(folder)])
    said(capsys)
    (folder / "plugin.wasm").write_bytes(b"old")
    return folder


def compiler(folder: Path, script: str) -> str:
    """Put programs called clang-19 and wasm-ld-19 into a folder; return a PATH on which no others are but sh's own."""
    for name in ("clang-19", "wasm-ld-19"):
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
    return str(folder)


def test_a_missing_compiler_is_told_with_what_installs_it(
    plugin: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setitem(sys.modules, "ziglang", None)
    assert main(["plugin", "build", str(plugin)]) == 3
    err = said(capsys)[1]
    assert "a plugin in C is not built without clang-19 and wasm-ld-19, or the Python package ziglang" in err
    assert "apt install clang-19 lld-19 wasi-libc libclang-rt-19-dev-wasm32 or: pip install ziglang" in err
    assert (plugin / "plugin.wasm").read_bytes() == b"old"


def test_a_compiler_that_a_plugin_brings_itself_is_not_run(
    plugin: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (plugin / "node_modules" / ".bin").mkdir(parents=True)
    compiler(plugin / "node_modules" / ".bin", f"echo > {tmp_path}/stolen")
    monkeypatch.setenv("PATH", compiler(tmp_path, "exit 7"))
    assert main(["plugin", "build", str(plugin)]) == 2
    assert "clang-19 ended with 7" in said(capsys)[1]
    monkeypatch.setenv("PATH", "")
    monkeypatch.setitem(sys.modules, "ziglang", None)
    assert main(["plugin", "build", str(plugin)]) == 3
    assert not (tmp_path / "stolen").exists()


SAYS = """echo 'src/plugin.c:3:7: error: expected ;
 here
src/plugin.c:3:7: error: expected ;
src/other.h:9:1: fatal error: no such file' >&2; exit 1"""


def test_what_a_compiler_finds_is_told_with_its_places_and_the_old_file_stays(
    plugin: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", compiler(tmp_path, SAYS))
    assert main(["plugin", "build", str(plugin), "--json"]) == 2
    findings = [json.loads(line) for line in said(capsys)[1].splitlines()]
    assert [(f["message"], f["file"], f["line"], f["column"]) for f in findings] == [
        ("expected ;", str(plugin / "src/plugin.c"), 3, 7),
        ("no such file", str(plugin / "src/other.h"), 9, 1),
    ]
    monkeypatch.setenv("PATH", compiler(tmp_path, "echo 'what a day'; exit 7"))
    assert main(["plugin", "build", str(plugin)]) == 2
    assert "clang-19 ended with 7: what a day" in said(capsys)[1]
    assert (plugin / "plugin.wasm").read_bytes() == b"old"


def test_what_is_no_plugin_does_not_take_the_place_of_one(
    plugin: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", compiler(tmp_path, 'while [ "$1" != -o ]; do shift; done; echo no > "$2"'))
    assert main(["plugin", "build", str(plugin)]) == 2
    assert "neither a component of WebAssembly nor a core module" in said(capsys)[1]
    assert (plugin / "plugin.wasm").read_bytes() == b"old"
    (plugin / "src" / "plugin.c").unlink()
    assert main(["plugin", "build", str(plugin)]) == 2
    assert "the source src/plugin.c is not there" in said(capsys)[1]


def test_a_build_that_is_killed_leaves_the_old_file(plugin: Path, tmp_path: Path) -> None:
    path = compiler(tmp_path, f"echo > {tmp_path}/started; exec /bin/sleep 600")
    before = sorted(plugin.rglob("*"))
    process = subprocess.Popen(
        [DATAFLARE, "plugin", "build", str(plugin)], env={**os.environ, "PATH": path}, start_new_session=True
    )
    while not (tmp_path / "started").exists():
        assert process.poll() is None
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert (plugin / "plugin.wasm").read_bytes() == b"old"
    assert sorted(plugin.rglob("*")) == before


def test_a_build_that_is_interrupted_leaves_nothing_half_built(plugin: Path, tmp_path: Path) -> None:
    path = compiler(tmp_path, f"echo > {tmp_path}/started; exec /bin/sleep 600")
    (tmp_path / "temporary").mkdir()
    environ = {**os.environ, "PATH": path, "TMPDIR": str(tmp_path / "temporary")}
    process = subprocess.Popen([DATAFLARE, "plugin", "build", str(plugin)], env=environ, start_new_session=True)
    while not (tmp_path / "started").exists():
        assert process.poll() is None
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait() == 130
    assert not list((tmp_path / "temporary").iterdir())
