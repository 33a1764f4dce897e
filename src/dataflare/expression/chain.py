"""Runs consecutive row-wise steps over batches: one prepared statement for each run of them, with exact counts.

Rows keep their order. A batch whose statement fails is run again step by step to find its bad rows; no other batch
pays for that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dataflare.errors import WorkflowError
from dataflare.expression.check import DEFAULT, Checker
from dataflare.expression.deletes import parts_of
from dataflare.expression.explain import engine_failed, is_about_rows
from dataflare.expression.fit import fit, fit_column
from dataflare.expression.reject import Rejected, Rejecting
from dataflare.expression.segment import Segment, entire, segments
from dataflare.expression.session import Statement
from dataflare.expression.typed import checked_steps

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import pyarrow as pa

    from dataflare.component import Budget
    from dataflare.expression.step import Step
    from dataflare.schema import Schema


@dataclass(frozen=True, slots=True)
class StepCount:
    """What became of a step's rows; those neither out nor rejected did not meet its condition."""

    rows_in: int
    rows_out: int
    rejected: int = 0


@dataclass(frozen=True, slots=True)
class ChainResult:
    """The rows that came through, and for each step its counts and the rows that it could not handle."""

    rows: pa.Table
    counts: tuple[StepCount, ...]
    rejected: tuple[Rejected, ...] = ()


class Chain:
    """Steps over rows of one schema.

    `policies` say, step by step, what happens to a row whose expression fails: `fail` (DataError), `skip` and
    `dead_letter` (the row is left out and handed back as rejected), `null` (the column that failed is null; a failed
    condition is not met). Clocks in expressions stand for `epoch_time()`, in microseconds.
    """

    def __init__(
        self,
        steps: Sequence[Step],
        schema: Schema,
        *,
        policies: Sequence[str] = (),
        budget: Budget = DEFAULT,
        epoch_time: Callable[[], int] = lambda: 0,
    ) -> None:
        """Check all steps; raise the WorkflowError of the first wrong one. Statements are prepared at the first run."""
        self._checked, problems = checked_steps(steps, schema, Checker())
        if problems:
            raise problems[0].error
        policies = policies or ["fail"] * len(steps)
        if len(policies) != len(steps):
            raise WorkflowError(f"{len(steps)} steps have {len(policies)} error policies")
        self._input = schema.to_arrow()
        self._runs: list[_Run] = []
        parts = [parts_of(step) for step in self._checked]
        self._sizes = [len(part) for part in parts]
        policies = [policy for policy, size in zip(policies, self._sizes, strict=True) for _ in range(size)]
        done = 0
        for segment in segments([step for part in parts for step in part]):
            these = policies[done : done + len(segment.steps)]
            self._runs.append(_Run(segment, these, budget, epoch_time))
            done += len(segment.steps)

    @property
    def outputs(self) -> list[Schema]:
        """The planned schema after each step."""
        return [step.after for step in self._checked]

    def run(self, table: pa.Table) -> ChainResult:
        """Send rows through; raise DataError for rows that the policy `fail` does not bear."""
        return self._rest(ChainResult(fit(table, self._input), ()), self._runs)

    def take(self, read: Callable[[str], tuple[int, pa.Table] | None]) -> tuple[int, ChainResult] | None:
        """Send rows through that `read` finds by itself; return how many there were and what came through, or None.

        `read` is given a statement over INPUT, and returns how many rows that has and the answer; None where it cannot.
        """
        taken = self._runs[0].take(read)
        return (taken[0], self._rest(taken[1], self._runs[1:])) if taken is not None else None

    def _rest(self, result: ChainResult, runs: Sequence[_Run]) -> ChainResult:
        rows, counts, rejected = result.rows, list(result.counts), list(result.rejected)
        for run in runs:
            result = run(rows)
            rows = result.rows
            counts += result.counts
            rejected += result.rejected
        return ChainResult(rows, tuple(self._by_step(counts)), tuple(rejected))

    def _by_step(self, counts: Sequence[StepCount]) -> Iterator[StepCount]:
        """Put the counts of the parts of each step together."""
        start = 0
        for size in self._sizes:
            first, *_ = part = counts[start : start + size]
            yield StepCount(first.rows_in, part[-1].rows_out, sum(count.rejected for count in part))
            start += size

    def close(self) -> None:
        """Free the plans."""
        for run in self._runs:
            run.close()


