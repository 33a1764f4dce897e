"""Looks whether files are there and may be read, and whether there is a place where files may be written."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from dataflare.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

FILES_MAX = 1000
"""So many files are looked at; the run tells of the others."""
TOLD_MAX = 20
_CURE = "give the user that runs dataflare the permission"


def unreadable(paths: Iterable[Path]) -> list[UnavailableError]:
    """Return an error for each file that may not be read, at most so many."""
    found: list[UnavailableError] = []
    for _, path in zip(range(FILES_MAX), paths, strict=False):
        if not os.access(path, os.R_OK):
            found.append(UnavailableError(f"{path} may not be read", hint=_CURE))
        if len(found) >= TOLD_MAX:
            break
    return found


def unwritable(path: Path, *, folder: bool) -> Iterator[UnavailableError]:
    """Yield what keeps a file, or files in a folder, from being written there; folders are made where they lack."""
    if folder and path.is_file():
        yield UnavailableError(f"{path} is a file", hint="give the path a file extension, or name a folder")
        return
    if not folder and path.is_file() and not os.access(path, os.W_OK):
        yield UnavailableError(f"{path} may not be written", hint=_CURE)
    place = (path if folder else path.parent).absolute()
    while not place.exists() and place != place.parent:
        place = place.parent
    if not place.is_dir():
        yield UnavailableError(f"{place} is not a folder", hint="a part of the path is a file")
    elif not os.access(place, os.W_OK | os.X_OK):
        yield UnavailableError(f"nothing may be written in {place}", hint=_CURE)


__all__ = ["FILES_MAX", "unreadable", "unwritable"]
