"""A repository of plugins: packages by name and version, each written once, and one index of them all.

The index is one file, read whole and swapped only by who has read the newest one. So nobody sees half of a change, and
nothing hangs on the order in which a store lists names. A package is there before the index tells of it; whoever was
stopped in between publishes it again.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dataflare.errors import ExternalError, Place, StateError, UnavailableError, WorkflowError
from dataflare.objects.settings import SCHEME, ObjectStoreConfig
from dataflare.plugin.archive import TOTAL_BYTES_MAX
from dataflare.plugin.package import ENDING, Package
from dataflare.plugin.semantic_version import Version, newest
from dataflare.plugin.shelves import BucketShelf, FolderShelf

if TYPE_CHECKING:
    from dataflare.plugin.shelves import Shelf

INDEX, FORMAT = "index.json", 1
INDEX_BYTES_MAX, PACKAGE_BYTES_MAX = 16 << 20, TOTAL_BYTES_MAX + (2 << 20)
TRIES_MAX = 50
_NAME = re.compile(r"[a-z][a-z0-9-]{0,63}")
_HASH = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Published:
    """A version: `digest` of its content, `sha256` of the file with its signature."""

    digest: str
    sha256: str
    bytes: int
    description: str = ""


Index = Mapping[str, Mapping[str, Published]]


class PluginRepository:
    """Packages in a folder or a bucket. Nothing that is in it is believed: packages are verified when they come."""

    def __init__(self, shelf: Shelf, shown: str) -> None:
        """Touch nothing; `shown` is what errors call it."""
        self._shelf, self._shown = shelf, shown.rstrip("/")

    @classmethod
    def at(cls, place: str, config: ObjectStoreConfig, certificates: bytes = b"") -> PluginRepository:
        """Return that of a folder, or of `s3://bucket/prefix`; raise UnavailableError where that names no bucket."""
        if not place.startswith(SCHEME):
            return cls(FolderShelf(Path(place)), place)
        from dataflare.objects.bucket import Bucket, split_name

        name, prefix = split_name(place)
        return cls(BucketShelf(Bucket(name, config, certificates), prefix), place)

    def all(self) -> Index:
        """Return all that is published, by name and version."""
        return self._read()[0]

    def versions(self, name: str) -> list[str]:
        """Return the versions of a plugin, the newest first, pre-releases after all releases."""
        return newest(list(self.all().get(name, {})))

    def fetch(self, name: str, version: str = "") -> Package:
        """Return a version, the newest unless it is named, verified; who has signed it is not looked at.

        Raises UnavailableError where it is not there, StateError where it is something else than the index says.
        """
        there = self.all().get(name, {})
        wanted = version or next(iter(newest(list(there))), "")
        if wanted not in there:
            versions = ", ".join(newest(list(there)))
            raise UnavailableError(
                f"there is no {name}{f'@{version}' if version else ''} in {self._shown}",
                hint=f"there are versions {versions}" if versions else "see: dataflare plugin list --from",
            )
        file = _file(name, wanted)
        found = self._shelf.get(file, PACKAGE_BYTES_MAX)
        told, where = there[wanted], f"{self._shown}/{file}"
        if found is None:
            raise StateError("the index tells of it, and it is not there", place=Place(where))
        if hashlib.sha256(found[0]).hexdigest() != told.sha256:
            raise StateError("it is not what the index says", hint="somebody has replaced it", place=Place(where))
        package = Package.of_bytes(found[0], where)
        manifest = package.manifest
        if (package.digest, manifest.name, manifest.version) != (told.digest, name, wanted):
            raise StateError(f"it holds {manifest.reference}", hint="somebody has replaced it", place=Place(where))
        return package

    def publish(self, package: Package) -> bool:
        """Publish a package; tell whether it was new. A version is never overwritten.

        Raises WorkflowError where the version is there with other content or another signature, ExternalError where
        others publish all the time.
        """
        manifest, data = package.manifest, package.to_bytes()
        made = Published(package.digest, hashlib.sha256(data).hexdigest(), len(data), manifest.description)
        there = self.all().get(manifest.name, {}).get(manifest.version)
        if there is None:
            file = _file(manifest.name, manifest.version)
            if not self._shelf.create(file, data):
                found = self._shelf.get(file, PACKAGE_BYTES_MAX)
                there = made if found is not None and found[0] == data else Published("", "", 0)
        if there is not None and there.sha256 != made.sha256:
            raise WorkflowError(
                f"{manifest.reference} is published already, with other content or another signature",
                hint="a version is never overwritten: give the plugin the next one",
                place=Place(self._shown),
            )
        for _ in range(TRIES_MAX):
            index, tag = self._read()
            if manifest.version in index.get(manifest.name, {}):
                return False
            versions = {**index.get(manifest.name, {}), manifest.version: made}
            if self._shelf.swap(INDEX, _index_bytes({**index, manifest.name: versions}), tag):
                return True
        raise ExternalError(f"others publish into {self._shown} all the time", hint="publish it again")

    def _read(self) -> tuple[Index, str | None]:
        found = self._shelf.get(INDEX, INDEX_BYTES_MAX)
        if found is None:
            return {}, None
        try:
            return _index(json.loads(found[0])), found[1]
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise StateError(f"this is no index of plugins: {error}", place=Place(f"{self._shown}/{INDEX}")) from error


def _file(name: str, version: str) -> str:
    return f"{name}/{version}{ENDING}"


def _index_bytes(index: Index) -> bytes:
    plugins = {n: {v: asdict(one) for v, one in sorted(told.items())} for n, told in sorted(index.items())}
    return json.dumps({"format": FORMAT, "plugins": plugins}, indent=1).encode()


def _index(value: Any) -> Index:
    if value["format"] != FORMAT:
        raise ValueError(f"it is of format {value['format']!r}, and this version knows {FORMAT}")
    found: dict[str, dict[str, Published]] = {}
    for name, versions in value["plugins"].items():
        for version, told in versions.items():
            one = Published(told["digest"], told["sha256"], told["bytes"], told["description"])
            good = _NAME.fullmatch(name) and Version.is_valid(version) and isinstance(one.bytes, int)
            good = good and isinstance(one.description, str)
            if not good or not (_HASH.fullmatch(one.digest) and _HASH.fullmatch(one.sha256)):
                raise ValueError(f"{name[:70]!r} {version[:70]!r} is no plugin")
            found.setdefault(name, {})[version] = one
    return found


__all__ = ["PluginRepository", "Published"]
