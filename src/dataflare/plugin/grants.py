"""What an instance may use of its surroundings: folders, variables, the clock. Nothing, unless it is granted.

A folder is granted by its real path, and opened anew for every instance without following any link: what was put in
the place of one of its parents meanwhile is an error. Inside of it WASI follows links only as far as they stay inside.
There is nothing to grant that reaches a network.
"""

from __future__ import annotations

import os
import re
import stat
import sys
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from dataflare.errors import WorkflowError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from wasmtime import WasiConfig

_NAME = re.compile(r"[^=\0]+")
_SYSTEM = tuple(map(Path, ("/proc", "/sys", "/dev")))


class GrantedFolder(NamedTuple):
    """A folder of this machine, by its real path, and what a plugin calls it. `write`: it may change what is in it."""

    path: str
    at: str
    write: bool = False


@dataclass(frozen=True, slots=True)
class Grants:
    """What one instance may use. `files` are folders; `clock`: the time of day, where else the epoch's time is told."""

    files: tuple[GrantedFolder, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict, repr=False)  # may hold secrets
    clock: bool = False

    @classmethod
    def checked(cls, grants: Grants, base: Path, closed: Iterable[Path] = ()) -> Grants:
        """Return the grants with real paths; relative ones start at `base`, the folder of the workflow.

        Raises WorkflowError where a folder is not there, leads out of `base` though its path is relative, holds or
        lies in one of the `closed` places, may be written and holds `base`, or is in another one that may be written.
        """
        home, shut = _real(base), [_real(p) for p in closed]
        folders = [GrantedFolder(str(_folder(f, home, shut)), _guest_path(f.at), f.write) for f in grants.files]
        _apart(folders)
        for name, value in grants.env.items():
            if not _NAME.fullmatch(name) or "\0" in value:
                raise WorkflowError(f"{name!r} cannot be granted as a variable: its name or text cannot be one")
        return cls(tuple(folders), MappingProxyType(dict(grants.env)), grants.clock)

    def words(self) -> list[str]:
        """Return what is granted, in words without the texts of variables."""
        found = [f"files {f.path} at {f.at}{' (may write)' if f.write else ''}" for f in self.files]
        found += [f"variable {name}" for name in self.env]
        return found + ["the clock"] * self.clock

    @contextmanager
    def wasi(self) -> Iterator[WasiConfig]:
        """Give the surroundings of one instance, which are to be set while in here.

        Raises WorkflowError where a folder is not there any more, or a link stands in its place.
        """
        from wasmtime import WasiConfig, WasmtimeError

        config = WasiConfig()
        config.env = list(self.env.items())
        with ExitStack() as stack:
            for folder in self.files:
                try:
                    path = stack.enter_context(_opened(folder.path))
                    config.preopen_dir(path, folder.at, folder.write)
                except (OSError, WasmtimeError) as error:
                    why = error.strerror if isinstance(error, OSError) else "it cannot be opened"
                    raise WorkflowError(f"the granted folder {folder.path} is no folder any more: {why}") from None
            yield config


NO_GRANTS = Grants()


@contextmanager
def _opened(path: str) -> Iterator[str]:
    """Give a path to a folder that nobody can put a link in the place of, by opening it step by step."""
    if sys.platform != "linux":
        if os.path.realpath(path) != path:
            raise OSError(0, "a link stands in its place")
        yield path
        return
    flags = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open("/", flags)
    try:
        for part in PurePosixPath(path).parts[1:]:
            inner = os.open(part, flags, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = inner
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


def _folder(folder: GrantedFolder, home: Path, closed: Iterable[Path]) -> Path:
    written = Path(folder.path)
    try:
        found = (home / written).resolve(strict=True)
    except (OSError, RuntimeError, ValueError):
        raise WorkflowError(f"the folder {folder.path!r} is granted, and is not there") from None
    if not found.is_dir():
        raise WorkflowError(f"{folder.path!r} is granted, and is no folder", hint="grant the folder that it is in")
    if not written.is_absolute() and not found.is_relative_to(home):
        raise WorkflowError(
            f"the folder {folder.path!r} is granted, and lies outside of the workflow's folder",
            hint="write its absolute path, if that is meant",
        )
    for place in (*_SYSTEM, *closed):
        if found.is_relative_to(place) or (place not in _SYSTEM and place.is_relative_to(found)):
            raise WorkflowError(
                f"the folder {folder.path!r} cannot be granted: {place} is not for plugins",
                hint="grant a folder with nothing in it but what the plugin needs",
            )
    if found == Path(found.anchor):
        raise WorkflowError("all folders of a machine cannot be granted at once")
    if pipe := _pipe(found):
        raise WorkflowError(
            f"the folder {folder.path!r} cannot be granted: {pipe} is a pipe or a device, and reading it may never end"
        )
    if folder.write and home.is_relative_to(found):
        raise WorkflowError(
            f"the folder {folder.path!r} cannot be granted to be written: the workflow lies in it",
            hint="grant a folder of its own",
        )
    return found


def _pipe(folder: Path) -> str:
    """Return a file below that a call may wait for and not come back; plugins cannot make one."""
    for where, folders, files in os.walk(folder):
        del folders
        for name in files:
            path = os.path.join(where, name)  # noqa: PTH118 - there may be many
            with suppress(FileNotFoundError):  # it went meanwhile
                kind = os.lstat(path).st_mode
                if not stat.S_ISREG(kind) and not stat.S_ISLNK(kind):
                    return path
    return ""


def _apart(folders: list[GrantedFolder]) -> None:
    """Refuse a folder in one that may be written: a link could be put in its place."""
    names = [f.at for f in folders]
    if twice := next((n for n in names if names.count(n) > 1), None):
        raise WorkflowError(f"two folders are granted at {twice!r}")
    for outer in folders:
        for inner in folders:
            if outer is not inner and outer.write and Path(inner.path).is_relative_to(outer.path):
                raise WorkflowError(f"{inner.path} is granted, and lies in {outer.path}, which the plugin may write")


def _guest_path(at: str) -> str:
    path = PurePosixPath(at)
    if not path.is_absolute() or ".." in path.parts or "\0" in at:
        raise WorkflowError(f"a plugin cannot have a folder at {at!r}", hint="such as /rates")
    return str(path)


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))


__all__ = ["NO_GRANTS", "GrantedFolder", "Grants"]
