"""Leaves out of the stream what reading of the tables has seen, until the stream has caught up with it."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from dataflare.changes import TX
from dataflare.sql.misfits import fitting
from dataflare.sql.postgres_types import POSTGRES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dataflare.connectors.postgres.changes.place import Place
    from dataflare.connectors.postgres.changes.snapshots import Flags, Numbers
    from dataflare.connectors.postgres.changes.tables import FollowedTable, Rows
    from dataflare.connectors.postgres.replication.frames import Frames
    from dataflare.connectors.postgres.replication.messages import Decoded

_BEGIN, _STREAM_COMMIT = b"Bc"
_COLLATIONS = (
    "select a.attname::text, quote_ident(m.nspname) || '.' || quote_ident(l.collname) from pg_attribute a "
    "join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace "
    "join pg_collation l on l.oid = a.attcollation join pg_namespace m on m.oid = l.collnamespace "
    "where n.nspname = $1::text and c.relname = $2::text and a.attnum > 0 and not a.attisdropped"
)


class Caught:
    """Works on the `seen` of a place, and on what is `again` read of it.

    `passed` are the numbers of transactions of which something may have been passed on since it was cleared, while
    something is to be read again.
    """

    def __init__(self, place: Place, source: Rows, tables: Mapping[str, FollowedTable]) -> None:
        """Know no transaction yet."""
        self._place, self._source, self._tables = place, source, tables
        self._transactions: dict[int, int] = {}
        self.passed: set[int] = set()

    def look(self, frames: Frames) -> None:
        """Learn the numbers of the transactions that these messages tell of, by the LSN of their commit."""
        at = frames.starts[frames.kinds == _BEGIN]
        commits, numbers = frames.longs[at + 1].tolist(), frames.words[at + 17].tolist()
        at = frames.starts[frames.kinds == _STREAM_COMMIT]
        commits, numbers = commits + frames.longs[at + 6].tolist(), numbers + frames.words[at + 1].tolist()
        open_still = {lsn: number for lsn, number in self._transactions.items() if lsn >= self._place.lsn}
        self._transactions = open_still | dict(zip(commits, numbers, strict=True))
        self.passed = self.passed | set(numbers) if self._place.again else set()

    def seen(self, decoded: Decoded) -> Flags | None:
        """Tell by row which changes a first reading saw; None where none. One whose key does not fit was not seen."""
        seen = self._place.seen.get(decoded.stream)
        if seen is None or decoded.first.commit_lsn >= seen.until:
            return None
        transactions = self.numbers(decoded.rows)
        table = self._tables[decoded.stream]
        keys = [decoded.rows[name].combine_chunks() for name in table.key]
        fits = fitting(keys) if decoded.misfits else np.ones(len(transactions), bool)
        flags = np.zeros(len(transactions), bool)
        keys = [key.filter(pa.array(fits)) for key in keys] if not fits.all() else keys
        flags[fits] = seen.flags(transactions[fits], keys, partial(self.ranks, table))
        return flags if flags.any() else None

    def numbers(self, changes: pa.Table) -> Numbers:
        """Return the number of the transaction of each change."""
        texts = changes[TX].combine_chunks().dictionary_encode()
        known = [self._transactions[int(text, 16)] for text in texts.dictionary.to_pylist()]
        found: Numbers = np.array(known, np.int64)[texts.indices.to_numpy()]
        return found

    def number(self, commit_lsn: int) -> int | None:
        """Return the number of a transaction; None where it is not known."""
        return self._transactions.get(commit_lsn)

    def saw_truncate(self, stream: str, commit_lsn: int) -> bool:
        """Tell whether the whole table was read, the first time, after it was emptied by a transaction."""
        seen = self._place.seen.get(stream)
        return seen is not None and commit_lsn < seen.until and seen.by_all(self._transactions[commit_lsn])

    def ranks(self, table: FollowedTable, keys: Sequence[Any], parts: Sequence[list[Any]]) -> Numbers:
        """Ask the server, by row, how many of some keys its key comes behind."""
        relation, names = table.relation, list(table.relation.order)
        collations = dict(self._source.session.run(_COLLATIONS, (table.table.schema, table.table.name)))
        columns = ", ".join(
            f"(k->>{n})::{POSTGRES.quote(relation.kinds[c])}" + (f" collate {collations[c]}" if c in collations else "")
            for n, c in enumerate(names)
        )
        bounds = [", ".join(relation.value(c, v) for c, v in zip(names, part, strict=True)) for part in parts]
        counted = " + ".join(f"(row({columns}) > row({bound}))::int4" for bound in bounds)
        sql = f"select {counted} from jsonb_array_elements($1::jsonb) with ordinality as u(k, n) order by n"  # noqa: S608 - quoted
        rows = [[_text(v) for v in row] for row in zip(*(c.to_pylist() for c in keys), strict=True)]
        return np.array([count for (count,) in self._source.session.run(sql, (json.dumps(rows),))], np.int64)


def _text(value: Any) -> str:
    return f"\\x{value.hex()}" if isinstance(value, bytes) else str(value)


__all__ = ["Caught"]
