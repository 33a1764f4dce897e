"""Packages: the same bytes for the same plugin, and no file is taken for one that `plugin pack` would not have made."""

from __future__ import annotations

import hashlib
import io
import json
import os
import stat
import zipfile

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.plugin.folders import CODE, plugin_folder

from dataflare.errors import UnavailableError, WorkflowError
from dataflare.plugin import archive, package
from dataflare.plugin.archive import archived, unarchived
from dataflare.plugin.package import FORMAT, Package, canonical


@pytest.fixture
def packed(tmp_path):
    return Package.of_folder(plugin_folder(tmp_path / "price"), "price")


def refused(data: bytes) -> str:
    with pytest.raises(WorkflowError, match="no sound package") as raised:
        Package.of_bytes(data, "x.dfp")
    assert str(raised.value.place) == "x.dfp"
    return raised.value.what.partition(": ")[2]


def files_of(packed: Package) -> dict[str, bytes]:
    return dict(unarchived(packed.to_bytes(), "x.dfp"))


def rehashed(files: dict[str, bytes]) -> bytes:
    """Return a package of these files whose hashes are right."""
    files = {name: data for name, data in files.items() if name != "hashes.json"}
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    return archived([*files.items(), ("hashes.json", canonical({"files": digests, "format": FORMAT}))])


def zipped(files: dict[str, bytes], **settings) -> bytes:
    """Return a zip as other tools write it."""
    into = io.BytesIO()
    with zipfile.ZipFile(into, "w", **settings) as file:
        for name, data in files.items():
            file.writestr(zipfile.ZipInfo(name), data, settings.get("compression"))
    return into.getvalue()


# ---- what is packed -------------------------------------------------------------------------------------------------


def test_a_package_has_what_runs_and_says_of_itself_and_its_tests(packed):
    again = Package.of_bytes(packed.to_bytes(), "x.dfp")
    assert again == packed
    assert (again.manifest.reference, again.code, again.signature) == ("price@1.2.0", CODE.encode(), None)
    assert [name for name, _ in unarchived(packed.to_bytes(), "")] == [
        "plugin.toml",
        "price.js",
        "README.md",
        "tests/doubles/in.jsonl",
        "tests/doubles/out.jsonl",
        "hashes.json",
    ]


def test_other_tools_read_a_package(packed):
    with zipfile.ZipFile(io.BytesIO(packed.to_bytes())) as file:
        assert file.testzip() is None
        assert file.read("price.js") == CODE.encode()
        assert json.loads(file.read("hashes.json"))["files"]["price.js"] == hashlib.sha256(CODE.encode()).hexdigest()


def test_the_same_plugin_is_the_same_bytes_whenever_and_wherever_it_is_packed(packed, tmp_path):
    other = plugin_folder(tmp_path / "elsewhere" / "p")
    for file in other.rglob("*"):
        os.utime(file, (1, 1))
    (other / "price.js").chmod(0o700)
    (other / "notes.txt").write_text("not packed", encoding="utf-8")
    assert Package.of_folder(other).to_bytes() == packed.to_bytes()
    assert packed.digest == "5f0ea06a98765502e0e432a3bd7eb671a97ea55dce1aa5564d53efc918a9ad1b"


