"""Compiled code on disk is native code: nothing runs that this user did not compile, whatever happens to the files."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from dataflare.errors import WorkflowError
from dataflare.plugin.compiled import CompiledFiles
from dataflare.plugin.engine import WasmEngine

MODULE = b"\0asm\x01\0\0\0"


def taken(files, name):
    """Return what is kept, which is the same whether it is read or run."""
    data = files.load(name)
    with files.runnable(name) as path:
        assert (Path(path).read_bytes() if path is not None else None) == data
    return data


def test_what_was_kept_comes_back_from_another_process(tmp_path):
    CompiledFiles(tmp_path / "files").keep("a", b"native")
    assert taken(CompiledFiles(tmp_path / "files"), "a") == b"native"
    assert taken(CompiledFiles(tmp_path / "files"), "b") is None
    for path in (tmp_path / "files").iterdir():
        assert path.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "files").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("at", [0, 20, 31, 32, 35, -1])
def test_a_changed_byte_is_found(tmp_path, at):
    files = CompiledFiles(tmp_path)
    tmp_path.chmod(0o700)
    files.keep("a", b"native")
    path = tmp_path / "a.compiled"
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)
    assert taken(files, "a") is None
    path.write_bytes(b"short")
    assert taken(files, "a") is None


def test_a_file_under_another_name_is_not_taken(tmp_path):
    files = CompiledFiles(tmp_path / "files")
    files.keep("a", b"native")
    shutil.copy(tmp_path / "files" / "a.compiled", tmp_path / "files" / "b.compiled")
    assert taken(files, "b") is None


def test_a_forged_file_of_another_key_is_not_taken(tmp_path):
    CompiledFiles(tmp_path / "theirs").keep("a", b"hostile")
    files = CompiledFiles(tmp_path / "ours")
    files.keep("b", b"native")
    shutil.copy(tmp_path / "theirs" / "a.compiled", tmp_path / "ours" / "a.compiled")
    assert taken(files, "a") is None


@pytest.mark.parametrize("shared", ["key", "."])
def test_what_others_may_read_or_write_is_not_trusted(tmp_path, shared):
    files = CompiledFiles(tmp_path / "files")
    files.keep("a", b"native")
    (tmp_path / "files" / shared).chmod(0o755)
    assert taken(files, "a") is None
    files.keep("c", b"native")
    assert taken(files, "c") is None


def test_a_folder_that_is_a_link_is_not_trusted(tmp_path):
    CompiledFiles(tmp_path / "there").keep("a", b"native")
    (tmp_path / "here").symlink_to(tmp_path / "there")
    assert taken(CompiledFiles(tmp_path / "here"), "a") is None


def test_where_nothing_can_be_kept_all_is_compiled_anew(tmp_path):
    (tmp_path / "file").write_text("in the way")
    files = CompiledFiles(tmp_path / "file" / "below")
    files.keep("a", b"native")
    assert taken(files, "a") is None
    assert WasmEngine(fuel=False, files=files).compiled(MODULE) is not None


def test_code_is_compiled_once_and_anew_when_the_kept_one_was_changed(tmp_path, monkeypatch):
    compiled = []
    original = WasmEngine._compile

    def counted(self, name, kind, code):
        compiled.append(name)
        return original(self, name, kind, code)

    monkeypatch.setattr(WasmEngine, "_compile", counted)
    files = CompiledFiles(tmp_path / "files")
    engine = WasmEngine(fuel=False, files=files)
    assert engine.compiled(MODULE) is engine.compiled(MODULE)
    WasmEngine(fuel=False, files=files).compiled(MODULE)
    assert len(compiled) == 1
    (path,) = (tmp_path / "files").glob("*.compiled")
    path.write_bytes(path.read_bytes()[:-1])
    WasmEngine(fuel=False, files=files).compiled(MODULE)
    WasmEngine(fuel=True, files=files).compiled(MODULE)  # other settings are another file
    assert len(compiled) == 3


def test_a_file_that_is_overwritten_while_its_code_runs_changes_nothing(tmp_path, opened):
    engine = WasmEngine(fuel=False, files=CompiledFiles(tmp_path / "files"))
    source = "export const process = (r) => ({ n: [3, 1, 2].sort().map((x) => x * r.a) });"
    opened(source, of=engine)  # compiles
    again = WasmEngine(fuel=False, files=CompiledFiles(tmp_path / "files"))
    plugin = opened(source, of=again)
    for path in (tmp_path / "files").glob("*.compiled"):
        with path.open("r+b") as file:
            file.write(b"\xcc" * path.stat().st_size)
    assert plugin.process({"a": 2}) == {"n": [2, 4, 6]}


def test_what_cannot_be_compiled_says_so(tmp_path):
    engine = WasmEngine(fuel=False, files=CompiledFiles(tmp_path / "files"))
    with pytest.raises(WorkflowError, match="cannot be compiled"):
        engine.compiled(MODULE + b"\xff\xff")
