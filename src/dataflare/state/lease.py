"""The right to run a workflow on a folder of state: a locked file, which the system unlocks when its holder dies."""

from __future__ import annotations

import fcntl
import json
import os
import socket
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Self
from urllib.parse import quote

from dataflare.errors import LeaseHeldError, UnavailableError

if TYPE_CHECKING:
    from pathlib import Path

    from dataflare.clock import Clock

SUFFIX = ".lock"
NOTE_BYTES_MAX = 4096


class FileLease:
    """An exclusive lock on `NAME.lock`, whose content tells who holds it. The file stays when the lock goes."""

    def __init__(self, descriptor: int) -> None:
        """Own an open file that is locked."""
        self._descriptor: int | None = descriptor

    @classmethod
    def take(cls, folder: Path, name: str, clock: Clock) -> Self:
        """Lock at once; raise LeaseHeldError with the holder, or UnavailableError where no file can be made."""
        path = folder / f"{quote(name, safe='')}{SUFFIX}"
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise UnavailableError(
                f"the lock {path} cannot be made: {error.strerror}", hint="let the state be where this user may write"
            ) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            held = _held_by(descriptor, name)
            os.close(descriptor)
            raise held from None
        except OSError as error:
            os.close(descriptor)
            raise UnavailableError(
                f"the lock {path} is refused: {error.strerror}", hint="let the state be on a local disk"
            ) from error
        note = {"pid": os.getpid(), "host": socket.gethostname(), "start": _date(clock.now())}
        try:
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, json.dumps(note).encode(), 0)
        except OSError as error:
            os.close(descriptor)
            raise UnavailableError(
                f"the lock {path} cannot be written: {error.strerror}", hint="make room on the disk of the state"
            ) from error
        return cls(descriptor)

    def release(self) -> None:
        """Unlock; a second call does nothing."""
        if self._descriptor is not None:
            descriptor, self._descriptor = self._descriptor, None
            os.ftruncate(descriptor, 0)
            os.close(descriptor)


def _held_by(descriptor: int, name: str) -> LeaseHeldError:
    workflow = name.rpartition("/")[2]
    hint = f"stop it with: dataflare stop {workflow}; or give this run a state of its own (runtime.state.path)"
    try:
        note = json.loads(os.pread(descriptor, NOTE_BYTES_MAX, 0))
        holder = f"process {note['pid']} on {note['host']}, since {note['start']}"
    except (ValueError, KeyError, TypeError):
        holder = "a process that has just begun"
    return LeaseHeldError(f"{name} is running already: {holder}", hint=hint)


def _date(microseconds: int) -> str:
    return datetime.fromtimestamp(microseconds / 1e6, UTC).isoformat(timespec="seconds")
