"""The plugins that are installed on this machine: packages in a folder of their owner's, and what each may have.

What is installed is in one file, which is replaced whole; packages are named by their content. So a process that is
killed in the middle leaves what was there before, and several versions stand side by side.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import stat
import tempfile
from collections.abc import Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dataflare.disk import sync_folder
from dataflare.errors import Place, StateError, UnavailableError, WorkflowError
from dataflare.plugin.allowance import Allowance
from dataflare.plugin.package import ENDING, Package
from dataflare.plugin.semantic_version import Version, newest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FORMAT = 1
RECORD, PACKAGES, LOCK = "registry.json", "packages", "lock"
RECORD_BYTES_MAX = 16 << 20
_NAME = re.compile(r"[a-z][a-z0-9-]{0,63}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


@dataclass(frozen=True, slots=True)
class Installed:
    """One version of a plugin. `key` has signed it, "" for none; `signer` is what a trusted key was called then."""

    name: str
    version: str
    digest: str
    allowance: Allowance
    key: str = ""
    signer: str = ""

    @property
    def reference(self) -> str:
        """How a workflow names it."""
        return f"{self.name}@{self.version}"


Plugins = Mapping[str, Mapping[str, Installed]]


class PluginRegistry:
    """A folder of mode 0700. Whoever changes it holds its lock; whoever reads it needs none."""

    def __init__(self, folder: Path) -> None:
        """Make nothing before something is installed."""
        self.folder = folder

    def all(self) -> list[Installed]:
        """Return what is installed, by name, the newest version of each first."""
        plugins = self._read()
        return [plugins[name][version] for name in sorted(plugins) for version in newest(list(plugins[name]))]

    def find(self, name: str, version: str = "") -> Installed:
        """Return a version, the newest one unless it is named; raise UnavailableError where it is not installed."""
        versions = self._read().get(name, {})
        if not versions:
            raise UnavailableError(
                f"no plugin {name} is installed", hint=f"dataflare plugin install {name}-VERSION{ENDING}"
            )
        wanted = version or newest(list(versions))[0]
        if wanted not in versions:
            raise UnavailableError(
                f"version {wanted} of the plugin {name} is not installed",
                hint=f"installed: {', '.join(newest(list(versions)))}",
            )
        return versions[wanted]

    def package(self, installed: Installed) -> Package:
        """Return its package, verified again; raise where it is not what was installed."""
        path = self._file(installed.digest)
        if not path.exists():
            raise StateError(
                f"the package of {installed.reference} is gone from {self.folder}", hint="install it again"
            )
        package = Package.read(path)
        found = package.digest, package.manifest.name, package.manifest.version
        if found != (installed.digest, installed.name, installed.version):
            raise StateError(
                f"the package of {installed.reference} is not the one that was installed",
                hint="somebody has changed it; remove it, and install it again",
                place=Place(str(path)),
            )
        return package

    def add(self, package: Package, installed: Installed, check: Callable[[Mapping[str, Installed]], None]) -> None:
        """Install a version, or replace it, wholly or not at all.

        `check` is given the versions of this plugin that are there, and raises where this one must not be added. Raises
        UnavailableError where the disk is full or the folder cannot be written.
        """
        with self._changing() as plugins:
            check(plugins.get(installed.name, {}))
            self._put(self._file(installed.digest), package.to_bytes())
            versions = dict(plugins.get(installed.name, {}))
            versions[installed.version] = installed
            self._write({**plugins, installed.name: versions})

    def remove(self, name: str, version: str = "") -> list[Installed]:
        """Remove a version, or all of a name; return what was removed. Raises UnavailableError where there is none."""
        self.find(name, version)
        with self._changing() as plugins:
            gone = [self.find(name, version)] if version else list(plugins.get(name, {}).values())
            left = {v: i for v, i in plugins.get(name, {}).items() if i not in gone}
            others = {n: versions for n, versions in plugins.items() if n != name}
            self._write(others | ({name: left} if left else {}))
        return gone

    # ---- the folder ---------------------------------------------------------------------------------------------

    def _file(self, digest: str) -> Path:
        return self.folder / PACKAGES / f"{digest}{ENDING}"

    @contextmanager
    def _changing(self) -> Iterator[Plugins]:
        """Let one process at a time change something, and clean up after those that were killed."""
        try:
            for folder in (self.folder, self.folder / PACKAGES):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._check_owner()
            with (self.folder / LOCK).open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                try:
                    yield self._read()
                finally:
                    self._clean()
        except OSError as error:
            raise UnavailableError(
                f"plugins cannot be kept there: {error.strerror}", place=Place(str(self.folder))
            ) from error

    def _clean(self) -> None:
        kept = {i.digest for versions in self._read().values() for i in versions.values()}
        for path in (self.folder / PACKAGES).iterdir():
            if path.name.removesuffix(ENDING) not in kept:
                path.unlink()
        for path in self.folder.glob(f".{RECORD}-*"):
            path.unlink()

    def _check_owner(self) -> None:
        """Raise UnavailableError unless the folder is this user's alone: what is in it is run."""
        for place in (self.folder, self.folder / PACKAGES, self.folder / RECORD):
            with suppress(FileNotFoundError):
                found = place.lstat()
                private = place.name == RECORD or not found.st_mode & _OTHERS
                if found.st_uid != os.getuid() or not private or stat.S_ISLNK(found.st_mode):
                    raise UnavailableError(
                        "this is not yours alone, and plugins are run from there",
                        hint=f"chown and chmod 700 {place}, if you know what is in it; else remove it",
                        place=Place(str(place)),
                    )

    def _read(self) -> Plugins:
        """Return what is installed; raise StateError where that was changed by something else."""
        path = self.folder / RECORD
        try:
            self._check_owner()
            with path.open("rb") as file:
                data = file.read(RECORD_BYTES_MAX + 1)
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise UnavailableError(f"it cannot be read: {error.strerror}", place=Place(str(path))) from error
        try:
            return _plugins(data)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, WorkflowError) as error:
            raise StateError(
                f"this is no list of plugins: {error}",
                hint="remove it, and install the plugins again",
                place=Place(str(path)),
            ) from error

    def _write(self, plugins: Plugins) -> None:
        told = {
            name: {
                version: {
                    "digest": one.digest,
                    "key": one.key,
                    "signer": one.signer,
                    "allowance": one.allowance.as_json(),
                }
                for version, one in sorted(versions.items())
            }
            for name, versions in sorted(plugins.items())
        }
        self._put(self.folder / RECORD, json.dumps({"format": FORMAT, "plugins": told}, indent=1).encode())

    def _put(self, path: Path, data: bytes) -> None:
        """Write a file whole or not at all, for its owner alone."""
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(path)
        finally:
            Path(name).unlink(missing_ok=True)
        sync_folder(path.parent)


