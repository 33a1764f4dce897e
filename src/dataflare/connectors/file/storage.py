"""What the file system refuses, said with the path and the cure."""

from __future__ import annotations

import errno
from contextlib import contextmanager
from typing import TYPE_CHECKING

from dataflare.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_CURES = {
    errno.ENOENT: "check the path; relative paths start at the folder of the workflow file",
    errno.ENOTDIR: "a part of the path is a file, not a folder",
    errno.EISDIR: "the path is a folder; name a file in it or a glob such as folder/*.csv",
    errno.EACCES: "give the user that runs dataflare the permission",
    errno.EPERM: "give the user that runs dataflare the permission",
    errno.ENOSPC: "the disk is full: free some space, then run again; nothing that was committed is lost",
    errno.EDQUOT: "the quota is used up: free some space, then run again; nothing that was committed is lost",
    errno.EROFS: "the file system is read-only: write somewhere else",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
}


@contextmanager
def storage(path: Path | str) -> Iterator[None]:
    """Translate what the file system refuses in this block into UnavailableError."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise UnavailableError(f"{path}: {reason}", hint=_CURES.get(error.errno or 0, "")) from error
