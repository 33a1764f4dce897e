"""A plugin as one file, `.dfp`: what runs, what it says of itself, its tests, and the hashes of all of it.

There is one way to write a package: a zip that is not compressed, its files in one order, without times. So the same
plugin is the same bytes everywhere, and a reader takes nothing else: it writes what it has read again and compares.
"""

from __future__ import annotations

import hashlib
import json
import re
import stat
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from dataflare.errors import Place, UnavailableError, WorkflowError
from dataflare.plugin.archive import ENTRY_BYTES_MAX, FILES_MAX, TOTAL_BYTES_MAX, archived, unarchived
from dataflare.plugin.manifest import MANIFEST, Manifest, is_file_name

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

ENDING = ".dfp"
README, TESTS, HASHES, SIGNATURE = "README.md", "tests", "hashes.json", "signature.json"
FORMAT = "dataflare-plugin-1"
SIGNATURE_BYTES_MAX = 4096
_TEST = re.compile(rf"{TESTS}/[^/]+/[^/]+\.jsonl?")
_NAMED = re.compile(r"(?P<name>[a-z][a-z0-9-]*)-(?P<version>\d+\.\d+\.\d+.*)\.dfp")


@dataclass(frozen=True, slots=True)
class Package:
    """The files of a package by name, as they were verified; nothing of it is ever unpacked to a disk."""

    manifest: Manifest
    files: Mapping[str, bytes] = field(repr=False)
    signature: bytes | None = field(default=None, repr=False)
    shown: str = field(default="", compare=False)

    @classmethod
    def of_folder(cls, folder: Path, shown: str = "") -> Package:
        """Take a plugin's folder: its manifest, what runs, README.md and tests; nothing else.

        Raises DataFlareError where something is missing, is a link, or is no part of a package.
        """
        shown = shown or str(folder)
        manifest = Manifest.read(folder, f"{shown}/{MANIFEST}")
        names = [MANIFEST, manifest.entry, *([README] if (folder / README).exists() else []), *_tests(folder, shown)]
        _check_names(names, manifest, shown)
        files = {name: _read_plain(folder, name, shown) for name in names}
        if sum(map(len, files.values())) > TOTAL_BYTES_MAX:
            raise WorkflowError(f"the plugin has more than {TOTAL_BYTES_MAX >> 20} MB", place=Place(shown))
        if Manifest.of_bytes(files[MANIFEST], f"{shown}/{MANIFEST}") != manifest:
            raise WorkflowError("plugin.toml was changed meanwhile", hint="pack it again", place=Place(shown))
        return cls(manifest, files, shown=shown)

    @classmethod
    def read(cls, path: Path, shown: str = "") -> Package:
        """Read a file; raise UnavailableError where that cannot be, WorkflowError where it is no whole package."""
        shown = shown or str(path)
        try:
            with path.open("rb") as file:
                data = file.read(TOTAL_BYTES_MAX + (FILES_MAX << 10) + 1)
        except OSError as error:
            raise UnavailableError(f"the package cannot be read: {error.strerror}", place=Place(shown)) from error
        package = cls.of_bytes(data, shown)
        told = _NAMED.fullmatch(path.name)
        if told and (told["name"], told["version"]) != (package.manifest.name, package.manifest.version):
            raise WorkflowError(
                f"the file is named {told['name']} {told['version']}, and holds {package.manifest.reference}",
                hint=f"where that is meant, name it {package.file_name}",
                place=Place(shown),
            )
        return package

    @classmethod
    def of_bytes(cls, data: bytes, shown: str) -> Package:
        """Take the bytes of a package; raise WorkflowError where they are no whole one.

        The signature is not looked at: that is the matter of a trust policy.
        """
        files = dict(unarchived(data, shown))
        for needed in (MANIFEST, HASHES):
            if needed not in files:
                raise _broken(f"there is no {needed} in it", shown)
        hashes, signature = files.pop(HASHES), files.pop(SIGNATURE, None)
        if signature is not None and len(signature) > SIGNATURE_BYTES_MAX:
            raise _broken(f"{SIGNATURE} has more than {SIGNATURE_BYTES_MAX} bytes", shown)
        _check_hashes(hashes, files, shown)
        manifest = Manifest.of_bytes(files[MANIFEST], f"{shown}/{MANIFEST}")
        _check_names(list(files), manifest, shown)
        package = cls(manifest, files, signature, shown)
        if package.to_bytes() != data:
            raise _broken("its files are in another order", shown)
        return package

    def to_bytes(self) -> bytes:
        """Return the package as a file; the same bytes for the same content."""
        files = [(name, self.files[name]) for name in _ordered(self.manifest, list(self.files))]
        files.append((HASHES, self.hashes))
        if self.signature is not None:
            files.append((SIGNATURE, self.signature))
        return archived(files)

    def signed(self, signature: bytes) -> Package:
        """Return it with a signature, in the place of the one that it has."""
        return replace(self, signature=signature)

    @property
    def hashes(self) -> bytes:
        """What a signature signs: SHA-256 of each file, as JSON that is always written in the same way."""
        return _hashes_of(self.files)

    @property
    def digest(self) -> str:
        """SHA-256 of `hashes`: it stands for the content, signed or not."""
        return _sha256(self.hashes)

    @property
    def code(self) -> bytes:
        """The bytes of the file that runs."""
        return self.files[self.manifest.entry]

    @property
    def file_name(self) -> str:
        """What the file is usually called."""
        return f"{self.manifest.name}-{self.manifest.version}{ENDING}"