def test_a_link_in_a_folder_is_not_packed(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("s", encoding="utf-8")
    for name in ("price.js", "tests/doubles/in.jsonl", "README.md", "tests/doubles"):
        folder = plugin_folder(tmp_path / name.replace("/", "-"))
        target = folder / name
        target.rename(tmp_path / "moved") if target.is_dir() else target.unlink()
        target.symlink_to(secret)
        with pytest.raises(WorkflowError, match="is a link"):
            Package.of_folder(folder)


def test_what_is_no_test_is_not_packed_in_silence(tmp_path):
    folder = plugin_folder(tmp_path / "price")
    (folder / "tests" / "doubles" / "key.pem").write_text("s", encoding="utf-8")
    with pytest.raises(WorkflowError, match=r"tests/doubles/key.pem' is no file of a plugin"):
        Package.of_folder(folder)


def test_a_plugin_that_is_too_large_for_a_package_is_not_packed(tmp_path, monkeypatch):
    folder = plugin_folder(tmp_path / "price")
    with monkeypatch.context() as patch:
        patch.setattr(package, "FILES_MAX", 6)
        with pytest.raises(WorkflowError, match="more than 6 files"):
            Package.of_folder(folder)
    with monkeypatch.context() as patch:
        patch.setattr(package, "TOTAL_BYTES_MAX", 200)
        with pytest.raises(WorkflowError, match="the plugin has more than 0 MB"):
            Package.of_folder(folder)
    monkeypatch.setattr(package, "ENTRY_BYTES_MAX", 50)
    with pytest.raises(WorkflowError, match="has more than 0 MB"):
        Package.of_folder(folder)


def test_what_was_not_built_cannot_be_packed(tmp_path):
    folder = plugin_folder(tmp_path / "price")
    (folder / "price.js").unlink()
    with pytest.raises(UnavailableError, match=r"price.js cannot be read: No such file"):
        Package.of_folder(folder)


def test_a_file_is_not_named_after_another_plugin(packed, tmp_path):
    path = tmp_path / "rates-2.0.0.dfp"
    path.write_bytes(packed.to_bytes())
    with pytest.raises(WorkflowError, match=r"named rates 2.0.0, and holds price@1.2.0"):
        Package.read(path)
    path.rename(tmp_path / "download.dfp")
    assert Package.read(tmp_path / "download.dfp") == packed


# ---- hostile files --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "../evil.js",
        "/etc/cron.d/evil",
        "a/../../evil.js",
        "a//b.js",
        "./a.js",
        "C:evil.js",
        "a\\b.js",
        "a/",
        ".hidden",
        "a\n.js",
        "x" * 200,
    ],
)
def test_a_path_that_leaves_its_folder_or_is_not_plain_is_refused(packed, name):
    data = archived([*files_of(packed).items(), (name, b"evil")])
    assert "is no plain path below its folder" in refused(data)


def test_names_of_other_alphabets_are_refused(packed):
    assert "is no plain path" in refused(zipped({**files_of(packed), "tests/ä/in.jsonl": b""}))


def test_a_file_that_is_no_part_of_a_plugin_is_refused(packed):
    assert refused(rehashed(files_of(packed) | {"setup.py": b"evil"})) == "'setup.py' is no file of a plugin"


def test_a_name_is_there_once_on_all_systems(packed):
    files = list(files_of(packed).items())
    assert refused(archived([*files, ("price.js", b"evil")])) == "price.js is there twice"
    assert refused(archived([*files, ("PRICE.js", b"evil")])) == "price.js and PRICE.js are one file on some systems"


def test_a_bomb_is_not_unpacked(packed):
    data = zipped(
        {**files_of(packed), "tests/a/in.jsonl": b"0" * (50 << 20)}, compression=zipfile.ZIP_DEFLATED, compresslevel=9
    )
    assert len(data) < 100_000
    assert refused(data).endswith(" is compressed")


def test_the_number_and_the_size_of_files_are_bounded(packed, monkeypatch):
    many = [(f"tests/a/{n}.json", b"") for n in range(archive.FILES_MAX)]
    assert len(unarchived(archived(many), "x.dfp")) == 1000
    with pytest.raises(WorkflowError, match="there are more than 1000 files in it"):
        unarchived(archived([*many, ("more.json", b"")]), "x.dfp")
    monkeypatch.setattr(archive, "TOTAL_BYTES_MAX", 500)
    assert "its files have more than" in refused(packed.to_bytes())
    monkeypatch.setattr(archive, "ENTRY_BYTES_MAX", 10)
    assert "plugin.toml has more than" in refused(packed.to_bytes())


def test_a_size_in_a_header_is_not_believed(packed):
    data = bytearray(packed.to_bytes())
    data[18:26] = (10**6).to_bytes(4, "little") * 2
    assert refused(bytes(data)) == "it ends in the middle"


