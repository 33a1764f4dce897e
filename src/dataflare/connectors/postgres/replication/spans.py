"""Where the values of rows stand in a buffer of messages, column by column: one step over all rows for each column."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from dataflare.connectors.postgres.replication.messages import malformed

if TYPE_CHECKING:
    from dataflare.connectors.postgres.replication.frames import Bytes, Frames, Integers

TEXT, NULL, SAME = b"tnu"
"""How a value is told: as text, as null, or not at all because it is as before."""

_FEW = 8
"""So few values are copied one by one: that is faster."""
_INT32_MAX = 2**31 - 1

Flags = np.ndarray[Any, np.dtype[np.bool_]]


@dataclass(frozen=True, slots=True)
class Span:
    """The values of one column: how each is told, and where its text stands; nothing is longer than its message."""

    kinds: Bytes
    starts: Integers
    ends: Integers

    def take(self, rows: Integers | Flags) -> Span:
        """Return the values of some rows."""
        return Span(self.kinds[rows], self.starts[rows], self.ends[rows])

    def put(self, rows: Flags, other: Span) -> Span:
        """Return the values with those of `rows` replaced."""
        kinds, starts, ends = self.kinds.copy(), self.starts.copy(), self.ends.copy()
        kinds[rows], starts[rows], ends[rows] = other.kinds, other.starts, other.ends
        return Span(kinds, starts, ends)

    def gathered(self, frames: Frames) -> pa.Array:
        """Return the texts as an Arrow array of binary; null where there is none. Rows are in the order of the buffer.

        The bytes between the values are values of an array too, and are left out of it: so Arrow does the copying.
        """
        if len(self.starts) <= _FEW:
            data, spots = frames.data, zip(self.kinds.tolist(), self.starts.tolist(), self.ends.tolist(), strict=True)
            return pa.array([data[start:end] if kind == TEXT else None for kind, start, end in spots], pa.binary())
        return gathered(pa.py_buffer(frames.data), self.starts, self.ends, self.kinds == TEXT)


def gathered(data: pa.Buffer, starts: Integers, ends: Integers, valid: Flags | None) -> pa.Array:
    """Return slices of a buffer as an array of binary; they must be in its order. Null where not `valid`."""
    count = len(starts)
    if not count:
        return pa.array([], pa.binary())
    if data.size > _INT32_MAX:  # a message has a gigabyte at most, and what is taken with it is bounded
        raise malformed("there are more than two gigabytes at once")
    offsets = np.empty((count, 2), np.int32)
    offsets[:, 0], offsets[:, 1] = starts, ends
    spread = pa.Array.from_buffers(pa.binary(), 2 * count - 1, [None, pa.py_buffer(offsets), data])
    chosen = np.arange(0, 2 * count - 1, 2, dtype=np.int32)
    return spread.take(pa.array(chosen, mask=None if valid is None or valid.all() else ~valid))


def whole(texts: pa.Array) -> tuple[Integers, Bytes]:
    """Return where each of an array of binary begins, with the end, and the bytes of all."""
    _, offsets, data = texts.buffers()
    bounds = np.frombuffer(offsets, np.int32)[texts.offset : texts.offset + len(texts) + 1].astype(np.int64)
    found = np.zeros(0, np.uint8) if data is None else np.frombuffer(data, np.uint8)
    return bounds - bounds[0], found[bounds[0] : bounds[-1]]


def walk(frames: Frames, at: Integers, count: int) -> tuple[list[Span], Integers]:
    """Return the columns of the tuples that stand at `at`, each of `count` columns, and where they end."""
    octets, words = frames.octets, frames.words
    try:
        told = words[at] >> 16
        if not (told == count).all():
            raise malformed("a row has not the columns of its table")
        at, spans = at + 2, []
        for _ in range(count):
            kinds = octets[at]
            texts = kinds == TEXT
            if texts.all():
                starts = at + 5
                at = starts + words[at + 1]
            else:
                if not (texts | (kinds == NULL) | (kinds == SAME)).all():
                    raise malformed("a value is told in an unknown way")
                starts = np.where(texts, at + 5, at + 1)
                at = starts + np.where(texts, words[at + 1], 0)
            spans.append(Span(kinds, starts, at))
    except IndexError:
        raise malformed("a row is longer than its message") from None
    return spans, at


__all__ = ["NULL", "SAME", "TEXT", "Flags", "Span", "gathered", "walk", "whole"]
