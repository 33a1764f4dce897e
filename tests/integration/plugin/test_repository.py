"""Repositories of plugins in a folder and in a bucket: written once, told by one index, verified when they come."""

from __future__ import annotations

import json
import stat

import pytest
from tests.objects import Bucket
from tests.unit.plugin.folders import CODE, plugin_folder

from dataflare.cli.main import main
from dataflare.errors import DataFlareError, ExternalError, StateError, UnavailableError, WorkflowError
from dataflare.objects.settings import ObjectStoreConfig
from dataflare.plugin import repository as module
from dataflare.plugin.package import Package
from dataflare.plugin.repository import PluginRepository
from dataflare.plugin.shelves import FolderShelf
from dataflare.plugin.signature import SigningKey


class Files:
    """The files of a repository in a folder, beside it."""

    def __init__(self, folder) -> None:
        self.folder, self.place, self.config = folder, str(folder), ObjectStoreConfig()

    def get(self, name: str) -> bytes:
        return (self.folder / name).read_bytes()

    def put(self, name: str, data: bytes) -> None:
        (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / name).write_bytes(data)

    def delete(self, name: str) -> None:
        (self.folder / name).unlink()

    def names(self) -> list[str]:
        return sorted(p.relative_to(self.folder).as_posix() for p in self.folder.rglob("*") if p.is_file())


class Objects:
    """The same for a bucket."""

    def __init__(self) -> None:
        self.bucket = Bucket()
        self.place, self.config = self.bucket.path("some/plugins/"), ObjectStoreConfig(**self.bucket.settings)

    def get(self, name: str) -> bytes:
        return self.bucket.get(f"some/plugins/{name}")

    def put(self, name: str, data: bytes) -> None:
        self.bucket.put(f"some/plugins/{name}", data)

    def delete(self, name: str) -> None:
        self.bucket.delete(f"some/plugins/{name}")

    def names(self) -> list[str]:
        return sorted(key.removeprefix("some/plugins/") for key in self.bucket.all_keys())


@pytest.fixture(params=["folder", "bucket"])
def files(request, tmp_path):
    return Files(tmp_path / "repository") if request.param == "folder" else Objects()


@pytest.fixture
def repository(files):
    return PluginRepository.at(files.place, files.config)


@pytest.fixture
def packed(tmp_path):
    def pack(version="1.2.0", name="price", **more):
        return Package.of_folder(plugin_folder(tmp_path / f"{len(list(tmp_path.iterdir()))}", name, version, **more))

    return pack


def test_what_is_published_is_fetched(repository, packed, tmp_path):
    signed = SigningKey.new(tmp_path / "key.pem").sign(packed())
    assert repository.publish(signed) is True
    assert repository.fetch("price", "1.2.0") == signed
    assert repository.fetch("price").to_bytes() == signed.to_bytes()
    (told,) = repository.all()["price"].values()
    assert (told.digest, told.bytes, told.description) == (signed.digest, len(signed.to_bytes()), "Adds a total")


def test_versions_are_in_the_order_of_semantic_versions(repository, packed):
    for version in ("1.2.0", "2.0.0-rc.1", "1.10.0"):
        repository.publish(packed(version))
    repository.publish(packed(name="rates"))
    assert repository.versions("price") == ["1.10.0", "1.2.0", "2.0.0-rc.1"]
    assert repository.fetch("price").manifest.version == "1.10.0"
    assert sorted(repository.all()) == ["price", "rates"]


def test_a_version_is_never_overwritten(repository, packed, tmp_path):
    first = packed()
    assert repository.publish(first) is True
    assert repository.publish(first) is False
    other = packed(code=CODE.replace("2", "3"))
    for package in (other, SigningKey.new(tmp_path / "key.pem").sign(first)):
        with pytest.raises(WorkflowError, match=r"price@1.2.0 is published already, with other content or another sig"):
            repository.publish(package)
    assert repository.fetch("price") == first


def test_what_is_not_there_is_told_with_what_is(repository, packed):
    with pytest.raises(UnavailableError, match="there is no price in"):
        repository.fetch("price")
    repository.publish(packed())
    with pytest.raises(UnavailableError, match=r"there is no price@2.0.0 in") as raised:
        repository.fetch("price", "2.0.0")
    assert raised.value.hint == "there are versions 1.2.0"


