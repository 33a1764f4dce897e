"""The registry of installed plugins: whole or not at all, one change at a time, and nothing in it is believed."""

from __future__ import annotations

import json
import stat
import threading

import pytest
from tests.unit.plugin.folders import plugin_folder

from dataflare.errors import StateError, UnavailableError, WorkflowError
from dataflare.plugin.allowance import Allowance
from dataflare.plugin.grants import GrantedFolder
from dataflare.plugin.package import Package
from dataflare.plugin.registry import Installed, PluginRegistry, usual_registry


@pytest.fixture
def registry(tmp_path):
    return PluginRegistry(tmp_path / "plugins")


@pytest.fixture
def packed(tmp_path):
    """Return what packs a plugin."""

    def pack(name="price", version="1.2.0", **more):
        folder = tmp_path / f"{name}-{version}-{len(list(tmp_path.iterdir()))}"
        return Package.of_folder(plugin_folder(folder, name, version, **more))

    return pack


def installed(package: Package, **more) -> Installed:
    manifest = package.manifest
    more = {"allowance": Allowance(), **more}
    return Installed(manifest.name, manifest.version, package.digest, **more)


def add(registry: PluginRegistry, package: Package, **more) -> Installed:
    made = installed(package, **more)
    registry.add(package, made, lambda _: None)
    return made


def test_versions_stand_side_by_side_and_the_newest_is_meant(registry, packed):
    packages = {v: packed(version=v) for v in ("1.2.0", "1.10.0", "2.0.0-rc.1")}
    for package in packages.values():
        add(registry, package)
    add(registry, packed("rates"))
    assert [i.reference for i in registry.all()] == ["price@1.10.0", "price@1.2.0", "price@2.0.0-rc.1", "rates@1.2.0"]
    assert registry.find("price").version == "1.10.0"
    assert registry.package(registry.find("price", "1.2.0")) == packages["1.2.0"]


def test_what_an_install_granted_is_kept(registry, packed):
    allowance = Allowance((GrantedFolder("/srv/rates", "/rates", write=True),), {"A": None, "B": "b"}, clock=True)
    made = add(registry, packed(), allowance=allowance, key="ed25519:x", signer="shop")
    assert registry.find("price") == made


def test_what_is_not_there_is_told_with_what_is(registry, packed):
    with pytest.raises(UnavailableError, match="no plugin price is installed"):
        registry.find("price")
    assert not registry.folder.exists()
    add(registry, packed())
    with pytest.raises(UnavailableError, match=r"version 2.0.0 of the plugin price is not installed") as raised:
        registry.find("price", "2.0.0")
    assert raised.value.hint == "installed: 1.2.0"


def test_what_is_removed_is_gone_with_its_package(registry, packed):
    for version in ("1.2.0", "1.3.0"):
        add(registry, packed(version=version))
    add(registry, packed("rates"))
    assert [i.version for i in registry.remove("price", "1.3.0")] == ["1.3.0"]
    assert [i.reference for i in registry.all()] == ["price@1.2.0", "rates@1.2.0"]
    assert len(list((registry.folder / "packages").iterdir())) == 2
    registry.remove("price")
    assert [i.reference for i in registry.all()] == ["rates@1.2.0"]
    with pytest.raises(UnavailableError):
        registry.remove("price")


def test_a_refusal_changes_nothing(registry, packed):
    add(registry, packed())
    other = packed(version="1.3.0")

    def refuse(versions):
        assert list(versions) == ["1.2.0"]
        raise WorkflowError("no")

    with pytest.raises(WorkflowError):
        registry.add(other, installed(other), refuse)
    assert [i.version for i in registry.all()] == ["1.2.0"]
    assert len(list((registry.folder / "packages").iterdir())) == 1


