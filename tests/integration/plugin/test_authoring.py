"""A new plugin of every language is built with its real compiler, passes its tests, and fails where it should."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dataflare.cli.main import main
from dataflare.errors import UnavailableError
from dataflare.plugin.building import toolchain_of, try_plugin
from dataflare.plugin.languages import LANGUAGES
from dataflare.plugin.manifest import Manifest

DATAFLARE = Path(sys.executable).with_name("dataflare")
IN_SOAK = ("go", "zig", "assemblyscript")
"""Their compilers are had for `make soak`."""


def languages(*, compiled: bool) -> list[object]:
    """Return the languages as parameters of a test."""
    return [
        pytest.param(name, marks=[pytest.mark.soak] if name in IN_SOAK else [])
        for name, language in LANGUAGES.items()
        if language.toolchains or not compiled
    ]


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = main(["plugin", *map(str, arguments)])
    return code, *capsys.readouterr()


def made(language: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> Manifest:
    """Write a new plugin; skip the test where nothing is installed that builds or runs it."""
    assert run(capsys, "new", "price", "--language", language, "--into", folder)[0] == 0
    manifest = Manifest.read(folder)
    try:
        if LANGUAGES[language].toolchains:
            toolchain_of(LANGUAGES[language], folder, os.environ)
        else:
            try_plugin(folder / manifest.entry, manifest.entry, {})
    except UnavailableError as error:
        pytest.skip(f"{error.what}: {error.hint}")
    return manifest


@pytest.mark.timeout(600)  # the runtime of Python is compiled anew
@pytest.mark.parametrize("language", languages(compiled=False))
def test_a_new_plugin_builds_and_passes_at_once(
    language: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = made(language, tmp_path, capsys)
    code, out, err = run(capsys, "build", tmp_path)
    assert (code, err) == (0, "")
    assert out.startswith(f"{tmp_path}/{manifest.entry}  ")
    before = (tmp_path / manifest.entry).read_bytes()
    assert run(capsys, "test", tmp_path) == (0, "ok    first  4 in, 2 out, 1 failed\n1 passed\n", "")
    assert run(capsys, "test", tmp_path, "--write")[1] in ("", f"wrote {tmp_path}/tests/first: errors.jsonl\n")
    assert run(capsys, "test", tmp_path)[0] == 0
    code, out, err = run(capsys, "run", tmp_path, "--input", tmp_path / "tests/first/in.jsonl")
    assert code == 1
    assert json.loads(out.splitlines()[0]) == {"id": 1, "status": "paid", "amount": 10.5, "total": 10.5}
    assert err.startswith("row 3: the amount is below zero")
    code, out, _ = run(capsys, "bench", tmp_path, "--rows", 100, "--json")
    told = json.loads(out)
    assert code == 0
    assert [way for way in told["ways"] if way["failed"]] == []
    if manifest.source:
        assert run(capsys, "build", tmp_path)[0] == 0
        assert (tmp_path / manifest.entry).read_bytes() == before


@pytest.mark.parametrize("language", languages(compiled=True))
def test_what_a_compiler_finds_has_its_place(language: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = made(language, tmp_path, capsys)
    (tmp_path / manifest.entry).write_bytes(b"old")
    source = tmp_path / manifest.source
    lines = source.read_text().splitlines(keepends=True)
    source.write_text("".join([*lines, "this is not ( a program\n"]))
    code, out, err = run(capsys, "build", tmp_path, "--json")
    assert (code, out) == (2, "")
    findings = [json.loads(line) for line in err.splitlines()]
    assert {f["file"] for f in findings} == {str(source)}
    assert any(f["line"] == len(lines) + 1 for f in findings)
    assert (tmp_path / manifest.entry).read_bytes() == b"old"


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made("c", tmp_path, capsys)
    prefix: list[str] = []
    if os.geteuid() == 0:
        if shutil.which("setpriv") is None:
            pytest.skip("root writes everywhere, and there is no setpriv to give that up")
        prefix = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all"]
    command = [*prefix, str(DATAFLARE), "plugin", "build", str(tmp_path)]
    tmp_path.chmod(0o555)
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    finally:
        tmp_path.chmod(0o755)
    assert done.returncode == 3
    assert "what was built cannot be written: Permission denied" in done.stderr


def test_a_folder_that_has_something_else_at_the_place_of_the_entry_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made("c", tmp_path, capsys)
    (tmp_path / "plugin.wasm").mkdir()
    (tmp_path / "plugin.wasm" / "mine").write_text("")
    code, _, err = run(capsys, "build", tmp_path)
    assert code == 3
    assert "what was built cannot be written: Is a directory" in err
    assert sorted(p.name for p in tmp_path.iterdir() if p.name.startswith(".")) == [".gitignore"]
