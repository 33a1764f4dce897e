"""Leaves out of the stream what the first reading of the tables has seen, until the stream has caught up with it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from dataflare.changes import TX
from dataflare.sql.postgres_types import POSTGRES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dataflare.connectors.postgres.changes.place import Place
    from dataflare.connectors.postgres.changes.snapshots import Flags, Numbers
    from dataflare.connectors.postgres.changes.tables import FollowedTable
    from dataflare.connectors.postgres.replication.frames import Frames
    from dataflare.connectors.postgres.replication.messages import Decoded
    from dataflare.connectors.postgres.statements import Statements

_BEGIN, _STREAM_COMMIT = b"Bc"
_COLLATIONS = (
    "select a.attname::text, quote_ident(m.nspname) || '.' || quote_ident(l.collname) from pg_attribute a "
    "join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace "
    "join pg_collation l on l.oid = a.attcollation join pg_namespace m on m.oid = l.collnamespace "
    "where n.nspname = $1::text and c.relname = $2::text and a.attnum > 0 and not a.attisdropped"
)


class Caught:
    """Works on the `seen` of a place."""

    def __init__(self, place: Place, session: Statements, tables: Mapping[str, FollowedTable]) -> None:
        """Know no transaction yet."""
        self._place, self._session, self._tables = place, session, tables
        self._transactions: dict[int, int] = {}

    def look(self, frames: Frames) -> None:
        """Learn the numbers of the transactions that these messages tell of, by the LSN of their commit."""
        if not self._place.seen:
            self._transactions.clear()
            return
        at = frames.starts[frames.kinds == _BEGIN]
        commits, numbers = frames.longs[at + 1].tolist(), frames.words[at + 17].tolist()
        at = frames.starts[frames.kinds == _STREAM_COMMIT]
        commits, numbers = commits + frames.longs[at + 6].tolist(), numbers + frames.words[at + 1].tolist()
        open_still = {lsn: number for lsn, number in self._transactions.items() if lsn >= self._place.lsn}
        self._transactions = open_still | dict(zip(commits, numbers, strict=True))

    def seen(self, decoded: Decoded) -> Flags | None:
        """Tell by row which changes were seen; None where none was. One whose key does not fit was not."""
        seen = self._place.seen.get(decoded.stream)
        if seen is None or decoded.first.commit_lsn >= seen.until:
            return None
        texts = decoded.rows[TX].combine_chunks().dictionary_encode()
        known = [self._transactions[int(text, 16)] for text in texts.dictionary.to_pylist()]
        transactions = np.array(known, np.int64)[texts.indices.to_numpy()]
        table = self._tables[decoded.stream]
        keys = [decoded.rows[name].combine_chunks() for name in table.key]
        fits = np.ones(len(transactions), bool)
        for key in keys if decoded.misfits else ():
            fits &= key.is_valid().to_numpy(zero_copy_only=False)
        flags = np.zeros(len(transactions), bool)
        keys = [key.filter(pa.array(fits)) for key in keys] if not fits.all() else keys
        flags[fits] = seen.flags(transactions[fits], keys, lambda keys, parts: self._ranks(table, keys, parts))
        return flags if flags.any() else None

    def saw_truncate(self, stream: str, commit_lsn: int) -> bool:
        """Tell whether the whole table was read after it was emptied by a transaction."""
        seen = self._place.seen.get(stream)
        return seen is not None and commit_lsn < seen.until and seen.by_all(self._transactions[commit_lsn])

    def _ranks(self, table: FollowedTable, keys: Sequence[Any], parts: Sequence[list[Any]]) -> Numbers:
        """Ask the server, by row, how many of some keys its key comes behind."""
        relation, names = table.relation, list(table.relation.order)
        collations = dict(self._session.run(_COLLATIONS, (table.table.schema, table.table.name)))
        columns = ", ".join(
            f"(k->>{n})::{POSTGRES.quote(relation.kinds[c])}" + (f" collate {collations[c]}" if c in collations else "")
            for n, c in enumerate(names)
        )
        bounds = [", ".join(relation.value(c, v) for c, v in zip(names, part, strict=True)) for part in parts]
        counted = " + ".join(f"(row({columns}) > row({bound}))::int4" for bound in bounds)
        sql = f"select {counted} from jsonb_array_elements($1::jsonb) with ordinality as u(k, n) order by n"  # noqa: S608 - quoted
        rows = [[_text(v) for v in row] for row in zip(*(c.to_pylist() for c in keys), strict=True)]
        return np.array([count for (count,) in self._session.run(sql, (json.dumps(rows),))], np.int64)


def _text(value: Any) -> str:
    return f"\\x{value.hex()}" if isinstance(value, bytes) else str(value)


__all__ = ["Caught"]
