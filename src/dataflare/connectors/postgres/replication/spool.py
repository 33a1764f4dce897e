"""Transactions that the server streams while they are open: kept, each in a file, until they commit or are undone."""

from __future__ import annotations

import tempfile
from contextlib import contextmanager, suppress
from typing import IO, TYPE_CHECKING

import numpy as np

from dataflare.connectors.postgres.replication.frames import PADDING, Frames
from dataflare.connectors.postgres.replication.messages import malformed
from dataflare.errors import UnavailableError
from dataflare.security.codec import Codec

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence
    from pathlib import Path

    Undone = Callable[[Sequence[int]], Collection[int]]
    """Tells which of the transactions of these numbers (32 bits) were rolled back."""

PART_BYTES = 1 << 20
"""A transaction goes to disk in parts of about so much; one that has less stays in memory."""
MEMORY_BYTES_MAX = 8 << 20
"""Of all open transactions together no more stays in memory."""
_RELATION, _ORIGIN = b"RO"


class Spool:
    """Takes in parts of open transactions.

    What goes to disk passes the codec, as every durable byte. The files have no name: the system removes them when the
    process ends, however it does; the server tells all of it again then. Raises UnavailableError where a disk is full.
    """

    def __init__(self, folder: Path | None, *, memory_bytes_max: int = MEMORY_BYTES_MAX) -> None:
        """Know the folder; change nothing."""
        self._folder, self._memory_bytes_max = folder, memory_bytes_max
        self._open: dict[int, _Kept] = {}
        self._current: _Kept | None = None
        self._bytes = 0

    @property
    def is_open(self) -> bool:
        """Tell whether messages belong to an open transaction now."""
        return self._current is not None

    def start(self, transaction: int) -> None:
        """Let the next messages belong to a transaction."""
        if self._current is not None:
            raise malformed("a streamed part begins within another")
        if transaction not in self._open:
            self._open[transaction] = _Kept(self._folder)
        self._current = self._open[transaction]

    def stop(self) -> None:
        """Let the next messages belong to no open transaction."""
        if self._current is None:
            raise malformed("a streamed part ends that did not begin")
        self._current = None

    def add(self, frames: Frames) -> None:
        """Keep messages of the current transaction."""
        kept = self._current
        assert kept is not None, "no transaction was started"
        if not len(frames):
            return
        before = kept.waiting_bytes
        kept.add(frames)
        self._bytes += kept.waiting_bytes - before
        if self._bytes > self._memory_bytes_max:
            for each in self._open.values():
                each.write()
            self._bytes = 0

    def abort(self, transaction: int, inner: int) -> None:
        """Forget a transaction, or what a subtransaction of it did."""
        if self._current is not None:
            raise malformed("a transaction is undone within a streamed part")
        if transaction == inner:
            self._forget(transaction)
        elif transaction in self._open:
            self._open[transaction].undone.add(inner)

    def commit(self, transaction: int, undone: Undone) -> Iterator[Frames]:
        """Yield the messages of a transaction in order, without those that were undone; then forget it.

        Which were undone beside those that the stream told of, `undone` is asked.
        """
        if transaction not in self._open or self._current is not None:
            raise malformed("a transaction is committed that was not streamed, or is still")
        kept = self._open[transaction]
        if doubtful := kept.inner - kept.undone - {transaction}:
            kept.undone |= set(undone(sorted(doubtful)))
        yield from kept.parts()
        self._forget(transaction)

    def close(self) -> None:
        """Forget all."""
        for transaction in list(self._open):
            self._forget(transaction)
        self._current = None

    def _forget(self, transaction: int) -> None:
        if (kept := self._open.pop(transaction, None)) is not None:
            self._bytes -= kept.waiting_bytes
            kept.close()


class _Kept:
    """One open transaction; `inner` are those that did something in it. Its last part waits in memory."""

    def __init__(self, folder: Path | None) -> None:
        self.undone: set[int] = set()
        self.inner: set[int] = set()
        self.waiting_bytes = 0
        self._folder, self._codec = folder, Codec()
        self._waiting: list[Frames] = []
        self._file: IO[bytes] | None = None
        self._lengths: list[int] = []

    def add(self, frames: Frames) -> None:
        first, end = int(frames.starts[0]), int(frames.ends[-1])
        self.inner |= set(np.unique(frames.words[frames.starts[frames.kinds != _ORIGIN] + 1]).tolist())
        data = bytes(memoryview(frames.data)[first:end])  # not the buffer of all that came with it
        self._waiting.append(Frames(data, frames.starts - first, frames.ends - first))
        self.waiting_bytes += len(data) + 16 * len(frames)
        if self.waiting_bytes >= PART_BYTES:
            self.write()

    def write(self) -> None:
        """Let what waits go to disk."""
        if not self._waiting:
            return
        frames = _joined(self._waiting)
        head = np.array([len(frames), len(frames.data)], np.int64)
        data = self._codec.encode(
            b"".join((head.tobytes(), frames.starts.tobytes(), frames.ends.tobytes(), frames.data))
        )
        with _on_disk():
            if self._file is None:
                self._file = tempfile.TemporaryFile(dir=str(self._folder) if self._folder else None)  # noqa: SIM115
            self._file.write(data)
        self._lengths.append(len(data))
        self._waiting, self.waiting_bytes = [], 0

    def parts(self) -> Iterator[Frames]:
        undone = np.array(sorted(self.undone), np.uint32)
        for frames in self._all():
            if len(undone):
                # A description holds whoever asked for it; the server may not repeat it.
                free = (frames.kinds == _RELATION) | (frames.kinds == _ORIGIN)
                kept = frames.keep(free | ~np.isin(frames.words[frames.starts + 1], undone))
            else:
                kept = frames
            if len(kept):
                yield kept

    def close(self) -> None:
        if self._file is not None:
            with suppress(OSError):  # what a full disk did not take is wanted no more
                self._file.close()

    def _all(self) -> Iterator[Frames]:
        if self._file is not None:
            with _on_disk():
                self._file.seek(0)
        for length in self._lengths:
            assert self._file is not None
            with _on_disk():
                data = self._file.read(length)
            payload = self._codec.decode(data)
            count, size = np.frombuffer(payload, np.int64, 2).tolist()
            starts, ends = np.frombuffer(payload, np.int64, 2 * count, 16).reshape(2, count)
            yield Frames(payload[len(payload) - size :], starts, ends)
        if self._waiting:
            yield _joined(self._waiting)


def _joined(parts: list[Frames]) -> Frames:
    """Return messages one behind the other, with padding."""
    bases = np.cumsum([0, *(len(p.data) for p in parts)])
    starts, ends = (
        [getattr(p, name) + base for p, base in zip(parts, bases, strict=False)] for name in ("starts", "ends")
    )
    return Frames(b"".join((*(p.data for p in parts), PADDING)), np.concatenate(starts), np.concatenate(ends))


@contextmanager
def _on_disk() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UnavailableError(
            f"a transaction that is open could not be kept on disk: {error.strerror or type(error).__name__}",
            hint=f"make room in {tempfile.gettempdir()} (TMPDIR), or let the server keep it (cdc: {{streaming: false}})"
            "; then run again: nothing that was committed is lost",
        ) from None


__all__ = ["Spool"]
