"""Manifests of plugins: what `plugin.toml` may say, and that all that is wrong is told at once, with its line."""

from __future__ import annotations

import pytest

from dataflare.errors import InvalidWorkflowError, UnavailableError, WorkflowError
from dataflare.plugin.manifest import Capabilities, Manifest, WantedFolder
from dataflare.plugin.semantic_version import Version, newest

WHOLE = """[plugin]
name = "price"
version = "1.2.0"
description = "Adds the total of an order"
language = "rust"
entry = "price.wasm"
source = "src/price.rs"
interface = 1

[settings]
type = "object"
required = ["rate"]

[settings.properties.rate]
type = "number"
minimum = 0.5

[limits]
memory = "64MB"
timeout = "2s"

[capabilities]
files = [{ path = "/rates" }, { path = "/out", write = true }]
env = ["REGION"]
clock = true
"""
SHORT = '[plugin]\nname = "a"\nversion = "1.0.0"\nlanguage = "javascript"\nentry = "a.js"\n'


def found(text: str) -> list[tuple[int, str]]:
    with pytest.raises(InvalidWorkflowError) as raised:
        Manifest.of_bytes(text.encode(), "plugin.toml")
    assert all(f.place.file == "plugin.toml" and f.code == "plugin.manifest" for f in raised.value.findings)
    return [(f.place.line, f.message) for f in raised.value.findings]


def test_a_manifest_is_read_whole():
    manifest = Manifest.read(WHOLE, "plugin.toml")
    assert manifest == Manifest(
        name="price",
        version="1.2.0",
        description="Adds the total of an order",
        language="rust",
        entry="price.wasm",
        source="src/price.rs",
        settings={
            "type": "object",
            "required": ["rate"],
            "properties": {"rate": {"type": "number", "minimum": 0.5}},
        },
        memory_bytes_max=64_000_000,
        seconds_max=2.0,
        capabilities=Capabilities((WantedFolder("/rates"), WantedFolder("/out", write=True)), ("REGION",), clock=True),
    )
    assert manifest.reference == "price@1.2.0"


@pytest.mark.parametrize("text", [WHOLE, SHORT, WHOLE.replace("an order", 'a \\"☂\\" \\\\ order')])
def test_what_is_written_is_read_again(text):
    manifest = Manifest.read(text)
    assert Manifest.read(manifest.to_toml()) == manifest


def test_a_folder_holds_its_manifest(tmp_path):
    (tmp_path / "plugin.toml").write_text(SHORT, encoding="utf-8")
    assert Manifest.read(tmp_path).name == "a"
    with pytest.raises(UnavailableError, match=r"price/plugin.toml: the manifest cannot be read"):
        Manifest.read(tmp_path / "none", "price/plugin.toml")
    (tmp_path / "plugin.toml").write_bytes(b"name = '\xff'")
    with pytest.raises(InvalidWorkflowError, match="byte 8 is no UTF-8"):
        Manifest.read(tmp_path)


def test_all_that_is_wrong_is_told_at_once_with_its_line():
    text = WHOLE.replace("price.wasm", "../price.wasm").replace('"2s"', "2").replace("clock = true", "clock = 1")
    text = text.replace("version", "versoin").replace("REGION", "REG-ION").replace('"price"', '"Price"')
    assert found(text) == [
        (1, "plugin.version is missing"),
        (2, "plugin.name: 'Price' is no name of a plugin"),
        (3, "unknown key plugin.versoin"),
        (6, "plugin.entry: '../price.wasm' is no path of a file in the plugin's folder"),
        (20, 'limits.timeout: must be text with a unit, such as "2s"'),
        (24, "capabilities.env must be a list of names of variables"),
        (25, "capabilities.clock must be true or false"),
    ]


