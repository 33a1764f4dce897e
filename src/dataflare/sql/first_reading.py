"""What a part of a table was read under, and so which changes of its rows were in it already.

A part is read in transactions that see one snapshot each; a part that is resumed, or takes long, sees several, one
behind the other in the order of the key. A snapshot tells exactly which transactions it saw. Changes of one row are
never at the same time, so those that its part has seen are the first ones: they are left out of the stream, and all
that come behind are applied. No row is missed, and none comes twice (decision 0031).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Protocol, Self, TypeVar

import numpy as np
import pyarrow as pa

from dataflare.component.bad_rows import HALF

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dataflare.batch import Position

_GREATEST = (1 << 63) - 1
_ENDS = (_GREATEST, (1 << 64) - 1)

Numbers = np.ndarray[Any, np.dtype[np.int64]]
Flags = np.ndarray[Any, np.dtype[np.bool_]]
Ranks = Callable[[Sequence[Any], Sequence[list[Any]]], Numbers]
"""Tells, by row, how many of some keys (in their order) its key comes behind; keys are given by column."""


class ReadUnder(Protocol):
    """A snapshot of a database."""

    @property
    def until(self) -> int:
        """Whatever it saw was committed before this place of the log."""
        ...

    def saw(self, transaction: int) -> bool:
        """Tell whether a transaction was committed for the snapshot, by the number that the log has of it."""
        ...

    def to_json(self) -> Any:
        """Return values of JSON."""
        ...


S = TypeVar("S", bound=ReadUnder)


@dataclass(slots=True)
class Reading(Generic[S]):
    """How far a part has been read, and under what: the position of its split.

    `parts` are pairs of the key behind which a snapshot holds (None: from the start) and the snapshot. `span` is the
    range of a part that is cut by whole numbers. `half` holds the key (None: the start) behind which rows that do not
    fit are still to be told, up to `key`; nothing where there are none.
    """

    stream: str
    span: list[int] | None
    key: list[Any] | None = None
    rows: int = 0
    parts: list[tuple[list[Any] | None, S]] = field(default_factory=list)
    half: list[list[Any] | None] = field(default_factory=list)

    @property
    def reached(self) -> Position | None:
        """How far the rows of the part are read, as the source says it."""
        now = _keyed(self.key)
        return {HALF: [_keyed(self.half[0]), now]} if self.half else now

    @reached.setter
    def reached(self, position: Position) -> None:
        before, after = position.get(HALF, (None, position))
        self.half = [before.get("key") if before else None] if HALF in position else []
        self.key = after.get("key")

    def under(self, snapshot: S) -> bool:
        """What is read from here on is seen by a snapshot; False where it was so before."""
        if self.parts and self.parts[-1][1] is snapshot:
            return False
        self.parts.append((self.key, snapshot))
        return True

    def position(self) -> Position:
        """Return it as JSON values."""
        parts = [[key, snapshot.to_json()] for key, snapshot in self.parts]
        found = {"stream": self.stream, "span": self.span, "key": self.key, "rows": self.rows, "parts": parts}
        return {**found, "half": self.half} if self.half else found

    @classmethod
    def from_json(cls, value: Mapping[str, Any], snapshot: Callable[[Any], S]) -> Self:
        """Read a position; `snapshot` reads what a snapshot wrote."""
        parts = [(key, snapshot(told)) for key, told in value["parts"]]
        return cls(value["stream"], value["span"], value["key"], value["rows"], parts, value.get("half", []))


class Seen(Generic[S]):
    """The changes of one table that its parts have seen, until the stream has passed all of them."""

    def __init__(self, readings: Sequence[Reading[S]]) -> None:
        """Join the parts of a table: each is a range of whole numbers, or there is only one."""
        ordered = sorted(readings, key=lambda r: r.span[0] if r.span else 0)
        self._snapshots: list[S | None] = [None]
        self._starts: list[list[Any] | None] = []
        for reading in ordered:
            for key, snapshot in reading.parts:
                self._starts.append(_begin(reading.span, key))
                self._snapshots.append(snapshot)
            if reading.span is not None and reading.span[1] not in _ENDS:
                self._starts.append([reading.span[1] + 1])
                self._snapshots.append(None)
        self._whole = all(reading.span is None for reading in readings)
        self._json = [dict(reading.position()) for reading in readings]
        self.until = max((s.until for s in self._snapshots if s is not None), default=0)

    def to_json(self) -> list[Any]:
        """Return what `from_json` reads."""
        return self._json

    @classmethod
    def from_json(cls, value: Sequence[Mapping[str, Any]], snapshot: Callable[[Any], S]) -> Self:
        """Read the positions of all parts of one table; `snapshot` reads what a snapshot wrote."""
        return cls([Reading.from_json(v, snapshot) for v in value])

    @classmethod
    def by_stream(cls, splits: Mapping[str, Mapping[str, Any]], snapshot: Callable[[Any], S]) -> dict[str, Self]:
        """Return what the parts of all tables have seen, from their last positions."""
        found: dict[str, list[Reading[S]]] = {}
        for value in splits.values():
            reading = Reading.from_json(value, snapshot)
            found.setdefault(reading.stream, []).append(reading)
        return {name: cls(readings) for name, readings in found.items()}

    def by_all(self, transaction: int) -> bool:
        """Tell whether every part saw a transaction, and there is a part."""
        found = [s for s in self._snapshots if s is not None]
        return bool(found) and all(s.saw(transaction) for s in found)

    def flags(self, transactions: Numbers, keys: Sequence[Any], ranks: Ranks) -> Flags:
        """Tell which changes were seen: by the transaction of each, and the keys of their rows, as columns of Arrow.

        `ranks` asks the server: only it knows the order of texts.
        """
        known, which = np.unique(transactions, return_inverse=True)
        table = np.zeros((len(self._snapshots), len(known)), bool)
        for row, snapshot in enumerate(self._snapshots):
            if snapshot is not None:
                table[row] = [snapshot.saw(int(number)) for number in known]
        if not table.any():
            return np.zeros(len(transactions), bool)
        return np.asarray(table[self._part_of(len(transactions), keys, ranks), which])

    def _part_of(self, count: int, keys: Sequence[Any], ranks: Ranks) -> Numbers:
        """Return by change the number of the snapshot that its row was read under; 0 where it was not.

        Of several parts that begin at the same key the last one holds: those before it had no row.
        """
        later = [start for start in self._starts if start is not None]
        if not self._whole:
            kind = "uint64" if pa.types.is_uint64(keys[0].type) else "int64"
            starts = np.array([key[0] for key in later], kind)
            found: Numbers = np.searchsorted(starts, keys[0].cast(kind).to_numpy(), side="right")
            return found
        if not later:
            return np.ones(count, np.int64)
        return ranks(keys, later) + 1


def _keyed(key: list[Any] | None) -> Position | None:
    return None if key is None else {"key": key}


def _begin(span: list[int] | None, key: list[Any] | None) -> list[Any] | None:
    """Return the first number that was read behind a key; of what is no range, the key itself."""
    if span is None:
        return key
    last = span[1] if span[1] in _ENDS else span[1] + 1
    return [span[0] if key is None else min(key[0] + 1, last)]


__all__ = ["Flags", "Numbers", "Ranks", "ReadUnder", "Reading", "Seen"]
