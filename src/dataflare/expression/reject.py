"""Finds the rows that a step cannot handle, in a batch whose statement failed, and does with them what was settled.

Slower than the statement itself by an order of magnitude: every expression is tried row by row (TRY), step by step.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dataflare.changes import OP
from dataflare.errors import DataError
from dataflare.expression.explain import engine_failed, is_about_rows, reason
from dataflare.expression.fit import fit_column
from dataflare.expression.session import INPUT, Session, Statement, select
from dataflare.expression.unchanged import excused
from dataflare.security.veil import veiled

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

    from dataflare.component import Budget
    from dataflare.expression.check import Expression
    from dataflare.expression.segment import Segment
    from dataflare.expression.typed import CheckedStep
    from dataflare.schema import Schema


@dataclass(frozen=True, slots=True)
class Rejected:
    """Rows that a node could not handle, as they came into it, and why, a reason a row (without any value).

    The reason is that of the first such row of the batch and column; finding each row's own would cost a statement
    a row. `schema` is that of the rows: values that are tagged in it nobody may see.
    """

    node: str
    rows: pa.Table
    reasons: pa.Array
    schema: Schema

    def as_errors(self) -> pa.Table:
        """Return the rows of the node's `errors` output: `error`, `node`, and `row` as JSON, tagged values hidden."""
        import pyarrow as pa

        rows = veiled(self.rows, self.schema)
        session = Session(None)
        session.register(rows)
        texts = session.fetch(select([f"cast(to_json({INPUT}) as varchar) as r"])).column(0)
        session.close()
        return pa.table({"error": self.reasons, "node": pa.repeat(self.node, rows.num_rows), "row": texts})


@dataclass(slots=True)
class Located:
    """What came through, (in, out, rejected) of each step, and what was rejected."""

    rows: pa.Table
    counts: list[tuple[int, int, int]] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)


class Rejecting:
    """Steps that run one by one and bear bad rows, each by its policy."""

    def __init__(self, segment: Segment, policies: Sequence[str], budget: Budget) -> None:
        """Prepare nothing yet."""
        parts = zip(segment.steps, segment.needs, policies, strict=True)
        self._trials = [_Trial(step, needs, policy, budget) for step, needs, policy in parts]

    def run(self, rows: pa.Table, epoch: int) -> Located:
        """Run a batch whose statement failed; raise DataError for a policy `fail`.

        It may be that no row fails by itself: the engine may compute for a row what its result does not need, because
        of its neighbours. Then all of them come through. `epoch` is the epoch's time in microseconds.
        """
        import pyarrow as pa

        located = Located(rows)
        numbers = pa.array(range(rows.num_rows), pa.int32())
        for trial in self._trials:
            numbers = trial.run(located, numbers, epoch)
        return located

    def close(self) -> None:
        """Free the plans."""
        for trial in self._trials:
            trial.close()