@pytest.mark.parametrize(
    ("more", "line", "what"),
    [
        ("[limit]", 6, "unknown key limit"),
        ('[limits]\nmemory = "64"', 7, "limits.memory: '64' is not a size: write a number and a unit, such as 64MiB"),
        ('[limits]\nmemory = "1kB"', 7, "limits.memory: must be at least 1 MiB"),
        ('[limits]\ntimeout = "0s"', 7, "limits.timeout: must be more than nothing"),
        ("interface = 2", 6, "plugin.interface must be 1"),
        ("interface = true", 6, "plugin.interface must be 1"),
        ("description = 1", 6, "plugin.description must be text"),
        ('source = "/a.rs"', 6, "plugin.source: '/a.rs' is no path of a file in the plugin's folder"),
        ('source = ""', 6, "plugin.source is empty"),
        ('[settings]\ntype = "array"', 7, 'settings.type must be "object"'),
        ("[settings]\ndefault = 2026-01-31", 7, "settings.default is nothing that JSON has"),
        ("[settings]\nmaximum = inf", 7, "settings.maximum is nothing that JSON has"),
        ("[settings]\nproperties = 1", 7, "settings.properties must be a table"),
        ("[capabilities]\nnetwork = true", 7, "unknown key capabilities.network"),
        ("[capabilities]\nfiles = 1", 7, "capabilities.files must be a list"),
        ("[capabilities]\nfiles = [{}]", 7, "an entry of capabilities.files has a path"),
        ('[capabilities]\nfiles = [{ path = "/a/../b" }]', 7, "capabilities.files: '/a/../b' is no folder"),
        ('[capabilities]\nfiles = [{ path = "a" }]', 7, "capabilities.files: 'a' is no folder"),
        ('[capabilities]\nfiles = [{ path = "/a", mode = 1 }]', 7, "unknown key capabilities.files.mode"),
        ('[[capabilities.files]]\npath = "/a"\n[[capabilities.files]]\npath = "/a"', 6, "files has /a twice"),
        ("[capabilities]\nclock", 7, "not valid TOML: "),
        ('x = """\n', 6, "not valid TOML: "),
    ],
)
def test_what_is_wrong_has_its_line(more, line, what):
    ((at, message),) = found(SHORT + more)
    assert (at, what in message) == (line, True), message


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ('"1.0.0"', '"1.0"', "is no semantic version"),
        ('"javascript"', '"javascrip"', "is no language of plugins"),
        ('"javascript"', '"go"', "is no file of go that runs"),
        ('"a.js"', '"a/./b.js"', "is no path of a file"),
        ('"a.js"', '".a.js"', "is no path of a file"),
        ('"a.js"', '"a\\\\b.js"', "is no path of a file"),
        ("[plugin]", "[plugins]", "unknown key plugins"),
    ],
)
def test_names_versions_and_paths_are_plain(old, new, what):
    assert what in found(SHORT.replace(old, new))[0][1]


def test_a_line_is_found_behind_long_texts():
    text = SHORT + '[settings]\ndescription = """\nname = 1\n[limits]\n"""\n[plugins]\n'
    assert found(text) == [(11, "unknown key plugins")]


def test_a_manifest_that_is_nested_deep_costs_little():
    deep = ".".join("a" * 900)
    assert found(f"{SHORT}{deep} = 1") == [(6, "unknown key plugin.a")]
    assert found(f"{SHORT}[settings]\n{deep} = 1") == [(6, "settings are nested more than 32 levels deep")]
    assert found(f"{SHORT}[settings.{deep}]\nb = 1") == [(6, "settings are nested more than 32 levels deep")]
    assert found(f"{SHORT}{deep}.{deep} = 1") == [(6, "there are more than 1000 dots in this line")]
    assert found(f"{SHORT}x = {'[' * 50_000}") == [(1, "the manifest is nested too deep")]
    assert "not valid TOML" in found(f"{SHORT}interface = {'1' * 5000}")[0][1]
    assert found(SHORT + "#" * 70_000) == [(1, "the manifest has more than 64 KB")]


def test_texts_of_a_manifest_move_no_cursor():
    for text in (r"a\u001b[2Jb", r"a\u009bb", r"a\u202eb", r"a\nb"):
        assert found(f'{SHORT}description = "{text}"') == [
            (6, "plugin.description has characters that cannot be shown")
        ]


def test_versions_are_ordered_as_semantic_versioning_says():
    ordered = ["1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta.2", "1.0.0-beta.11", "1.0.0", "1.10.0"]
    assert sorted(set(ordered), key=Version.of) == ordered
    assert newest(["1.2.0", "2.0.0-rc.1", "1.10.0"]) == ["1.10.0", "1.2.0", "2.0.0-rc.1"]


@pytest.mark.parametrize("text", ["1", "1.2", "01.2.3", "1.2.3-", "1.2.3-01", "v1.2.3", "1.2.3 ", "1.2.٣", "1.2.3\n"])
def test_what_is_no_version_is_refused(text):
    with pytest.raises(WorkflowError, match="is no semantic version"):
        Version.of(text)
