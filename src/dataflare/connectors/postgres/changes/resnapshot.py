"""A table, or a range of its keys, that is read beside the stream, and the piece of it that waits for the stream.

A piece is read under a snapshot that has seen all that the stream has passed on. Each of its rows is sent when the
stream has come to where the snapshot stood: before the first change of the row that the snapshot has not seen, or else
when all that it has seen is passed (decision 0040).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dataflare.changes import TX

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dataflare.connectors.postgres.changes.snapshots import Flags, Numbers, Snapshot

Key = list[Any]


@dataclass(slots=True)
class Resnapshot:
    """What was asked for, and how far it is.

    `low` and `high` are keys, both included (None: from the first, to the last), `where` the form of a condition.
    `new`: the table was not followed before, so that changes of what is not read yet mean nothing to anybody. `key` is
    the last one that was sent.
    """

    id: str
    stream: str
    low: Key | None = None
    high: Key | None = None
    where: list[Any] | None = None
    new: bool = False
    key: Key | None = None
    rows: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote."""
        return cls(**value)


class Held:
    """Rows of a piece that wait; `key` is the last one of the piece, None: it goes to the end of what was asked for.

    `rows` are of the stream's schema, with one row for each key, and no `_tx` that counts.
    """

    def __init__(
        self, one: Resnapshot, rows: pa.Table, snapshot: Snapshot, key: Key | None, names: Sequence[str]
    ) -> None:
        """Hold all of them; `names` are the columns of the key."""
        self.one, self.rows, self.snapshot, self.key, self._names = one, rows, snapshot, key, names
        self.count = rows.num_rows
        self.errors: list[pa.Table] = []

    def unseen(self, numbers: Numbers) -> Flags:
        """Tell which transactions the snapshot has not seen."""
        known, which = np.unique(numbers, return_inverse=True)
        return np.array([not self.snapshot.saw(int(number)) for number in known], bool)[which]

    def before(self, changes: pa.Table, unseen: Flags) -> pa.Table:
        """Return changes with the rows that wait and go before one of them, the first that is not seen of each key."""
        at = np.flatnonzero(unseen)
        if not (len(at) and self.rows.num_rows):
            return changes
        found = matches(self.rows.select(self._names), changes.select(self._names).take(pa.array(at)))
        at, found = at[found >= 0], found[found >= 0]
        if not len(at):
            return changes
        which, first = np.unique(found, return_index=True)
        before = at[first]
        sent = with_tx(self.rows.take(pa.array(which)), changes.column(TX).take(pa.array(before)))
        kept = np.ones(self.rows.num_rows, bool)
        kept[which] = False
        self.rows = self.rows.filter(pa.array(kept))
        order = np.argsort(np.concatenate([np.arange(changes.num_rows) * 2 + 1, before * 2]), kind="stable")
        return pa.concat_tables([changes, sent]).take(pa.array(order))


def matches(rows: pa.Table, others: pa.Table) -> Numbers:
    """Return by each of others the number of the row with the same key, -1 where there is none; keys come once."""
    mine, theirs = np.zeros(rows.num_rows, np.int64), np.zeros(others.num_rows, np.int64)
    for name in rows.column_names:
        values = rows.column(name).combine_chunks()
        known = values.unique()
        one, other = (
            pc.index_in(column, value_set=known).fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
            for column in (values, others.column(name).combine_chunks())
        )
        size = len(known)
        theirs = np.where((theirs < 0) | (other < 0), -1, theirs * size + other)
        codes, mine = np.unique(mine * size + one, return_inverse=True)
        at = np.minimum(np.searchsorted(codes, theirs), max(len(codes) - 1, 0))
        theirs = np.where(codes[at] == theirs, at, -1) if len(codes) else np.full(len(theirs), -1)
    place = np.full(max(len(mine), 1), -1, np.int64)
    place[mine] = np.arange(len(mine))
    return np.where(theirs < 0, -1, place[theirs])


def with_tx(rows: pa.Table, tx: Any) -> pa.Table:
    """Return rows with their places in the log."""
    return rows.set_column(rows.column_names.index(TX), rows.schema.field(TX), tx)


__all__ = ["Held", "Key", "Resnapshot", "matches", "with_tx"]
