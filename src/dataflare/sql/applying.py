"""What all ways share that apply changes to a table: truncations cut what is staged into spans, applied one by one.

A value that the source left out is the one that an earlier staged change of the row has, else the one in the table;
where there is neither, nobody knows it (invariant 6).
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dataflare.changes import OP, Op
from dataflare.errors import DataError
from dataflare.sql.quoting import literal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dataflare.sql.dialect import Dialect, Table
    from dataflare.sql.staged_rows import StagedRows, Truncation

WHAT, LEFT = "_dataflare_what", "_dataflare_left"
"""Reserved columns as statements call them: tables may have columns of the reserved names."""


@dataclass(frozen=True, slots=True)
class Applying(ABC):
    """How changes get into a table.

    `values`: the columns of the rows with the SQL expression that makes each of what is staged.
    """

    dialect: Dialect
    table: Table
    key: tuple[str, ...]
    values: Mapping[str, str]
    ignores_deletes: bool = False

    @property
    @abstractmethod
    def forgets(self) -> bool:
        """Whether a truncation leaves nothing of what came before it."""

    @abstractmethod
    def span(self, rows: StagedRows, condition: str, operations: set[str], unchanged: Sequence[str]) -> None:
        """Apply the changes for which the condition holds; of `unchanged` columns values may have been left out."""

    @abstractmethod
    def truncate(self, rows: StagedRows, truncation: Truncation) -> None:
        """Apply a truncation."""

    def apply(self, rows: StagedRows, *, may_be_unchanged: bool) -> None:
        """Apply all that is staged; raise DataError where a value is missing that nobody knows."""
        operations = rows.operations()
        if self.ignores_deletes:
            operations -= {Op.DELETE, Op.TRUNCATE}
        unchanged = [c for c in rows.unchanged() if c in self.values] if may_be_unchanged else []
        unchanged = [c for c in unchanged if c not in self.key]
        first: Truncation | None = None
        for truncation in rows.truncations() if Op.TRUNCATE in operations else ():
            if not self.forgets:
                self.span(rows, rows.between(first, truncation), operations, unchanged)
            self.truncate(rows, truncation)
            first = truncation
        self.span(rows, rows.between(first, None), operations, unchanged)

    def applied(self, condition: str) -> str:
        """Return the condition of those staged rows that are applied by key."""
        dropped = [Op.TRUNCATE, *([Op.DELETE] if self.ignores_deletes else [])]
        return f"{self.dialect.quote(OP)} not in ({', '.join(literal(op) for op in dropped)}) and {condition}"

    def sends(self, column: str) -> str:
        """Return the condition that a change has a value of a column."""
        holds = self.dialect.holds(LEFT, literal(column))
        return f"{WHAT} <> '{Op.DELETE}' and not coalesce({holds}, false)"

    def same(self, one: str, other: str) -> str:
        """Return the condition that rows of two relations have one key."""
        names = [self.dialect.quote(k) for k in self.key]
        return " and ".join(f"{one}.{name} = {other}.{name}" for name in names)

    def refuse(self, keys: Sequence[Sequence[object]], unchanged: Sequence[str]) -> None:
        """Raise DataError if there is the key of a row whose values nobody knows."""
        if keys:
            digest = hashlib.sha256("\0".join(str(v) for v in keys[0]).encode()).hexdigest()[:12]
            raise DataError(
                f"a change for {self.table} leaves out values of {', '.join(unchanged)} as unchanged, but the row "
                f"is not there (its key has the hash {digest})",
                hint="let the source send whole rows (PostgreSQL: replica identity full), or load the table anew",
            )


__all__ = ["LEFT", "WHAT", "Applying"]
