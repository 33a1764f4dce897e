"""The changes that wait in staging tables, as one relation in one order, and which of them stand between truncations.

Rows of several tables are numbered on behind each other. What comes before a truncation is told by the number in its
own table; elsewhere, where another instance wrote, by the place in the source's log.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dataflare.changes import OP, TX, UNCHANGED, Op

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pyarrow as pa

    from dataflare.sql.dialect import Dialect, Table

_BITS = 40
"""So many bits number the rows of one staging table."""


@dataclass(frozen=True, slots=True)
class Truncation:
    """The number of the row that says so."""

    number: int


@dataclass(frozen=True, slots=True)
class Told:
    """What whoever staged rows knows of them, so that the database need not be asked; None: nobody knows.

    `unique`: no key is in them twice. `operations`: which kinds of changes there are; `unchanged`: the columns of
    which some values were left out.
    """

    unique: bool = False
    operations: frozenset[str] | None = None
    unchanged: tuple[str, ...] | None = None


def told_of(rows: pa.Table, key: tuple[str, ...]) -> Told:
    """Look at rows before they are staged: that costs less than asking, and than collapsing what needs none."""
    import pyarrow.compute as pc

    unique = bool(key) and rows.group_by(list(key), use_threads=False).aggregate([]).num_rows == rows.num_rows
    if OP not in rows.column_names:
        return Told(unique)
    operations = frozenset(pc.unique(rows.column(OP)).to_pylist())
    if UNCHANGED not in rows.column_names:
        return Told(unique, operations, ())
    left = pc.unique(pc.list_flatten(rows.column(UNCHANGED))).to_pylist()
    return Told(unique, operations, tuple(sorted(left)))


@dataclass(frozen=True, slots=True)
class StagedRows:
    """Rows of staging tables of the same columns. `run` executes a statement and returns its rows."""

    dialect: Dialect
    tables: Sequence[Table]
    columns: tuple[str, ...]
    run: Callable[..., list[tuple[object, ...]]]
    told: Told

    @property
    def relation(self) -> str:
        """What stands behind `from`: the columns, and the ordinal."""
        dialect = self.dialect
        if len(self.tables) == 1:
            return dialect.reference(self.tables[0])
        names, ordinal = dialect.listed(self.columns), dialect.ordinal
        parts = (
            f"select {names}, {ordinal} + {n << _BITS} as {ordinal} from {dialect.reference(table)}"  # noqa: S608
            for n, table in enumerate(self.tables)
        )
        return f"({' union all '.join(parts)}) as _dataflare_staged"

    def operations(self) -> set[str]:
        """Return which kinds of changes there are."""
        if self.told.operations is not None:
            return set(self.told.operations)
        return {str(word) for (word,) in self.run(f"select distinct {self._op} from {self.relation}")}  # noqa: S608

    def unchanged(self) -> list[str]:
        """Return the columns of which some values were left out."""
        if self.told.unchanged is not None:
            return list(self.told.unchanged)
        column = self.dialect.quote(UNCHANGED)
        each = self.dialect.each(column)
        some = f"(select {column} from {self.relation} where {column} is not null) u"  # noqa: S608
        found = self.run(f"select distinct _dataflare_each.value from {some}, {each}")  # noqa: S608
        return sorted(str(name) for (name,) in found)

    def truncations(self) -> list[Truncation]:
        """Return the truncations in the order of the log."""
        dialect = self.dialect
        place = f"{dialect.quote(TX)}{dialect.bytewise}, {dialect.ordinal}"
        sql = f"select {dialect.ordinal} from {self.relation} where {self._op} = '{Op.TRUNCATE}' order by {place}"  # noqa: S608
        return [Truncation(int(str(number))) for (number,) in self.run(sql)]

    def between(self, first: Truncation | None, last: Truncation | None) -> str:
        """Return the condition of rows behind the one and before the other truncation."""
        conditions = [f"not ({self._before(first)})"] if first is not None else []
        conditions += [self._before(last)] if last is not None else []
        return " and ".join(conditions) or "true"

    def _before(self, truncation: Truncation) -> str:
        n, ordinal = truncation.number, self.dialect.ordinal
        if len(self.tables) == 1:
            return f"{ordinal} < {n}"
        begin = n >> _BITS << _BITS
        place = f"{self.dialect.quote(TX)}{self.dialect.bytewise}"
        other = f"(select {self.dialect.quote(TX)} from {self.relation} where {ordinal} = {n})"  # noqa: S608
        return (
            f"case when {ordinal} between {begin} and {begin + (1 << _BITS) - 1} then {ordinal} < {n} "
            f"else coalesce({place} < {other}, false) end"
        )

    @property
    def _op(self) -> str:
        return self.dialect.quote(OP)


__all__ = ["StagedRows", "Told", "Truncation", "told_of"]
