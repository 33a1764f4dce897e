"""Reads a table as bytes of COPY, by ranges of its key or its blocks: each is one COPY and one batch.

How many rows a range has at most is learned from the bytes of the ranges before; one that is too large all the same is
dropped as it comes and asked for again in smaller parts, so that memory stays bounded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dataflare.batch import Encoded
from dataflare.connectors.postgres.copying import CODEC
from dataflare.errors import DataError
from dataflare.sql.reading import after, ordered, select, up_to

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dataflare.connectors.postgres.copying import CopySession, Form
    from dataflare.connectors.postgres.relations import PostgresRelation
    from dataflare.sql.reading import Relation

BATCH_BYTES, BATCH_BYTES_MAX = 8 << 20, 32 << 20
FIRST_ROWS, GROWTH_MAX, SHRINK = 4096, 8, 8
BLOCKS = 512


class CopyReader:
    """Reads over one connection; `names` are the columns of a batch. `bytes_read` is a running total.

    The form `binary` is the codec `pgcopy`; `csv` is the text of the expressions by which the relation is read.
    """

    def __init__(self, session: CopySession, rows_max: int, form: Form) -> None:
        """Read at most `rows_max` rows at once."""
        self._session, self._rows_max, self._form = session, rows_max, form
        self._rows = min(FIRST_ROWS, rows_max)
        self.bytes_read = 0

    def ordered(
        self, relation: PostgresRelation, names: Sequence[str], conditions: Sequence[str], since: list[Any] | None
    ) -> Iterator[tuple[Encoded, list[Any]]]:
        """Yield the rows that fulfil conditions by key, after the key `since`; with each part, its last key."""
        copied, key = self._picked(relation, names), since
        while True:
            rest = [*conditions, after(relation, key, relation.value)] if key is not None else list(conditions)
            last = self._last(relation, rest)
            if last is None:
                return
            data, count = self._copied(copied, [*rest, up_to(relation, last, relation.value)])
            if data is None:
                continue
            if count:
                yield data, last
            key = last

    def numbered(
        self, relation: PostgresRelation, names: Sequence[str], low: int, high: int
    ) -> Iterator[tuple[Encoded, list[Any]]]:
        """Yield the rows whose key, a whole number, is from `low` to `high`; with each part, its last key.

        Where most numbers are there, the end of a part is a sum; else it is asked for.
        """
        copied, dense = self._picked(relation, names), True
        ((name, column),) = relation.order.items()
        while low <= high:
            begin = f"{column} between {relation.value(name, low)} and "
            last = [min(low + self._rows - 1, high)]
            if not dense:
                found = self._last(relation, [begin + relation.value(name, high)])
                if found is None:
                    return
                last = found
            data, count = self._copied(copied, [begin + relation.value(name, last[0])])
            if data is None:
                continue
            dense = count * 2 > last[0] - low
            if count:
                yield data, last
            low = last[0] + 1

    def by_blocks(
        self, relation: PostgresRelation, names: Sequence[str], low: int, high: int
    ) -> Iterator[tuple[Encoded, int]]:
        """Yield the rows of blocks on disk from `low` to `high`; with each part, the block after it."""
        copied, step = self._picked(relation, names), BLOCKS
        while low <= high:
            last = min(low + step - 1, high)
            data, count = self._copied(copied, [f"ctid >= '({low},0)'::tid and ctid < '({last + 1},0)'::tid"])
            if data is None:
                step = max(1, step // SHRINK)
                continue
            low = last + 1
            if count:
                yield data, low

    def _picked(self, relation: PostgresRelation, names: Sequence[str]) -> Relation:
        return relation.as_copied(names) if self._form == "binary" else relation.picked(names)

    def _copied(self, relation: Relation, conditions: list[str]) -> tuple[Encoded | None, int]:
        """Return the rows under conditions, and learn how many make a batch; None where they were too many."""
        data, count = self._session.copy_out(select(relation, conditions), BATCH_BYTES_MAX, self._form)
        if data is None:
            if count == 1:
                raise DataError(
                    f"a row of {relation.source} has more than {BATCH_BYTES_MAX >> 20} MiB",
                    hint="put a mapping between source and destination: rows then travel one by one",
                )
            self._rows = max(1, min(self._rows, count) // SHRINK)
            return None, count
        self.bytes_read += len(data)
        if count:
            fitting = BATCH_BYTES * count // len(data)
            self._rows = max(1, min(fitting, self._rows * GROWTH_MAX, self._rows_max))
        return Encoded(data, CODEC if self._form == "binary" else self._form, count), count

    def _last(self, relation: PostgresRelation, conditions: list[str]) -> list[Any] | None:
        """Return the key of the row that ends the next part: so many rows on, else the last one; None: none is left."""
        keys = ", ".join(relation.as_json(name) for name in relation.order)
        where = " and ".join(f"({c})" for c in (*conditions, *relation.where)) or "true"
        for backwards, skip in ((False, self._rows - 1), (True, 0)):
            order = ordered(relation, backwards=backwards)
            sql = f"select {keys} from {relation.source} where {where} order by {order} limit 1 offset {skip}"  # noqa: S608
            if found := self._session.run(sql):
                return list(found[0])
        return None


__all__ = ["CopyReader"]
