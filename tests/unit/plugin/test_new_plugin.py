"""A new plugin is written whole, with its name in it, and nothing is overwritten."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from dataflare import WasmProcessor
from dataflare.errors import UnavailableError, WorkflowError
from dataflare.plugin.languages import LANGUAGES, sdk
from dataflare.plugin.new_plugin import write_plugin


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_new_plugin_has_all_that_a_plugin_needs(tmp_path: Path, language: str) -> None:
    written = write_plugin(tmp_path / "a" / "price", "price", language)
    folder = tmp_path / "a" / "price"
    assert sorted(written) == sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())
    assert {"plugin.toml", "README.md", ".gitignore", "tests/first/in.jsonl", "tests/first/out.jsonl"} <= {*written}
    assert not [path for path in written if "@NAME@" in (folder / path).read_text()]
    manifest = tomllib.loads((folder / "plugin.toml").read_text())["plugin"]
    assert (manifest["name"], manifest["language"]) == ("price", language)
    code = manifest.get("source", manifest["entry"])
    assert (folder / code).is_file()
    for path, copied in LANGUAGES[language].beside.items():
        assert (folder / path).read_text() == sdk().joinpath(copied).read_text()
    assert bool(LANGUAGES[language].toolchains) == ("source" in manifest)
    assert (f"/{manifest['entry']}\n" in (folder / ".gitignore").read_text()) == ("source" in manifest)


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("mine")
    (tmp_path / ".gitignore").write_text("mine, too")
    with pytest.raises(WorkflowError, match=r"README\.md is there already: nothing is written"):
        write_plugin(tmp_path, "price", "js")
    assert [p.name for p in sorted(tmp_path.iterdir())] == [".gitignore", "README.md"]
    (tmp_path / "README.md").unlink()
    assert ".gitignore" not in write_plugin(tmp_path, "price", "js")
    assert (tmp_path / ".gitignore").read_text() == "mine, too"


@pytest.mark.parametrize("name", ["", "Price", "1st", "a_b", "a/b", "../a", "a" * 65, "é"])
def test_a_name_that_cannot_be_one_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(WorkflowError, match="is no name of a plugin"):
        write_plugin(tmp_path / "x", name, "js")
    assert not (tmp_path / "x").exists()


def test_a_language_that_is_not_there_is_told_with_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(WorkflowError, match=r"no plugins in 'cobol'.*javascript, typescript"):
        write_plugin(tmp_path, "price", "cobol")


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UnavailableError, match="cannot be written: Not a directory"):
        write_plugin(tmp_path / "file" / "price", "price", "js")


def test_the_page_for_authors_says_what_each_language_needs() -> None:
    page = (Path(__file__).parents[3] / "docs" / "writing-plugins.md").read_text()
    table = page[page.index("| language | needs |") :].partition("\n\n")[0]
    for language in LANGUAGES.values():
        assert language.title in table
        for chain in language.toolchains:
            assert all(f"`{how}`" in table for how in chain.install.values())


def test_what_editors_are_told_of_the_sandbox_is_what_there_is(tmp_path: Path) -> None:
    told = sdk().joinpath("dataflare.d.ts").read_text().partition("declare const dataflare")[2].partition("};")[0]
    names = re.findall(r"^  (?:readonly )?(\w+)[(<:]", told, re.MULTILINE)
    (tmp_path / "names.js").write_text("export const process = () => ({ names: Object.keys(dataflare) });")
    with WasmProcessor.load(tmp_path / "names.js") as plugin:
        assert plugin.process({}) == {"names": names}
