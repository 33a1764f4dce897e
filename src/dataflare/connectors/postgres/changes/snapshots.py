"""What a part of a table was read under, and so which changes of its rows were in it already.

A part is read in transactions that see one snapshot each; a part that is resumed, or takes long, sees several, one
behind the other in the order of the key. A snapshot tells exactly which transactions it saw. Changes of one row are
never at the same time, so those that its part has seen are the first ones: they are left out of the stream, and all
that come behind are applied. No row is missed, and none comes twice (decision 0031).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from dataflare.component.bad_rows import HALF
from dataflare.connectors.postgres.replication.messages import lsn_number, lsn_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dataflare.batch import Position
    from dataflare.connectors.postgres.statements import Statements

_SEEN = "select pg_current_snapshot()::text, pg_current_wal_insert_lsn()::text"
_WRAP = 1 << 32
_GREATEST = (1 << 63) - 1

Numbers = np.ndarray[Any, np.dtype[np.int64]]
Flags = np.ndarray[Any, np.dtype[np.bool_]]
Ranks = Callable[[Sequence[Any], Sequence[list[Any]]], Numbers]
"""Tells, by row, how many of some keys (in their order) its key comes behind; keys are given by column."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The transactions that reading saw: those below `low`, and those below `high` that are not among `running`.

    `lsn`: whatever it saw was committed before this place of the log.
    """

    low: int
    high: int
    running: frozenset[int]
    lsn: int

    @classmethod
    def taken(cls, session: Statements, source: str, *, wait: bool = True) -> Self:
        """Begin a transaction that sees one snapshot of a table until it ends.

        The lock comes first: TRUNCATE and changes of the table wait for it, and would not be seen by the snapshot.
        Where it is not to `wait`, ExternalError tells that somebody else holds the table for himself.
        """
        session.run("begin isolation level repeatable read read only")
        session.run(f"lock table {source} in access share mode{'' if wait else ' nowait'}")
        ((text, lsn),) = session.run(_SEEN)
        return cls._of(text, lsn_number(lsn))

    @classmethod
    def _of(cls, text: str, lsn: int) -> Self:
        low, high, running = text.split(":")
        return cls(int(low), int(high), frozenset(int(n) for n in running.split(",") if n), lsn)

    def to_json(self) -> list[str]:
        """Return texts, as the server writes them."""
        return [f"{self.low}:{self.high}:{','.join(map(str, sorted(self.running)))}", lsn_text(self.lsn)]

    @classmethod
    def from_json(cls, value: Sequence[str]) -> Self:
        """Read what `to_json` wrote."""
        return cls._of(value[0], lsn_number(value[1]))

    def saw(self, transaction: int) -> bool:
        """Tell whether a transaction, by the 32 bits that the log has of its number, was committed for the snapshot."""
        whole = (self.high & -_WRAP) | transaction
        if whole - self.high > _WRAP // 2:
            whole -= _WRAP
        elif self.high - whole > _WRAP // 2:
            whole += _WRAP
        return whole < self.low or (whole < self.high and whole not in self.running)


@dataclass(slots=True)
class Reading:
    """How far a part has been read, and under what: the position of its split.

    `parts` are pairs of the key behind which a snapshot holds (None: from the start) and the snapshot (None: all
    changes of these keys count). `span` is the range of a part that is cut by whole numbers. `half` holds the key
    (None: the start) behind which rows that do not fit are still to be told, up to `key`; nothing where there are none.
    """

    stream: str
    span: list[int] | None
    key: list[Any] | None = None
    rows: int = 0
    parts: list[tuple[list[Any] | None, Snapshot | None]] = field(default_factory=list)
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

    def under(self, snapshot: Snapshot) -> bool:
        """What is read from here on is seen by a snapshot; False where it was so before."""
        if self.parts and self.parts[-1][1] is snapshot:
            return False
        self.parts.append((self.key, snapshot))
        return True

    def position(self) -> Position:
        """Return it as JSON values."""
        parts = [[key, snapshot and snapshot.to_json()] for key, snapshot in self.parts]
        found = {"stream": self.stream, "span": self.span, "key": self.key, "rows": self.rows, "parts": parts}
        return {**found, "half": self.half} if self.half else found

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Read a position."""
        parts = [(key, snapshot and Snapshot.from_json(snapshot)) for key, snapshot in value["parts"]]
        return cls(value["stream"], value["span"], value["key"], value["rows"], parts, value.get("half", []))


class Seen:
    """The changes of one table that its parts have seen, until the stream has passed all of them."""

    def __init__(self, readings: Sequence[Reading]) -> None:
        """Join the parts of a table: each is a range of whole numbers, or there is only one."""
        ordered = sorted(readings, key=lambda r: r.span[0] if r.span else 0)
        self._snapshots: list[Snapshot | None] = [None]
        self._starts: list[list[Any] | None] = []
        for reading in ordered:
            for key, snapshot in reading.parts:
                self._starts.append(_begin(reading.span, key))
                self._snapshots.append(snapshot)
            if reading.span is not None and reading.span[1] < _GREATEST:
                self._starts.append([reading.span[1] + 1])
                self._snapshots.append(None)
        self._whole = all(reading.span is None for reading in readings)
        self._parts = [snapshot for reading in readings for _, snapshot in reading.parts]
        self._json = [dict(reading.position()) for reading in readings]
        self.until = max((s.lsn for s in self._snapshots if s is not None), default=0)

    def to_json(self) -> list[Any]:
        """Return what `from_json` reads."""
        return self._json

    @classmethod
    def from_json(cls, value: Sequence[Mapping[str, Any]]) -> Self:
        """Read the positions of all parts of one table."""
        return cls([Reading.from_json(v) for v in value])

    def by_all(self, transaction: int) -> bool:
        """Tell whether every part saw a transaction, and there is a part."""
        return bool(self._parts) and all(s is not None and s.saw(transaction) for s in self._parts)

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
            numbers = keys[0].cast("int64").to_numpy()
            found: Numbers = np.searchsorted(np.array([key[0] for key in later]), numbers, side="right")
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
    return [span[0] if key is None else min(key[0] + 1, _GREATEST)]


__all__ = ["Reading", "Seen", "Snapshot"]
