"""Makes several rows of one: a statement makes the new columns, and the others are repeated beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dataflare.expression.fit import fit_column
from dataflare.expression.session import Statement, quoted, select

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pyarrow as pa

    from dataflare.component import Budget

ROWS_MAX = 1 << 16
BYTES_MAX = 32 << 20


class Expansion:
    """Rows of `before` become those of `after`, in order, in tables of bounded size.

    `made` are columns of `after` by name, as SQL in which `unnest` may stand; all other columns of `after` are passed
    on. `given` are names for expressions that `made` reads, and `where` a condition on what was made. The expressions
    are our own, and fail for no row.
    """

    def __init__(
        self,
        before: pa.Schema,
        after: pa.Schema,
        reads: Sequence[str],
        made: Sequence[tuple[str, str]],
        *,
        given: Sequence[tuple[str, str]] = (),
        where: str = "",
    ) -> None:
        """Prepare nothing yet."""
        self._before, self._after, self._reads = before, after, list(reads)
        self._made = [name for name, _ in made]
        self._passing = [n for n in after.names if n not in self._made]
        self._row = "__row"
        while self._row in (*self._reads, *self._made, *(n for n, _ in given)):
            self._row += "_"
        row = quoted(self._row)
        inner = select([row, *map(quoted, self._reads), *(f"{sql} as {quoted(n)}" for n, sql in given)])
        outer = select([row, *(f"{sql} as {quoted(n)}" for n, sql in made)], f"({inner})")
        self._sql = select(["*"], f"({outer})", f"where {where}") if where else outer
        self._statement: Statement | None = None
        self._childless = self._expanded = 0

    def open(self, budget: Budget) -> None:
        """Prepare the statement."""
        import pyarrow as pa

        fields = [self._before.field(n) for n in self._reads]
        self._statement = Statement(pa.schema([*fields, pa.field(self._row, pa.int32())]), budget)
        self._statement.prepare(self._sql)

    def run(self, rows: pa.Table) -> Iterator[pa.Table]:
        """Yield the rows that come of these."""
        import pyarrow as pa
        import pyarrow.compute as pc

        assert self._statement is not None
        if not rows.num_rows:
            return
        entering = rows.select(self._reads).append_column(self._row, pa.array(range(rows.num_rows), pa.int32()))
        made = self._statement.run(entering)
        parents = pc.count_distinct(made.column(0)).as_py()
        self._childless += rows.num_rows - parents
        self._expanded += made.num_rows - parents
        passing = rows.select(self._passing)
        each = max(1, passing.nbytes // rows.num_rows)
        portion = max(1, min(ROWS_MAX, BYTES_MAX // each))
        for start in range(0, made.num_rows, portion):
            yield self._beside(passing, made.slice(start, portion))

    def fates(self) -> dict[str, int]:
        """Return how many rows made none, and how many more than one each were made, since the last call."""
        fates = {"filtered": self._childless, "expanded": self._expanded}
        self._childless = self._expanded = 0
        return fates

    def _beside(self, passing: pa.Table, made: pa.Table) -> pa.Table:
        import pyarrow as pa

        repeated = passing.take(made.column(0))
        columns = []
        for field in self._after:
            if field.name in self._made:
                columns.append(fit_column(made.column(1 + self._made.index(field.name)), field))
            else:
                columns.append(repeated.column(field.name))
        return pa.Table.from_arrays(columns, schema=self._after)

    def close(self) -> None:
        """Free the plan."""
        if self._statement is not None:
            self._statement.close()


__all__ = ["Expansion"]