def test_who_was_stopped_before_the_index_publishes_again(repository, files, packed, monkeypatch):
    package = packed()

    def stopped(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(repository._shelf, "swap", stopped)
        with pytest.raises(KeyboardInterrupt):
            repository.publish(package)
    assert files.names() == ["price/1.2.0.dfp"]
    assert repository.versions("price") == []
    with pytest.raises(WorkflowError, match="is published already, with other content"):
        repository.publish(packed(code=CODE.replace("2", "3")))
    assert repository.publish(package) is True
    assert repository.fetch("price") == package


def test_two_who_publish_at_once_are_both_in_the_index(repository, files, packed, monkeypatch):
    other = PluginRepository.at(files.place, files.config)
    waiting = [packed("1.4.0"), packed("1.3.0")]
    swap = repository._shelf.swap

    def slow(name, data, tag):
        if waiting:
            other.publish(waiting.pop())
        return swap(name, data, tag)

    monkeypatch.setattr(repository._shelf, "swap", slow)
    assert repository.publish(packed("1.2.0")) is True
    assert repository.versions("price") == ["1.4.0", "1.3.0", "1.2.0"]


def test_somebody_else_who_publishes_the_same_version_first_wins(repository, files, packed, monkeypatch):
    other, mine = packed(), packed(code=CODE.replace("2", "3"))
    create = repository._shelf.create

    def slow(name, data):
        PluginRepository.at(files.place, files.config).publish(other)
        return create(name, data)

    monkeypatch.setattr(repository._shelf, "create", slow)
    with pytest.raises(WorkflowError, match="is published already"):
        repository.publish(mine)
    assert repository.fetch("price") == other


def test_who_is_never_the_first_gives_up(repository, packed, monkeypatch):
    monkeypatch.setattr(repository._shelf, "swap", lambda *_: False)
    with pytest.raises(ExternalError, match="all the time"):
        repository.publish(packed())


# ---- hostile repositories -------------------------------------------------------------------------------------------


def test_a_package_that_was_replaced_is_refused(repository, files, packed):
    repository.publish(packed())
    repository.publish(packed(name="rates"))
    other = packed(code=CODE.replace("2", "3"))
    for data in (other.to_bytes(), files.get("rates/1.2.0.dfp"), b"", files.get("price/1.2.0.dfp") + b"evil"):
        files.put("price/1.2.0.dfp", data)
        with pytest.raises(StateError, match="it is not what the index says"):
            repository.fetch("price")
    files.delete("price/1.2.0.dfp")
    with pytest.raises(StateError, match="the index tells of it, and it is not there"):
        repository.fetch("price")


def test_an_index_that_gives_one_plugin_the_package_of_another_is_refused(repository, files, packed):
    repository.publish(packed())
    repository.publish(packed(name="rates"))
    told = json.loads(files.get("index.json"))
    told["plugins"]["price"]["1.2.0"] = told["plugins"]["rates"]["1.2.0"]
    files.put("index.json", json.dumps(told).encode())
    files.put("price/1.2.0.dfp", files.get("rates/1.2.0.dfp"))
    with pytest.raises(StateError, match=r"it holds rates@1.2.0"):
        repository.fetch("price")


ENTRY = f'{{"digest": "{"a" * 64}", "sha256": "{"a" * 64}", "bytes": 0, "description": ""}}'


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b'{"format": 2, "plugins": {}}',
        b'{"format": 1, "plugins": {"../evil": {"1.0.0": {}}}}',
        f'{{"format": 1, "plugins": {{"price": {{"../1.0.0": {ENTRY}}}}}}}'.encode(),
        f'{{"format": 1, "plugins": {{"Price": {{"1.0.0": {ENTRY}}}}}}}'.encode(),
        f'{{"format": 1, "plugins": {{"price": {{"1.0.0": {ENTRY.replace("0,", "null,")}}}}}}}'.encode(),
        f'{{"format": 1, "plugins": {{"price": {{"1.0.0": {ENTRY.replace("aa", "AA")}}}}}}}'.encode(),
        b"[" * 100_000,
    ],
)
def test_an_index_of_another_form_is_refused(repository, files, packed, data):
    files.put("index.json", data)
    for use in (repository.all, lambda: repository.fetch("price"), lambda: repository.publish(packed())):
        with pytest.raises(StateError, match="this is no index of plugins"):
            use()


def test_what_is_too_large_is_not_read(repository, files, packed, monkeypatch):
    repository.publish(packed())
    monkeypatch.setattr(module, "PACKAGE_BYTES_MAX", 100)
    with pytest.raises(StateError, match="it has more than 0 MB"):
        repository.fetch("price")


# ---- places ---------------------------------------------------------------------------------------------------------


def test_a_folder_may_be_read_by_others_and_has_no_leftovers(tmp_path, packed):
    files = Files(tmp_path / "repository")
    PluginRepository.at(files.place, files.config).publish(packed())
    assert files.names() == [".lock", "index.json", "price/1.2.0.dfp"]
    for name in ("index.json", "price/1.2.0.dfp"):
        assert stat.S_IMODE((files.folder / name).stat().st_mode) == 0o644


def test_a_folder_that_is_none_is_told(tmp_path, packed):
    (tmp_path / "file").write_text("")
    repository = PluginRepository(FolderShelf(tmp_path / "file"), "file")
    with pytest.raises(UnavailableError, match="Not a directory"):
        repository.publish(packed())


def test_a_bucket_that_is_not_there_is_told(packed):
    files = Objects()
    for place in ("s3://no-such-bucket-of-plugins/x", "s3://"):
        with pytest.raises(DataFlareError, match=r"there is no such bucket|names no bucket"):
            PluginRepository.at(place, files.config).publish(packed())


def test_the_command_line_reaches_a_bucket_as_the_environment_says(packed, monkeypatch, tmp_path, capsys):
    files = Objects()
    settings = files.bucket.settings
    monkeypatch.setenv("AWS_ENDPOINT_URL", settings["endpoint"])
    monkeypatch.setenv("AWS_REGION", settings["region"])
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", settings["access_key_id"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", settings["secret_access_key"])
    monkeypatch.setenv("DATAFLARE_PLUGINS", str(tmp_path / "plugins"))
    (tmp_path / "price-1.2.0.dfp").write_bytes(packed().to_bytes())
    assert main(["plugin", "publish", str(tmp_path / "price-1.2.0.dfp"), "--to", files.place]) == 0
    assert files.names() == ["index.json", "price/1.2.0.dfp"]
    assert main(["plugin", "install", "price", "--from", files.place, "--allow-unsigned"]) == 0
    assert "installed price@1.2.0" in capsys.readouterr().out