def test_the_folder_is_its_owners_alone(registry, packed):
    add(registry, packed())
    for path in (registry.folder, registry.folder / "packages"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
    for path in registry.folder.rglob("*.*"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("place", [".", "packages"])
def test_a_folder_that_others_may_write_is_not_used(registry, packed, place):
    made = add(registry, packed())
    (registry.folder / place).chmod(0o770)
    for use in (registry.all, lambda: registry.find("price"), lambda: registry.add(packed(), made, lambda _: None)):
        with pytest.raises(UnavailableError, match="this is not yours alone"):
            use()


def test_a_folder_of_somebody_else_is_not_used(registry, packed, monkeypatch):
    add(registry, packed())
    monkeypatch.setattr("os.getuid", lambda: 12_345)
    with pytest.raises(UnavailableError, match="this is not yours alone"):
        registry.find("price")


def test_a_folder_behind_a_link_is_not_used(registry, packed, tmp_path):
    (tmp_path / "real").mkdir(mode=0o700)
    registry.folder.symlink_to(tmp_path / "real")
    with pytest.raises(UnavailableError, match="this is not yours alone"):
        add(registry, packed())


def test_the_folder_is_named_by_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.delenv("DATAFLARE_PLUGINS", raising=False)
    assert usual_registry().folder == tmp_path / "data" / "dataflare" / "plugins"
    monkeypatch.setenv("DATAFLARE_PLUGINS", str(tmp_path / "mine"))
    assert usual_registry().folder == tmp_path / "mine"


# ---- forged ---------------------------------------------------------------------------------------------------------


def forge(registry: PluginRegistry, change) -> None:
    path = registry.folder / "registry.json"
    told = json.loads(path.read_text(encoding="utf-8"))
    change(told)
    path.write_text(json.dumps(told), encoding="utf-8")


def test_an_entry_that_names_the_package_of_another_plugin_is_refused(registry, packed):
    add(registry, packed())
    evil = add(registry, packed("rates"))
    forge(registry, lambda told: told["plugins"]["price"]["1.2.0"].update(digest=evil.digest))
    with pytest.raises(StateError, match=r"the package of price@1.2.0 is not the one that was installed"):
        registry.package(registry.find("price"))


def test_an_entry_of_another_version_is_refused(registry, packed):
    add(registry, packed())
    forge(registry, lambda told: told["plugins"]["price"].update({"9.0.0": told["plugins"]["price"]["1.2.0"]}))
    with pytest.raises(StateError, match=r"the package of price@9.0.0 is not the one"):
        registry.package(registry.find("price"))


def test_a_package_in_the_place_of_another_is_refused(registry, packed):
    made = add(registry, packed())
    path = registry.folder / "packages" / f"{made.digest}.dfp"
    other = packed(code="export const process = () => null;")
    path.write_bytes(other.to_bytes())
    with pytest.raises(StateError, match="is not the one that was installed"):
        registry.package(made)
    path.write_bytes(other.to_bytes()[:-1])
    with pytest.raises(WorkflowError, match="no sound package"):
        registry.package(made)
    path.unlink()
    with pytest.raises(StateError, match="is gone from"):
        registry.package(made)


@pytest.mark.parametrize(
    "change",
    [
        lambda told: told.update(format=2),
        lambda told: told.pop("format"),
        lambda told: told.update(plugins=[]),
        lambda told: told["plugins"].update({"../evil": told["plugins"]["price"]}),
        lambda told: told["plugins"]["price"].update({"1/2": told["plugins"]["price"]["1.2.0"]}),
        lambda told: told["plugins"]["price"]["1.2.0"].update(digest="../../evil"),
        lambda told: told["plugins"]["price"]["1.2.0"].update(digest=1),
        lambda told: told["plugins"]["price"]["1.2.0"].update(key=None),
        lambda told: told["plugins"]["price"]["1.2.0"].pop("allowance"),
        lambda told: told["plugins"]["price"]["1.2.0"]["allowance"].update(clock="yes"),
        lambda told: told["plugins"]["price"]["1.2.0"]["allowance"].update(files=[{"path": "/", "at": "/x"}]),
        lambda told: told["plugins"]["price"]["1.2.0"]["allowance"].update(
            files=[{"path": "/", "at": "/../x", "write": True}]
        ),
        lambda told: told["plugins"]["price"]["1.2.0"]["allowance"].update(env={"A B": ""}),
        lambda told: told["plugins"]["price"]["1.2.0"]["allowance"].update(network=True),
    ],
)
def test_a_list_of_another_form_is_refused(registry, packed, change):
    add(registry, packed())
    forge(registry, change)
    with pytest.raises(StateError, match="this is no list of plugins"):
        registry.find("price")


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b"[" * 100_000])
def test_a_list_that_is_damaged_is_refused(registry, packed, data):
    add(registry, packed())
    (registry.folder / "registry.json").write_bytes(data)
    with pytest.raises(StateError, match="this is no list of plugins"):
        add(registry, packed("rates"))


def test_a_list_that_is_a_link_is_refused(registry, packed, tmp_path):
    add(registry, packed())
    (registry.folder / "registry.json").rename(tmp_path / "elsewhere.json")
    (registry.folder / "registry.json").symlink_to(tmp_path / "elsewhere.json")
    with pytest.raises(UnavailableError, match="this is not yours alone"):
        registry.find("price")


# ---- two at once ---------------------------------------------------------------------------------


def test_two_installs_at_once_come_one_after_the_other(registry, packed):
    first, second = packed(), packed("rates")
    other = threading.Thread(target=add, args=(registry, second))

    def meanwhile(_):
        other.start()
        other.join(0.3)  # it waits for the lock; without one it would be done, and lost

    registry.add(first, installed(first), meanwhile)
    other.join()
    assert [i.name for i in registry.all()] == ["price", "rates"]


def test_a_folder_that_cannot_be_made_is_told(packed, tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(UnavailableError, match="plugins cannot be kept there: Not a directory"):
        add(PluginRegistry(tmp_path / "file" / "plugins"), packed())