class _Trial:
    """One step whose expressions are each tried on every row, those that the statement evaluates too."""

    def __init__(self, step: CheckedStep, needs: Sequence[str], policy: str, budget: Budget) -> None:
        self._step, self._policy, self._budget = step, policy, budget
        self._tried = {"": step.condition} if step.condition is not None else {}
        self._tried |= {n: e for n, e in step.columns or () if e.column is None and n in needs}
        self._statement: Statement | None = None
        self._prepared_for: int | None = None

    def run(self, located: Located, numbers: pa.Array, epoch: int) -> pa.Array:
        """Take the rows on by one step; `numbers` are their places in the batch, and so is what comes back."""
        import pyarrow.compute as pc

        rows = located.rows
        tried = self._try(rows, epoch)
        bad = self._bad(rows, tried, numbers, epoch)
        keep = pc.struct_field(tried[""], "v").fill_null(fill_value=False) if "" in tried else None
        rejected = 0
        if bad is not None and self._policy in ("skip", "dead_letter"):
            mask = pc.is_valid(bad)
            located.rejected.append(Rejected(self._step.node, rows.filter(mask), bad.filter(mask), self._step.before))
            rejected = located.rejected[-1].rows.num_rows
            keep = pc.invert(mask) if keep is None else pc.and_(keep, pc.invert(mask))
        after = self._assembled(rows, tried)
        if keep is not None:
            after, numbers = after.filter(keep), numbers.filter(keep)
        located.rows = after
        located.counts.append((rows.num_rows, after.num_rows, rejected))
        return numbers

    def _try(self, rows: pa.Table, epoch: int) -> dict[str, pa.Array]:
        """Return a struct `{v: value}` a row for each expression, null where it fails."""
        import pyarrow as pa

        if not self._tried:
            return {}
        entering = self._entering(rows)
        if self._statement is None:
            self._statement = Statement(entering.schema, self._budget, tries=True)
        if self._prepared_for != epoch:
            self._statement.prepare(select(f"{t} as c{n}" for n, t in enumerate(self._tries(epoch))))
            self._prepared_for = epoch
        answer = self._answer(self._statement, entering, epoch).combine_chunks()
        empty = [pa.array([], t) for t in answer.schema.types]
        arrays = [c.chunk(0) if c.num_chunks else e for c, e in zip(answer.columns, empty, strict=True)]
        return dict(zip(self._tried, arrays, strict=True))

    def _tries(self, epoch: int) -> list[str]:
        return [f"try(struct_pack(v := {_as_evaluated(n, e, epoch)}))" for n, e in self._tried.items()]

    def _answer(self, statement: Statement, rows: pa.Table, epoch: int) -> pa.Table:
        """Run the statement; where TRY lets an error through all the same, as of a time zone, narrow its rows down."""
        import duckdb
        import pyarrow as pa

        try:
            return statement.run(rows)
        except duckdb.Error as error:
            if not is_about_rows(error):
                raise engine_failed(error) from None
        schema = statement.run(rows.slice(0, 0)).schema
        found: list[pa.ChunkedArray] = []
        for tried in self._tries(epoch):
            alone = Statement(rows.schema, self._budget)
            try:
                alone.prepare(select([tried]))
                found.append(pa.chunked_array(_narrowed(alone, rows), schema.field(len(found)).type))
            finally:
                alone.close()
        return pa.Table.from_arrays(found, schema=schema)

    def _entering(self, rows: pa.Table) -> pa.Table:
        import pyarrow as pa

        names = list(dict.fromkeys(n for e in self._tried.values() for n in e.reads))
        if names:
            return rows.select(names)
        return pa.table({"_": pa.nulls(rows.num_rows, pa.bool_())})

    def _bad(self, rows: pa.Table, tried: dict[str, pa.Array], numbers: pa.Array, epoch: int) -> pa.Array | None:
        """Return the reason of each bad row, null for the others; None when no row is bad."""
        import pyarrow as pa
        import pyarrow.compute as pc

        found: pa.Array | None = None
        for column, values in tried.items():
            if not values.null_count:
                continue
            failing = self._failing(rows, column, values)
            first = pc.index(failing, pa.scalar(value=True)).as_py()
            if first < 0:
                continue
            why = self._why(rows.slice(first, 1), column, self._tried[column], epoch)
            if self._policy == "fail":
                raise DataError(
                    f"{why} (row {numbers[first].as_py()} of its batch)",
                    hint="use try_cast or TRY(...), or set on_error: {action: dead_letter} on the node",
                ).in_node(self._step.node)
            reasons = pc.if_else(failing, why, pa.scalar(None, pa.string()))
            found = reasons if found is None else pc.coalesce(found, reasons)
        return found

    def _failing(self, rows: pa.Table, column: str, values: pa.Array) -> pa.Array:
        """Return whether a value fails, by row; of a change that has no such value it may be null instead."""
        import pyarrow.compute as pc

        failing = pc.is_null(values)
        if OP not in self._step.before or column not in self._step.after or not self._step.after[column].nullable:
            return failing
        return pc.and_not(failing, excused(rows, self._tried[column].reads).combine_chunks())

    def _why(self, row: pa.Table, column: str, expression: Expression, epoch: int) -> str:
        """Run the expression on one row that is known to fail and tell why."""
        import duckdb

        statement = Statement(self._entering(row).schema, self._budget)
        judged = self._step.judges
        name = f"column {column!r}" if column and judged is None else "condition"
        why = "the value is not valid input"
        try:
            statement.prepare(select([_as_evaluated(column, expression, epoch)]))
            statement.run(self._entering(row))
        except duckdb.Error as error:
            if not is_about_rows(error):
                raise engine_failed(error) from None
            why = reason(error)
        finally:
            statement.close()
        return f"{name}: {why} in {(judged or expression).text}"

    def _assembled(self, rows: pa.Table, tried: dict[str, pa.Array]) -> pa.Table:
        import pyarrow as pa
        import pyarrow.compute as pc

        if self._step.columns is None:
            return rows
        schema = self._step.after.to_arrow()
        columns = []
        for name, expression in self._step.columns:
            if expression.column is not None:
                columns.append(rows.column(expression.column))
            elif name in tried:
                value = pa.chunked_array([pc.struct_field(tried[name], "v")])
                columns.append(fit_column(value, schema.field(name)))
            else:  # nothing after this step reads it
                columns.append(pa.nulls(rows.num_rows, schema.field(name).type))
        return pa.Table.from_arrays(columns, schema=schema)

    def close(self) -> None:
        """Free the plan."""
        if self._statement is not None:
            self._statement.close()


def _narrowed(statement: Statement, rows: pa.Table) -> list[pa.Array]:
    """Return what an expression makes of rows, null for those that it fails for."""
    import duckdb
    import pyarrow as pa

    try:
        return list(statement.run(rows).column(0).chunks)
    except duckdb.Error as error:
        if not is_about_rows(error):
            raise engine_failed(error) from None
    if rows.num_rows == 1:
        return [pa.nulls(1, statement.run(rows.slice(0, 0)).schema.types[0])]
    middle = rows.num_rows // 2
    return [*_narrowed(statement, rows.slice(0, middle)), *_narrowed(statement, rows.slice(middle))]


def _as_evaluated(column: str, expression: Expression, epoch: int) -> str:
    """Return the SQL of an expression; a condition in a form whose `and` stops early, as that of WHERE does."""
    sql = expression.sql(epoch)
    return sql if column else f"case when {sql} then true else false end"


__all__ = ["Located", "Rejected", "Rejecting"]