def test_a_link_in_a_package_is_refused(packed):
    files = files_of(packed)
    into = io.BytesIO()
    with zipfile.ZipFile(into, "w") as file:
        for name, found in files.items():
            info = zipfile.ZipInfo(name)
            info.create_system, info.create_version = 3, 20
            info.external_attr = ((stat.S_IFLNK if name == "price.js" else stat.S_IFREG) | 0o644) << 16
            file.writestr(info, found)
    assert refused(into.getvalue()) == "price.js is a link"


def test_bytes_before_behind_and_between_are_refused(packed):
    data = packed.to_bytes()
    assert refused(b"#!/bin/sh\n" + data) == "it does not begin with a file"
    assert refused(data + b"evil") == "there are 4 bytes after its end"
    at = data.index(b"PK\x01\x02")
    assert "table of contents says something else of plugin.toml" in refused(data[:at] + b"evil" + data[at:])
    assert "ends in another way" in refused(data[:-1] + b"\x01")
    assert refused(b"") == "it does not begin with a file"


@pytest.mark.parametrize(
    ("at", "why"),
    [
        (4, "the header of plugin.toml is another one"),
        (6, "plugin.toml has marks that no package has (0x8)"),
        (8, "plugin.toml is compressed"),
        (10, "the header of plugin.toml is another one"),
        (12, "the header of plugin.toml is another one"),
        (14, "plugin.toml is damaged"),
        (40, "plugin.toml is damaged"),
    ],
)
def test_a_header_is_as_it_would_be_written(packed, at, why):
    data = bytearray(packed.to_bytes())
    if at == 40:
        at = data.index(b"[plugin]")
    data[at] ^= 8
    assert refused(bytes(data)) == why


def test_no_byte_of_a_package_may_be_another_one(packed):
    data = packed.to_bytes()
    for at in range(len(data)):
        refused(data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :])


def test_no_package_that_is_cut_off_is_taken(packed):
    data = packed.to_bytes()
    for at in range(len(data)):
        refused(data[:at])


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    cuts=st.lists(st.tuples(st.integers(0, 1500), st.integers(0, 60), st.binary(max_size=40)), min_size=1, max_size=4)
)
def test_a_package_with_bytes_cut_out_and_put_in_is_refused_and_nothing_else(packed, cuts):
    data = packed.to_bytes()
    for at, length, more in cuts:
        data = data[:at] + more + data[at + length :]
    if data != packed.to_bytes():
        refused(data)


def test_a_file_that_was_changed_after_packing_is_told(packed):
    files = files_of(packed) | {"price.js": b"evil"}
    assert refused(archived(list(files.items()))).startswith("price.js is not what hashes.json says")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda told: told["files"].pop("README.md"), "README.md is not what hashes.json says"),
        (lambda told: told["files"].update({"more.js": "0" * 64}), "'more.js' is missing"),
        (lambda told: told.update(format="dataflare-plugin-2"), "is of no format that is known here"),
        (lambda told: told.update(more=1), "is written in another way"),
        (lambda told: told.update(files=[]), "is of no format that is known here"),
    ],
)
def test_hashes_that_lie_are_refused(packed, change, why):
    files = files_of(packed)
    told = json.loads(files["hashes.json"])
    change(told)
    files["hashes.json"] = canonical(told)
    assert why in refused(archived(list(files.items())))


@pytest.mark.parametrize("text", [b"no json", b"[" * 100_000, b"\xff"])
def test_hashes_that_are_no_json_are_refused(packed, text):
    assert refused(archived(list((files_of(packed) | {"hashes.json": text}).items()))) == "hashes.json is no JSON"


def test_files_are_in_one_order_and_none_is_missing(packed):
    files = list(files_of(packed).items())
    assert refused(archived([files[1], files[0], *files[2:]])) == "its files are in another order"
    for name in ("plugin.toml", "hashes.json"):
        assert refused(archived([f for f in files if f[0] != name])) == f"there is no {name} in it"
    assert refused(rehashed(dict([f for f in files if f[0] != "price.js"]))).startswith("price.js, which is to run")


def test_a_signature_is_small(packed):
    assert "signature.json has more than" in refused(packed.signed(b"0" * 5000).to_bytes())
