"""The journal: records in, in groups that are made durable together; records out, by number; a bound on its size."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from dataflare.disk import sync_folder
from dataflare.errors import ExternalError, LeaseHeldError, StateError, UnavailableError
from dataflare.journal.segment import SUFFIX, Segment, group_of
from dataflare.security.codec import Codec

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

LABEL = "journal.json"
LOCK = "journal.lock"
SEGMENTS_IN_BOUND = 8
"""A file is an eighth of what the journal may take, so that at least seven eighths of it hold what is not trimmed."""


class JournalFullError(ExternalError):
    """The journal holds as much as it may; there is room again when what was read has been committed."""

    code = "journal.full"


@dataclass(frozen=True, slots=True)
class Stretch:
    """Records that follow one another; `first` is the number of the first one."""

    first: int
    records: Sequence[bytes]

    @property
    def last(self) -> int:
        """The number of the last record; `first` - 1 where there is none."""
        return self.first + len(self.records) - 1


class Journal:
    """A folder of segments, for one process. Numbers begin with 1 and only grow, over all restarts (invariant 2).

    `append` returns when records are durable: they are there after any crash, or `append` has raised and they may not
    be. `identity` tells this journal from another one that stands at its place later: a position holds both. Methods
    block; they may be called by several threads.
    """

    def __init__(self, folder: Path, bytes_max: int, segments: Sequence[Segment], lock: int) -> None:
        """Own what `open` has found."""
        self._folder, self._bytes_max, self._lock = folder, bytes_max, lock
        self._segment_bytes = max(1, bytes_max // SEGMENTS_IN_BOUND)
        self._segments = list(segments)
        self._codec = Codec()
        self._descriptor: int | None = None
        self._broken = ""
        self._writing = threading.Lock()
        self.identity = 0
        self.cut_bytes = 0
        """Bytes of a group that was torn by a crash, and was cut off when the journal was opened."""

    @classmethod
    def open(cls, folder: Path, *, bytes_max: int, now: int) -> Self:
        """Open a journal, or begin one; `now`, in microseconds, becomes the identity of a new one.

        Raises LeaseHeldError where it is open already, StateError where it is damaged, UnavailableError where the disk
        refuses.
        """
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise _refused(folder, error) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            raise LeaseHeldError(
                f"the journal {folder.name} is open already", hint="run one workflow on it; or give this one another"
            ) from None
        try:
            return cls._opened(folder, bytes_max, now, lock)
        except OSError as error:
            os.close(lock)
            raise _refused(folder, error) from error
        except StateError:
            os.close(lock)
            raise

    @classmethod
    def _opened(cls, folder: Path, bytes_max: int, now: int, lock: int) -> Self:
        paths = sorted(folder.glob(f"*{SUFFIX}"))
        segments, torn = [Segment.named(path) for path in paths], 0
        codec = Codec()
        for number, segment in enumerate(segments):
            last = number == len(segments) - 1
            torn = segment.load(codec, last=last)
            if not last and segment.end != segments[number + 1].first:
                raise StateError(
                    f"the journal {folder.name} lacks what follows on {segment.path.name}", hint="restore the file"
                )
        journal = cls(folder, bytes_max, segments, lock)
        journal.identity = _identity(folder, now, fresh=not segments)
        if not segments:
            journal._begin_segment(1)
        elif torn:
            journal._truncate(segments[-1])
            journal.cut_bytes = torn
        return journal

    @property
    def first(self) -> int:
        """The number of the oldest record that can be read; that of the next one where there is none."""
        return self._segments[0].first

    @property
    def end(self) -> int:
        """The number that the next record will have."""
        return self._segments[-1].end

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return sum(segment.size for segment in self._segments)

    def append(self, records: Sequence[bytes]) -> Stretch:
        """Make records durable, all or none; return them with their numbers.

        Raises JournalFullError where there is no room for them, UnavailableError where the disk refuses, StateError
        where it cannot tell what it holds any more: then the journal must be opened anew.
        """
        with self._writing:
            return self._append(records)

    def _append(self, records: Sequence[bytes]) -> Stretch:
        if self._broken:
            raise StateError(f"the journal {self._folder.name} cannot be trusted: {self._broken}", hint="run it again")
        first = self.end
        if not records:
            return Stretch(first, ())
        data = group_of(first, records, self._codec)
        if self.size + len(data) > self._bytes_max:
            raise JournalFullError(
                f"the journal {self._folder.name} holds {self.size:,} of at most {self._bytes_max:,} bytes",
                hint="see what keeps the workflow from committing, or give the journal more room",
            )
        segment = self._segments[-1]
        if segment.size and segment.size + len(data) > self._segment_bytes:
            segment = self._begin_segment(first)
        self._write(segment, data)
        segment.grown(first, len(records), len(data))
        return Stretch(first, records)

    def read(self, after: int, bytes_max: int) -> Stretch:
        """Return records behind a number, about so many bytes of them, at least one if there is any.

        Raises StateError where records behind that number were trimmed, or where there never was one of that number.
        """
        segments = self.check(after)
        found: list[bytes] = []
        size = 0
        for segment in segments:
            if segment.end - 1 <= after:
                continue
            for first, records in segment.read(after, self._codec):
                fresh = records[max(0, after + 1 - first) :]
                found += fresh
                size += sum(map(len, fresh))
                if size >= bytes_max:
                    return Stretch(after + 1, found)
        return Stretch(after + 1, found)

    def check(self, after: int) -> Sequence[Segment]:
        """Raise StateError where the records behind a number were trimmed, or where there never was one of it."""
        segments = list(self._segments)
        if not segments[0].first - 1 <= after < segments[-1].end:
            raise StateError(
                f"the journal {self._folder.name} holds records {segments[0].first:,} to {segments[-1].end - 1:,}, "
                f"and those behind {after:,} are wanted",
                hint="was the journal or the state of the workflow put back? both belong together",
            )
        return segments

    def trim(self, up_to: int) -> None:
        """Forget records up to a number, as far as whole files go; later ones stay readable."""
        with self._writing:
            self._trim(up_to)

    def _trim(self, up_to: int) -> None:
        try:
            if self._segments[-1].size and self._segments[-1].end - 1 <= up_to:
                self._begin_segment(self.end)
            while len(self._segments) > 1 and self._segments[0].end - 1 <= up_to:
                self._segments[0].path.unlink(missing_ok=True)
                self._segments = self._segments[1:]
        except OSError as error:
            raise _refused(self._folder, error) from error

    def close(self) -> None:
        """Close all files; a second call does nothing."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    # ---- the disk -----------------------------------------------------------------------------------------------

    def _begin_segment(self, first: int) -> Segment:
        segment = Segment.at(self._folder, first)
        descriptor = os.open(segment.path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            sync_folder(self._folder)
        except OSError:
            os.close(descriptor)
            raise
        if self._descriptor is not None:
            os.close(self._descriptor)
        self._descriptor = descriptor
        self._segments = [*self._segments, segment]
        return segment

    def _write(self, segment: Segment, data: bytes) -> None:
        try:
            if self._descriptor is None:
                self._descriptor = os.open(segment.path, os.O_RDWR)
            view, at = memoryview(data), segment.size
            while view:
                written = os.pwrite(self._descriptor, view, at)
                view, at = view[written:], at + written
        except OSError as error:
            self._undo(segment, error)
            raise _refused(self._folder, error) from error
        try:
            os.fdatasync(self._descriptor)
        except OSError as error:  # nobody can tell what is on the disk now
            self._broken = f"the disk failed: {error.strerror}"
            raise _refused(self._folder, error) from error

    def _undo(self, segment: Segment, cause: OSError) -> None:
        """Take back a part of a group, so that the next one stands where it should."""
        try:
            self._truncate(segment)
        except OSError:
            self._broken = f"the disk failed: {cause.strerror}"

    def _truncate(self, segment: Segment) -> None:
        if self._descriptor is None:
            self._descriptor = os.open(segment.path, os.O_RDWR)
        os.ftruncate(self._descriptor, segment.size)
        os.fsync(self._descriptor)


def _identity(folder: Path, now: int, *, fresh: bool) -> int:
    """Return what tells this journal from others; a new one is told by the moment of its beginning."""
    path = folder / LABEL
    if not fresh:
        with contextlib.suppress(FileNotFoundError, ValueError, KeyError):
            return int(json.loads(path.read_text())["began"])
        raise StateError(f"the journal {folder.name} lacks its label {LABEL}", hint="restore the file")
    draft = path.with_suffix(".new")
    with draft.open("w") as file:
        file.write(json.dumps({"began": now}))
        file.flush()
        os.fsync(file.fileno())
    draft.rename(path)
    sync_folder(folder)
    return now


def _refused(folder: Path, error: OSError) -> UnavailableError:
    return UnavailableError(
        f"the journal {folder.name} cannot be written: {error.strerror}",
        hint="make room on its disk, and see that it is ours",
    )


__all__ = ["Journal", "JournalFullError", "Stretch"]