def canonical(value: Any) -> bytes:
    """Return JSON in the one way in which packages have it."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode() + b"\n"


def _hashes_of(files: Mapping[str, bytes]) -> bytes:
    return canonical({"files": {name: _sha256(data) for name, data in files.items()}, "format": FORMAT})


def _ordered(manifest: Manifest, names: list[str]) -> list[str]:
    first = [MANIFEST, manifest.entry, README]
    return sorted(names, key=lambda n: (first.index(n) if n in first else len(first), n))


def _check_names(names: list[str], manifest: Manifest, shown: str) -> None:
    if manifest.entry.startswith(f"{TESTS}/"):
        raise _broken(f"{manifest.entry} cannot be what runs", shown)
    if manifest.entry not in names:
        raise _broken(f"{manifest.entry}, which is to run, is not in it", shown)
    if len(names) + 2 > FILES_MAX:
        raise _broken(f"there are more than {FILES_MAX} files in it", shown)
    for name in names:
        if name not in (MANIFEST, manifest.entry, README) and not (_TEST.fullmatch(name) and is_file_name(name)):
            raise _broken(f"{name[:100]!r} is no file of a plugin", shown)


def _check_hashes(hashes: bytes, files: Mapping[str, bytes], shown: str) -> None:
    """Compare what is told with what is there."""
    there = {name: _sha256(data) for name, data in files.items()}
    try:
        told = json.loads(hashes)
    except (ValueError, RecursionError):
        raise _broken(f"{HASHES} is no JSON", shown) from None
    listed = told.get("files") if isinstance(told, dict) else None
    if not isinstance(listed, dict) or told.get("format") != FORMAT:
        raise _broken(f"{HASHES} is of no format that is known here", shown, "a newer version may read it")
    for name in sorted({*there, *listed}):
        if name not in there:
            raise _broken(f"{name[:100]!r} is missing", shown)
        if there[name] != listed.get(name):
            raise _broken(f"{name} is not what {HASHES} says: it was changed after it was packed", shown)
    if hashes != _hashes_of(files):
        raise _broken(f"{HASHES} is written in another way", shown)


def _tests(folder: Path, shown: str) -> list[str]:
    """Return the names of the files of tests; raise WorkflowError where something else is there."""
    tests = folder / TESTS
    if not tests.exists():
        return []
    found = []
    for path in sorted(tests.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            raise WorkflowError(f"{name} is a link", hint="put the file itself there", place=Place(shown))
        if not path.is_dir():
            found.append(name)
    return found


def _read_plain(folder: Path, name: str, shown: str) -> bytes:
    """Read a file below a folder, no part of whose path is a link."""
    path = folder
    for part in name.split("/"):
        path /= part
        if path.is_symlink():
            raise WorkflowError(f"{name} is a link", hint="put the file itself there", place=Place(shown))
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise WorkflowError(f"{name} is no file", place=Place(shown))
        with path.open("rb") as file:
            data = file.read(ENTRY_BYTES_MAX + 1)
    except OSError as error:
        hint = "build the plugin first" if path.suffix == ".wasm" else ""
        raise UnavailableError(f"{name} cannot be read: {error.strerror}", hint=hint, place=Place(shown)) from error
    if len(data) > ENTRY_BYTES_MAX:
        raise WorkflowError(f"{name} has more than {ENTRY_BYTES_MAX >> 20} MB", place=Place(shown))
    return data


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _broken(what: str, shown: str, hint: str = "") -> WorkflowError:
    return WorkflowError(f"this is no sound package: {what}", hint=hint, place=Place(shown))


__all__ = ["ENDING", "HASHES", "README", "SIGNATURE", "TESTS", "Package", "canonical"]
