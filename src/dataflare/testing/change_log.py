"""Changes of a made-up table in the order of its log, and what plain Python makes of them: the model of write modes."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dataflare.changes import COMMIT_TS, OP, TX, UNCHANGED, Op, changing
from dataflare.schema import Column, Schema

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable, Sequence

TABLE = Schema((Column("id", "int64", nullable=False), Column("name", "string"), Column("note", "string")))
"""The table whose changes are told; `id` is its key, and values of `note` may be left out."""
CHANGES = changing(TABLE, ("id",), unchanged=True)
START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)

Change = dict[str, Any]
Row = dict[str, Any]


@dataclass
class ChangeLog:
    """A table of at most `keys` rows that changes at random.

    Each transaction has up to three changes; a truncation begins one.
    """

    random: random.Random
    keys: int = 12
    truncates: bool = True
    rows: dict[int, Row] = field(default_factory=dict)
    _number: int = 0
    _left: int = 0

    def take(self, count: int) -> list[Change]:
        """Return the next changes."""
        return [self._change() for _ in range(count)]

    def _change(self) -> Change:
        if not self._left:
            self._number, self._left = self._number + 1, self.random.randint(1, 3)
        self._left -= 1
        if self.truncates and self.random.random() < 0.02:  # noqa: PLR2004 - now and then
            self.rows.clear()
            self._number, self._left = self._number + 1, 1
            return self._told(Op.TRUNCATE, {"id": None, "name": None, "note": None})
        key = self.random.randrange(self.keys)
        row = self.rows.get(key)
        if row is None:
            self.rows[key] = {"id": key, "name": self._text("name"), "note": self._text("note")}
            return self._told(self.random.choice([Op.INSERT, Op.READ]), self.rows[key])
        if self.random.random() < 0.3:  # noqa: PLR2004 - of three, one
            del self.rows[key]
            return self._told(Op.DELETE, self.random.choice([row, {"id": key, "name": None, "note": None}]))
        same = self.random.random() < 0.5  # noqa: PLR2004 - one half
        self.rows[key] = {**row, "name": self._text("name"), **({} if same else {"note": self._text("note")})}
        if not same:
            return self._told(Op.UPDATE, self.rows[key])
        return self._told(Op.UPDATE, {**self.rows[key], "note": None}, ["note"])

    def _told(self, op: Op, values: Row, unchanged: list[str] | None = None) -> Change:
        at = START + dt.timedelta(seconds=self._number)
        return {**values, OP: str(op), COMMIT_TS: at, TX: f"{self._number:08x}", UNCHANGED: unchanged}

    def _text(self, kind: str) -> str | None:
        number = self.random.randrange(5)
        return f"{kind} {number}" if number else None


@dataclass
class Merged:
    """A table to which changes are applied one after the other, as `merge` must. `rows` are those that are there.

    `by_place`: changes from before the last one of a row are left out.
    """

    deletes: str = "hard"
    by_place: bool = False
    rows: dict[int, Row] = field(default_factory=dict)

    def apply(self, changes: Iterable[Change]) -> None:
        """Apply changes."""
        for change in changes:
            if change[OP] == Op.TRUNCATE:
                for key in list(self.rows):
                    if self.deletes != "soft" or self.rows[key]["deleted_at"] is None:
                        self._delete(key, change)
            elif change[OP] == Op.DELETE:
                self._delete(change["id"], change)
            else:
                self._put(change)

    def _put(self, change: Change) -> None:
        row = self.rows.get(change["id"])
        if self._late(row, change):
            return
        values = {n: change[n] for n in TABLE.names}
        for name in change[UNCHANGED] or ():
            assert row is not None, "a model knows all rows"
            values[name] = row[name]
        self.rows[change["id"]] = {**values, "deleted_at": None, "tx": change[TX], "op": change[OP]}

    def _delete(self, key: int, change: Change) -> None:
        row = self.rows.get(key)
        if self.deletes == "ignore" or row is None or self._late(row, change):
            return
        if self.deletes == "hard":
            del self.rows[key]
        else:
            row |= {"deleted_at": change[COMMIT_TS], "tx": change[TX], "op": change[OP]}

    def _late(self, row: Row | None, change: Change) -> bool:
        return self.by_place and row is not None and row["tx"] > change[TX]


@dataclass
class Versions:
    """A table with a row for each version of a row, as `scd2` must keep them."""

    deletes: str = "hard"
    rows: list[Row] = field(default_factory=list)

    def apply(self, changes: Iterable[Change], names: Sequence[str]) -> None:
        """Apply changes of rows with columns of these names."""
        for change in changes:
            if change[OP] in (Op.DELETE, Op.TRUNCATE):
                whole = change[OP] == Op.TRUNCATE
                for row in self.rows if self.deletes != "ignore" else ():
                    if row["current"] and (whole or row["id"] == change["id"]):
                        self._close(row, change)
            else:
                self._put(change, names)

    def _put(self, change: Change, names: Sequence[str]) -> None:
        current = next((r for r in self.rows if r["current"] and r["id"] == change["id"]), None)
        values = {n: change[n] for n in names}
        for name in change.get(UNCHANGED) or ():
            assert current is not None, "a model knows all rows"
            values[name] = current[name]
        if current is not None and all(current[n] == values[n] for n in values):
            return
        start = self._close(current, change) if current is not None else change[COMMIT_TS]
        self.rows.append({**values, "since": start, "till": None, "current": True})

    @staticmethod
    def _close(row: Row, change: Change) -> dt.datetime:
        end: dt.datetime = max(row["since"], change[COMMIT_TS])
        row |= {"till": end, "current": False}
        return end


__all__ = ["CHANGES", "START", "TABLE", "Change", "ChangeLog", "Merged", "Row", "Versions"]
