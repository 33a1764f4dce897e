"""Databases that are files: where they are, and whether they may be there."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from dataflare.errors import UnavailableError

if TYPE_CHECKING:
    from pathlib import Path


def to_write(path: Path, *, create: bool) -> Path:
    """Return the path of a file to write; raise UnavailableError where it is not there and cannot be made."""
    if not path.exists() and not create:
        raise UnavailableError(f"there is no file {path}", hint="check the path, or let create be true")
    if create and not path.parent.is_dir():
        raise UnavailableError(f"there is no folder {path.parent}", hint="make it")
    return path


def refuse_unwritable(path: Path) -> None:
    """Raise UnavailableError for a file, or for the folder of a file, that this user may not write."""
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        what = f"{path} may not be written"
        raise UnavailableError(what, hint="give the user that runs dataflare the permission")


__all__ = ["refuse_unwritable", "to_write"]
