"""The files behind a path: found, ordered, and recognised again when they grew or were replaced."""

from __future__ import annotations

import fnmatch
import glob
import os
import re
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from dataflare.connectors.file.settings import EXTENSIONS, FileSourceConfig, extension_of
from dataflare.connectors.file.storage import storage
from dataflare.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from dataflare.component import StageContext

MARK_BYTES = 1024


@dataclass(frozen=True, slots=True)
class Listed:
    """A file of one pass: what it was when it was listed, and from where this pass reads it."""

    name: str
    size: int
    modified: int
    mark: int
    start: int = 0

    def to_json(self) -> list[Any]:
        """Return what a position keeps."""
        return [self.name, self.size, self.modified, self.mark, self.start]

    @classmethod
    def from_json(cls, value: list[Any]) -> Self:
        """Read what `to_json` wrote."""
        return cls(*value)


def names_of(context: StageContext, config: FileSourceConfig, *, allow_empty: bool) -> list[str]:
    """Return the names of all files behind the paths, sorted; relative to the workflow's folder where they are in it.

    Raises UnavailableError where there is none behind one of the paths, unless that is allowed. Hidden files are left
    out.
    """
    found: set[str] = set()
    for path in config.paths:
        behind = _behind(context, path)
        if not behind and not allow_empty:
            raise _nothing(context.path(path), path)
        found.update(behind)
    if config.exclude:
        left_out = [re.compile(_pattern(context, glob_)).fullmatch for glob_ in config.exclude]
        found = {f for f in found if not any(matches(f) for matches in left_out)}
        if not found and not allow_empty:
            raise UnavailableError("`exclude` leaves no file", hint="correct it, or set allow_empty: true")
    root = f"{context.directory}{os.sep}"
    return sorted(f.removeprefix(root) if context.directory.is_absolute() else f for f in found)


def _behind(context: StageContext, path: str) -> list[str]:
    full = context.path(path)
    with storage(full):
        if full.is_file():
            return [str(full)]
        if full.is_dir():
            entries = (e for e in os.scandir(full) if e.name[0] != "." and extension_of(e.name) in EXTENSIONS)
            return [e.path for e in entries if e.is_file()]
        return [p for p in glob.iglob(str(full), recursive=True) if os.path.isfile(p)]  # noqa: PTH113, PTH207


def _nothing(full: Path, path: str) -> UnavailableError:
    if full.is_dir():
        what = f"{full} is a folder without a file that can be read ({', '.join(sorted(EXTENSIONS))})"
    elif full.exists():
        what = f"{full} is neither a file nor a folder"
    else:
        what = f"{'no file matches' if glob.has_magic(path) else 'there is no file'} {full}"
    return UnavailableError(what, hint="check the path, or set allow_empty: true if there may be none")


def _pattern(context: StageContext, text: str) -> str:
    """Return what matches the files behind a glob; one without a folder is about names in any folder."""
    if "/" not in text:
        return f"(?s:.*/)?{fnmatch.translate(text)}"
    parts = []
    for part in re.split(r"(\*\*/|\*\*|\*|\?)", str(context.path(text))):
        signs = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
        parts.append(signs.get(part, re.escape(part)))
    return "".join(parts)


def mark_of(path: Path, end: int) -> int:
    """Return a checksum of the last bytes before `end`, by which a file that only grew is known again."""
    start = max(0, end - MARK_BYTES)
    with storage(path), path.open("rb") as file:
        file.seek(start)
        return zlib.crc32(file.read(end - start))


def listed_anew(context: StageContext, listed: Listed) -> Listed:
    """Return a file as it was listed where it is still the same or has only grown, else as it is now."""
    path = context.path(listed.name)
    with storage(path):
        status = path.stat()
    if status.st_size >= listed.size and mark_of(path, listed.size) == listed.mark:
        return listed
    return Listed(listed.name, status.st_size, status.st_mtime_ns, mark_of(path, status.st_size))


def changed_files(
    context: StageContext,
    names: list[str],
    known: Mapping[str, list[int]],
    grows: Callable[[str], bool],
) -> tuple[list[Listed], list[str]]:
    """Return what there is to read beyond what is `known` (name to size, time, mark), and the names of replaced files.

    A file that grew is read from its former end, if what was before is still there and `grows` says so; one that
    changed otherwise is read as a new file; one that was only touched is not read.
    """
    listed, replaced = [], []
    for name in names:
        path = context.path(name)
        with storage(path):
            status = path.stat()
        size, modified = status.st_size, status.st_mtime_ns
        before = known.get(name)
        if before is None:
            listed.append(Listed(name, size, modified, mark_of(path, size)))
            continue
        old_size, old_modified, old_mark = before
        if (size, modified) == (old_size, old_modified):
            continue
        same_before = size >= old_size and mark_of(path, old_size) == old_mark
        if same_before and size == old_size:
            continue
        start = old_size if same_before and grows(name) else 0
        if start == 0:
            replaced.append(name)
        listed.append(Listed(name, size, modified, mark_of(path, size), start))
    return listed, replaced


__all__ = ["Listed", "changed_files", "listed_anew", "mark_of", "names_of"]
