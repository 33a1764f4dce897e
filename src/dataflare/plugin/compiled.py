"""Compiled plugins on disk: native code, so nothing is run that this user did not compile.

Every file is sealed by a key that only its owner can read. What is run is a copy that nobody else can reach: a file
that is overwritten while it is mapped would end the process.
"""

from __future__ import annotations

import hashlib
import hmac
import mmap
import os
import secrets
import stat
import sys
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Buffer = bytes | memoryview | mmap.mmap

_KEY_BYTES = _SEAL_BYTES = 32
_PRIVATE = stat.S_IRWXG | stat.S_IRWXO


class CompiledFiles:
    """A folder of compiled code, of mode 0700; where it cannot be had, nothing is kept and all is compiled anew."""

    def __init__(self, folder: Path) -> None:
        """Make nothing before something is kept."""
        self._folder = folder

    def load(self, name: str) -> bytes | None:
        """Return what is kept under a name; None where there is nothing, or something that was changed."""
        try:
            sealed = self._file(name).read_bytes()
            key = self._key()
        except OSError:
            return None
        data = memoryview(sealed)[_SEAL_BYTES:]
        if key is None or not hmac.compare_digest(_seal(key, name, data), sealed[:_SEAL_BYTES]):
            return None
        return bytes(data)

    @contextmanager
    def runnable(self, name: str) -> Iterator[str | None]:
        """Give the path of a copy of what is kept under a name, which nobody else can change; None as `load` does."""
        try:
            descriptor = self._copied(name)
        except OSError:
            descriptor = None
        if descriptor is None:
            yield None
            return
        try:
            yield f"/proc/self/fd/{descriptor}"
        finally:
            os.close(descriptor)

    def _copied(self, name: str) -> int | None:
        """Return a file without a name that holds the code: the kernel copies it, and the copy is what is looked at."""
        if sys.platform != "linux":
            return None
        with self._file(name).open("rb") as file:
            size, seal = os.fstat(file.fileno()).st_size - _SEAL_BYTES, file.read(_SEAL_BYTES)
            key = self._key()
            if key is None or size <= 0:
                return None
            descriptor = os.memfd_create("plugin", os.MFD_CLOEXEC)
            try:
                sent = 0
                while sent < size and (more := os.sendfile(descriptor, file.fileno(), _SEAL_BYTES + sent, size - sent)):
                    sent += more
                with mmap.mmap(descriptor, size, prot=mmap.PROT_READ) as data:
                    if hmac.compare_digest(_seal(key, name, data), seal):
                        return descriptor
            except (OSError, ValueError):
                os.close(descriptor)
                raise
            os.close(descriptor)
            return None

    def keep(self, name: str, data: bytes) -> None:
        """Keep what was compiled, whole or not at all."""
        with suppress(OSError):
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            key = self._key() or self._make_key()
            if key is not None:
                self._put(self._file(name), _seal(key, name, data) + data, os.replace)

    def _file(self, name: str) -> Path:
        return self._folder / f"{name}.compiled"

    def _key(self) -> bytes | None:
        """Return the key, if it and its folder are this user's alone."""
        path = self._folder / "key"
        for place in (self._folder, path):
            with suppress(FileNotFoundError):
                found = place.lstat()
                if found.st_uid != os.getuid() or found.st_mode & _PRIVATE or stat.S_ISLNK(found.st_mode):
                    return None
        with suppress(FileNotFoundError):
            key = path.read_bytes()
            return key if len(key) == _KEY_BYTES else None
        return None

    def _make_key(self) -> bytes | None:
        with suppress(FileExistsError):  # somebody was quicker
            self._put(self._folder / "key", secrets.token_bytes(_KEY_BYTES), os.link)
        return self._key()

    def _put(self, path: Path, data: bytes, place: Callable[[str, Path], None]) -> None:
        descriptor, name = tempfile.mkstemp(dir=self._folder)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
            place(name, path)
        finally:
            Path(name).unlink(missing_ok=True)


def _seal(key: bytes, name: str, data: Buffer) -> bytes:
    made = hmac.new(key, name.encode() + b"\0", hashlib.sha256)
    made.update(data)
    return made.digest()


def usual_folder() -> Path:
    """Return where compiled code is kept: `dataflare/wasm` in the user's cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dataflare" / "wasm"


__all__ = ["CompiledFiles", "usual_folder"]