def _plugins(data: bytes) -> Plugins:
    if len(data) > RECORD_BYTES_MAX:
        raise ValueError("it is too large")
    value: Any = json.loads(data)
    if value["format"] != FORMAT:
        raise ValueError(f"it is of format {value['format']!r}, and this version knows {FORMAT}")
    found: dict[str, dict[str, Installed]] = {}
    for name, versions in value["plugins"].items():
        for version, told in versions.items():
            texts = told["digest"], told["key"], told["signer"]
            good = _NAME.fullmatch(name) and _DIGEST.fullmatch(told["digest"]) and Version.is_valid(version)
            if not good or not all(isinstance(text, str) for text in texts):
                raise ValueError(f"{name[:70]!r} {version[:70]!r} is no plugin")
            allowance = Allowance.of_json(told["allowance"])
            found.setdefault(name, {})[version] = Installed(
                name, version, told["digest"], allowance, told["key"], told["signer"]
            )
    return found


def usual_registry() -> PluginRegistry:
    """Return that of this user: the folder DATAFLARE_PLUGINS, else `dataflare/plugins` in the user's data."""
    if told := os.environ.get("DATAFLARE_PLUGINS"):
        return PluginRegistry(Path(told))
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return PluginRegistry(Path(data) / "dataflare" / "plugins")


__all__ = ["Installed", "PluginRegistry", "usual_registry"]
