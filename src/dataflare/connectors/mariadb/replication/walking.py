"""Where the values of rows stand in the events of a log, column by column.

A row tells where the next one begins only once it is read. So the events are walked side by side: the first rows of all
of them, then the second ones, each step one operation for each column.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dataflare.connectors.mariadb.replication.places import malformed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dataflare.connectors.mariadb.replication.table_maps import LogColumn
    from dataflare.sql.spans import Bytes, Flags, Integers

PADDING = bytes(16)
"""Behind the last event, so that numbers can be read at any byte of it."""


@dataclass(frozen=True, slots=True)
class Spans:
    """The values of one column by row: where each stands, and whether there is one."""

    starts: Integers
    ends: Integers
    valid: Flags

    def take(self, rows: Integers | Flags) -> Spans:
        """Return the values of some rows."""
        return Spans(self.starts[rows], self.ends[rows], self.valid[rows])

    @classmethod
    def joined(cls, parts: Sequence[Spans]) -> Spans:
        """Put rows one behind the other."""
        if len(parts) == 1:
            return parts[0]
        return cls(
            np.concatenate([p.starts for p in parts]),
            np.concatenate([p.ends for p in parts]),
            np.concatenate([p.valid for p in parts]),
        )


@dataclass(frozen=True, slots=True)
class Walked:
    """The images of rows: by image (before, after: as many as the events have) and column. `lanes`: the event of each.

    Rows of an event are in order, and those of different events are not yet.
    """

    lanes: Integers
    images: list[dict[int, Spans]]


def walk(
    octets: Bytes, at: Integers, ends: Integers, columns: Sequence[LogColumn], present: Sequence[Sequence[int]]
) -> Walked:
    """Return the rows of events that stand at `at` up to `ends`.

    `present` are, by image, the numbers of the columns that it has. Raises DataError for rows that do not end there.
    """
    lanes = np.arange(len(at))
    order: list[Integers] = []
    found: list[dict[int, list[Spans]]] = [{c: [] for c in numbers} for numbers in present]
    try:
        while len(lanes):
            for image, numbers in zip(found, present, strict=True):
                at = _image(octets, at, columns, numbers, image)
            order.append(lanes)
            if (at > ends).any():
                raise malformed("a row is longer than its event")
            alive = at < ends
            lanes, at, ends = lanes[alive], at[alive], ends[alive]
    except IndexError:
        raise malformed("a row is longer than its event") from None
    images = [{c: Spans.joined(parts) for c, parts in image.items()} for image in found]
    return Walked(np.concatenate(order) if order else lanes, images)


def _image(
    octets: Bytes, at: Integers, columns: Sequence[LogColumn], numbers: Sequence[int], found: dict[int, list[Spans]]
) -> Integers:
    """Add the values of one image of the rows at `at`; return where it ends."""
    size = (len(numbers) + 7) // 8
    bits = octets[at[:, None] + np.arange(size)]
    null = np.unpackbits(bits, axis=1, bitorder="little").view(bool)
    any_null = np.asarray(null[:, : len(numbers)].any(axis=0))
    at = at + size
    for number, column in enumerate(numbers):
        starts, ends = _value(octets, at, columns[column])
        valid = ~null[:, number]
        if any_null[number]:
            starts, ends = np.where(valid, starts, at), np.where(valid, ends, at)
        found[column].append(Spans(starts, ends, valid))
        at = ends
    return at


def _value(octets: Bytes, at: Integers, column: LogColumn) -> tuple[Integers, Integers]:
    fixed = column.size()
    if fixed is not None:
        return at, at + fixed
    size = column.prefix()
    length = octets[at].astype(np.int64)
    for byte in range(1, size):
        length |= octets[at + byte].astype(np.int64) << 8 * byte
    return at + size, at + size + length


__all__ = ["PADDING", "Spans", "Walked", "walk"]