class _Run:
    """One segment at work."""

    def __init__(
        self, segment: Segment, policies: Sequence[str], budget: Budget, epoch_time: Callable[[], int]
    ) -> None:
        self._segment, self._budget, self._time = segment, budget, epoch_time
        self._after = segment.after.to_arrow()
        self._reads, self._ordinal = list(segment.reads), segment.ordinal
        self._filters, self._tells_time = segment.filters, segment.tells_time
        self._passing = list(dict.fromkeys(segment.passed.values()))
        # where each output column is: (passed by?, its place there)
        self._places = [
            (True, self._passing.index(segment.passed[n])) if n in segment.passed else (False, segment.made.index(n))
            for n in self._after.names
        ]
        self._rejecting = Rejecting(segment, policies, budget)
        self._statement: Statement | None = None
        self._entire: Segment | None = None
        self._prepared_for: int | None = None
        self._ordinals: pa.Array | None = None

    def __call__(self, rows: pa.Table) -> ChainResult:
        """Send rows of the segment's input schema through it."""
        import duckdb

        if not self._segment.computes:
            return self._result(rows.num_rows, self._assembled(rows, None))
        try:
            answer = self._execute(rows)
        except duckdb.Error as error:
            if not is_about_rows(error):
                raise engine_failed(error) from error
            located = self._rejecting.run(rows, self._time())
            counts = [StepCount(before, after, bad) for before, after, bad in located.counts]
            return ChainResult(located.rows, tuple(counts), tuple(located.rejected))
        return self._result(rows.num_rows, self._assembled(rows, answer))

    def take(self, read: Callable[[str], tuple[int, pa.Table] | None]) -> tuple[int, ChainResult] | None:
        """Have the rows read and sent through in one statement; None where that cannot be."""
        import pyarrow as pa

        if self._entire is None:
            self._entire = entire(self._segment)
        taken = read(self._entire.sql(self._time() if self._tells_time else 0))
        if taken is None:
            return None
        count, answer = taken
        if count < answer.num_rows or (count > answer.num_rows and not self._segment.filters):
            return None  # a count that cannot be is none
        columns = [fit_column(column, field) for column, field in zip(answer.columns, self._after, strict=True)]
        return count, self._result(count, pa.Table.from_arrays(columns, schema=self._after))

    def _execute(self, rows: pa.Table) -> pa.Table:
        entering = rows.select(self._reads)
        if self._ordinal:
            entering = entering.append_column(self._ordinal, self._numbers(rows.num_rows))
        epoch = self._time() if self._tells_time else 0
        if self._statement is None:
            self._statement = Statement(entering.schema, self._budget)
        if self._prepared_for != epoch:
            self._statement.prepare(self._segment.sql(epoch))
            self._prepared_for = epoch
        return self._statement.run(entering)

    def _numbers(self, count: int) -> pa.Array:
        """Return 0..count-1; the longest one made is kept."""
        import pyarrow as pa

        if self._ordinals is None or len(self._ordinals) < count:
            self._ordinals = pa.array(range(count), pa.int32())
        return self._ordinals.slice(0, count)

    def _assembled(self, rows: pa.Table, answer: pa.Table | None) -> pa.Table:
        """Put computed columns and those that passed by together."""
        import pyarrow as pa

        passing = rows.select(self._passing).columns
        made = answer.columns if answer is not None else []
        if self._filters and len(made[-1]) < rows.num_rows:  # the last column says which rows were kept
            passing = rows.select(self._passing).take(made[-1]).columns
        columns = []
        for (passes, place), field in zip(self._places, self._after, strict=True):
            columns.append(passing[place] if passes else fit_column(made[place], field))
        return pa.Table.from_arrays(columns, schema=self._after)

    def _result(self, rows: int, after: pa.Table) -> ChainResult:
        counts = []
        for step in self._segment.steps:
            kept = rows if step.condition is None else after.num_rows
            counts.append(StepCount(rows, kept))
            rows = kept
        return ChainResult(after, tuple(counts))

    def close(self) -> None:
        """Free the plans."""
        if self._statement is not None:
            self._statement.close()
        self._rejecting.close()


__all__ = ["Chain", "ChainResult", "Rejected", "StepCount"]
