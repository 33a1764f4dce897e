"""Sees when files change on which a workflow depends: itself, Python code and tests beside it, what it reads."""

from __future__ import annotations

import glob
import os
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from dataflare.plan import Plan

FILES_MAX = 2000
"""So many files are watched at most of each sort."""

_CODE = (".py", ".yaml", ".yml", ".json")
_APART = {"__pycache__", "node_modules", "out", "dist", "build"}
_PATHS = ("path", "paths", "module", "file_path")

Stamps = dict[str, tuple[int, int, int]]


class Watch:
    """Remembers what the files of a workflow look like, and tells which are not so any more."""

    def __init__(self, file: Path) -> None:
        """Watch a workflow file and the code in its folder; `know` adds what a plan reads."""
        self._file = file
        self._read: list[str] = []
        self._stamps = self._look()

    def know(self, plan: Plan) -> None:
        """Watch what the sources and transformations of a plan read, too."""
        self._read = list(_patterns(plan))
        self._stamps = self._look() | self._stamps  # a file that has changed since the plan was made is told

    def changed(self) -> list[str]:
        """Return the names of files that came, went or changed since they were last told."""
        before, self._stamps = self._stamps, self._look()
        return sorted(n for n in {*before, *self._stamps} if before.get(n) != self._stamps.get(n))

    def _look(self) -> Stamps:
        found: Stamps = {}
        for name in self._names():
            try:
                stat = os.stat(name)  # noqa: PTH116 - a thousand of them, four times a second
            except OSError:
                continue  # it is gone, which is a change
            found[name] = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
        return found

    def _names(self) -> Iterator[str]:
        yield str(self._file)
        yield from islice(_code(str(self._file.parent)), FILES_MAX)
        for pattern in self._read:
            yield from islice(glob.iglob(pattern, recursive=True), FILES_MAX)  # noqa: PTH207 - absolute patterns


def _code(folder: str) -> Iterator[str]:
    """Yield files of code and of workflows below a folder; not those of packages that are installed there."""
    for here, folders, names in os.walk(folder):
        folders[:] = sorted(
            f for f in folders if f not in _APART and not f.startswith(".") and not Path(here, f, "pyvenv.cfg").exists()
        )
        for name in sorted(names):
            if name.endswith(_CODE) and not name.endswith(".schema.json"):
                yield os.path.join(here, name)  # noqa: PTH118 - the same form as glob


def _patterns(plan: Plan) -> Iterator[str]:
    """Yield the absolute paths and globs that nodes read; not those of destinations."""
    from dataflare.plan import NodeKind

    for node in plan.nodes:
        if node.kind is not NodeKind.DESTINATION:
            for text in _texts(node.config):
                if "://" not in text and "${" not in text:
                    yield str((Path(plan.directory) / text).expanduser().absolute())


def _texts(settings: Mapping[str, Any]) -> Iterator[str]:
    for key, value in settings.items():
        if isinstance(value, dict):
            yield from _texts(value)
        elif key in _PATHS:
            yield from (text for text in (value if isinstance(value, list) else [value]) if isinstance(text, str))


__all__ = ["Watch"]
