"""Groups rows in two phases: partial states beside each source, as plain Arrow columns, and their results."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import TYPE_CHECKING, ParamSpec

from dataflare.errors import DataError, WorkflowError
from dataflare.expression.bounds import VALUES_MAX, Bounds
from dataflare.expression.check import DEFAULT, Checker
from dataflare.expression.explain import engine_failed, is_about_rows, reason
from dataflare.expression.fit import fit
from dataflare.expression.gathering import Gathering
from dataflare.expression.grouping import EPOCH_MARK, grouping
from dataflare.expression.keys import KEY_GROUPS, key_groups
from dataflare.expression.lineage import marks
from dataflare.expression.memory import Memory
from dataflare.expression.reject import Rejecting
from dataflare.expression.segment import segments
from dataflare.expression.session import INPUT, Session, Statement, quoted, select
from dataflare.expression.step import Step
from dataflare.expression.typed import checked_steps
from dataflare.schema import Column, Schema, type_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import duckdb
    import pyarrow as pa

    from dataflare.component import Budget
    from dataflare.expression.check import Expression
    from dataflare.expression.grouping import Grouping
    from dataflare.expression.reject import Rejected
    from dataflare.expression.streaming import Incoming

P = ParamSpec("P")

_STATES, _VALUES = "__states", "__listed"
_REPEATING = 0.5
_ROWS_THAT_TELL = 4096
_GROUPS_PER_SAMPLE = 16
_PORTION_BYTES_MIN = 2 << 20
_Shape = tuple["pa.Schema", list[str], Schema]
_shapes: Memory[tuple[Grouping, Schema], _Shape] = Memory()


class AggregatePlan:
    """Keys and aggregations over rows of one schema.

    `partial` turns rows into partial rows: the key columns and parts of state (sums, counts, lists, exported states).
    `merge` makes one partial row a group of many; `final` makes results. For any split of the rows into batches,
    `final(merge(partial(...) of each))` equals the aggregation of all rows, up to the order of floating-point sums
    and, for first, last and lists without ORDER BY or DISTINCT, the order of arrival. Nulls are keys like others.

    The values of a DISTINCT are lists in partial rows. Where they are seen to repeat within a batch, `partial` leaves
    out those that do; else only `merge` and `final` look for them. These take partial rows of many bytes in portions
    by key, so that the memory they need beside them does not grow with their number.
    """

    def __init__(
        self,
        keys: Sequence[tuple[str, str]],
        aggregations: Sequence[tuple[str, str]],
        schema: Schema,
        *,
        budget: Budget = DEFAULT,
        epoch_time: Callable[[], int] = lambda: 0,
        values_max: int = VALUES_MAX,
    ) -> None:
        """Check (name, expression) pairs; raise WorkflowError. `values_max` bounds what a group holds for a result."""
        checker = Checker()
        self._grouping = grouping(keys, aggregations, schema, checker)
        self._schema, self._input, self._time = schema, schema.to_arrow(), epoch_time
        self._budget: Budget | None = budget
        self._bounds = Bounds(self._grouping, values_max)
        self.keys = tuple(name for name, _ in keys)
        self._statements: dict[str, tuple[Statement, str]] = {}
        self._thinned: set[int] | None = None
        self._portion_bytes = max(_PORTION_BYTES_MIN, budget.memory_bytes_max // 32)
        self._locating: _Locating | None = None
        self._session: Session | None = None
        shape = _shapes.get((self._grouping, schema)) or self._shape(checker)
        self.partial_schema, self._kinds, self.output = shape
        self._gathering = Gathering(self._grouping, self._input, self.partial_schema)

    def partial(self, rows: pa.Table, node: str = "", policy: str = "fail") -> tuple[pa.Table, list[Rejected]]:
        """Return the partial rows of a batch, and the rows that an expression fails for.

        Those raise DataError when the policy is `fail`, and are left out otherwise.
        """
        import duckdb

        rows = fit(rows, self._input)
        if not rows.num_rows:
            return self.partial_schema.empty_table(), []
        try:
            return self._partial(rows), []
        except duckdb.Error as error:
            if not is_about_rows(error):
                raise engine_failed(error) from error
            if self._locating is None:
                self._locating = _Locating(self._grouping, self._schema, self._budget or DEFAULT)
            good, rejected = self._locating.run(rows, self._time(), (node, policy))
        return self._guarded(self._partial, good), rejected

    def merge(self, partials: Sequence[pa.Table]) -> pa.Table:
        """Return one partial row a group; raise DataError where a group holds more values than it may."""
        import pyarrow as pa

        rows = pa.concat_tables(partials) if partials else self.partial_schema.empty_table()
        if not rows.num_rows:
            return rows
        merged = [self._over(portion, "merge") for portion in self._portions(rows)]
        whole = pa.concat_tables(m.cast(self.partial_schema) for m in merged)
        self._bounds.check(whole)
        return whole

    def final(self, partial: pa.Table) -> pa.Table:
        """Return the results, sorted by key. Without keys they are one row, also of no rows at all.

        There may be several partial rows a group. Raises DataError as `merge` does.
        """
        import pyarrow as pa

        if self._bounds.may_be_passed(partial):
            partial = self.merge([partial])
        if not self.keys:
            partial = pa.concat_tables([self._partial_of_nothing(), partial])
        results = [self._over(portion, "final") for portion in self._portions(partial)]
        if len(results) > 1:
            results = [self._prepared("sorted", pa.concat_tables(results), self._grouping.sorted_sql())]
        return fit(results[0], self.output.to_arrow())

    @property
    def mark(self) -> str:
        """What the parts of partial rows mean, whatever they are called: those of another mark are no such parts."""
        reads = [(n, self._schema[n].type) for n in self._grouping.reads] if self._grouping.has_states else []
        told = [[(p.partial, p.merge) for p in self._grouping.parts], reads]
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]

    @property
    def lists(self) -> list[str]:
        """The columns of partial rows that list different values, where the only group may have many such rows."""
        return [] if self.keys else [self.partial_schema.names[n] for n in self._grouping.values]

    def nothing(self) -> pa.Table:
        """Return the partial row of no rows; without keys."""
        return self._partial_of_nothing()

    def final_of(self, partial: pa.Table, values: Incoming) -> pa.Table:
        """Return the result of the only group: values are listed in other partial rows, which a query reads in turn."""
        import pyarrow as pa

        partial = pa.concat_tables([self._partial_of_nothing(), partial])
        session = self._states_of(partial) if self._grouping.has_states else Session(self._budget)
        if not self._grouping.has_states:
            session.register(partial)
        session.register(values, _VALUES)
        source = _STATES if self._grouping.has_states else INPUT
        epoch = self._time() if _tells_time(self._grouping) else 0
        found = self._guarded(session.fetch, self._grouping.final_sql(source, epoch, _VALUES))
        if session is not self._session:
            session.close()
        return fit(found, self.output.to_arrow())

    def check_values(self, name: str, count: int) -> None:
        """Raise DataError where so many values are more than one of `lists` may hold."""
        self._bounds.check_count(self.partial_schema.names.index(name) - len(self.keys), count)

    def _portions(self, rows: pa.Table) -> Iterator[pa.Table]:
        """Cut partial rows that hold many values into portions; all rows of a key are in one."""
        import pyarrow as pa
        import pyarrow.compute as pc

        count = min(KEY_GROUPS, rows.nbytes // self._portion_bytes + 1)
        if count == 1 or not self.keys or not self._grouping.values:
            yield rows
            return
        numbers = pc.divide(pc.multiply(key_groups(rows, self.keys), pa.scalar(count, pa.int32())), KEY_GROUPS)
        for number in range(count):
            yield rows.filter(pc.equal(numbers, number))

    def close(self) -> None:
        """Free the plans."""
        for statement, _ in self._statements.values():
            statement.close()
        if self._session is not None:
            self._session.close()

    def _guarded(self, run: Callable[P, pa.Table], *args: P.args, **kwargs: P.kwargs) -> pa.Table:
        import duckdb

        try:
            return run(*args, **kwargs)
        except duckdb.Error as error:
            if not is_about_rows(error):
                raise engine_failed(error) from error
            raise DataError(
                f"an aggregate fails: {reason(error)}", hint="cast its argument to a wider type, such as double"
            ) from error

    def _partial(self, rows: pa.Table) -> pa.Table:
        gathers = self._gathering.possible and not self._thinned
        partial = self._gathering.run(rows) if gathers else None
        if partial is None:
            epoch = self._time() if _tells_time(self._grouping) else 0
            sql = self._grouping.partial_sql(epoch, self._thinned or ())
            partial = self._prepared("partial", self._entering(rows), sql).cast(self.partial_schema)
        if self._thinned is None and rows.num_rows >= _ROWS_THAT_TELL:
            self._thinned = self._worth_thinning(partial) if self._grouping.values and self.keys else set()
        return partial

    def _worth_thinning(self, partial: pa.Table) -> set[int]:
        """Return the parts whose values repeat so much within a batch that it is cheaper not to send them all.

        A few of the groups tell, as all values that a group has in the batch are in its list.
        """
        few = partial.slice(0, partial.num_rows // _GROUPS_PER_SAMPLE + 1)
        thin = self._over(few, "merge")
        places = {n: len(self.keys) + n for n in self._grouping.values}
        return {n for n, at in places.items() if _values_in(thin, at) < _values_in(few, at) * _REPEATING}

    def _entering(self, rows: pa.Table) -> pa.Table:
        import pyarrow as pa

        if self._grouping.reads:
            return rows.select(self._grouping.reads)
        return pa.table({"_": pa.nulls(rows.num_rows, pa.bool_())})

    def _prepared(self, phase: str, rows: pa.Table, sql: str) -> pa.Table:
        """Run the statement of a phase, preparing it at its first use and whenever its text is another one."""
        if self._budget is None:  # the shape is being found: each is run once
            self._session = self._session or Session(None)
            self._session.register(rows)
            return self._session.fetch(sql)
        statement, prepared = self._statements.get(phase) or (Statement(rows.schema, self._budget), "")
        if prepared != sql:
            statement.prepare(sql)
            self._statements[phase] = statement, sql
        return statement.run(rows)

    def _over(self, partial: pa.Table, phase: str) -> pa.Table:
        return self._guarded(self._run, partial, phase)

    def _run(self, partial: pa.Table, phase: str) -> pa.Table:
        """Run a phase over partial rows; exported states are readable only from a table of the engine's own."""
        source = _STATES if self._grouping.has_states else INPUT
        epoch = self._time() if phase == "final" and _tells_time(self._grouping) else 0
        grouping = self._grouping
        sql = grouping.merge_sql(self._kinds, source) if phase == "merge" else grouping.final_sql(source, epoch)
        if not grouping.has_states:
            return self._prepared(phase, partial, sql)
        session = self._states_of(partial)
        try:
            return session.fetch(sql)
        finally:
            session.execute(f"drop table {_STATES}")

    def _states_of(self, partial: pa.Table) -> Session:
        self._session = self._session or Session(self._budget)
        self._session.register(self._entering(self._input.empty_table()))
        self._session.execute(f"create or replace temp table {_STATES} as {self._grouping.partial_sql(0)} limit 0")
        self._session.register(partial, "__partial")
        self._session.execute(f"insert into {_STATES} select * from __partial")  # noqa: S608 - names of ours
        return self._session

    def _partial_of_nothing(self) -> pa.Table:
        return self._partial(self._input.empty_table())

    def _shape(self, checker: Checker) -> _Shape:
        """Find the schema of partial rows, the types of parts in DuckDB's words, and the output; once in a process.

        On the instance for small work, which is open already: to open one takes longer than all of this.
        """
        budget, self._budget = self._budget, None
        try:
            self.partial_schema = self._partial_schema()
            self._kinds = checker.described(f"from {INPUT}", self.partial_schema)[len(self.keys) :]
            shape = self.partial_schema, self._kinds, self._output()
        finally:
            self._budget, self._session = budget, None
            self._statements.clear()
        return _shapes.keep((self._grouping, self._schema), shape)

    def _partial_schema(self) -> pa.Schema:
        """Ask for the columns of partial rows; keys have the types that the planner knows them by."""
        import duckdb
        import pyarrow as pa

        try:
            answer = self._prepared("partial", self._entering(self._input.empty_table()), self._grouping.partial_sql(0))
        except duckdb.Error as error:
            raise _no_parts(error, self._grouping) from None
        keys = [self._key_column(n, e, answer.schema.field(n).type) for n, e in self._grouping.keys]
        fields = list(Schema(tuple(keys)).to_arrow())
        return pa.schema([*fields, *(answer.schema.field(n) for n in range(len(fields), len(answer.schema)))])

    def _key_column(self, name: str, expression: Expression, kind: pa.DataType) -> Column:
        if expression.column is not None:
            known = self._schema[expression.column]
            return replace(known, name=name)
        return Column(name, type_text(kind)).marked(marks(expression.origins, self._schema))

    def _output(self) -> Schema:
        import duckdb

        try:
            types = self._result_types(self.partial_schema.empty_table())
        except duckdb.Error as error:
            raise _no_parts(error, self._grouping) from None
        keys = [self._key_column(n, e, kind) for (n, e), kind in zip(self._grouping.keys, types, strict=False)]
        results = []
        for result, kind in zip(self._grouping.results, types[len(keys) :], strict=True):
            column = Column(result.name, type_text(kind))
            results.append(column.marked(marks(result.expression.origins, self._schema)))
        return Schema((*keys, *results))

    def _result_types(self, nothing: pa.Table) -> list[pa.DataType]:
        """Return the types of keys and results; raise duckdb.Error where partial rows cannot be merged or finished."""
        grouping = self._grouping
        if grouping.has_states:
            final = self._run(nothing, "final")
            self._run(nothing, "merge")
            return list(final.schema.types)
        final_sql, merge_sql = grouping.final_sql(INPUT, 0), grouping.merge_sql(self._kinds, INPUT)
        both = select(["*"], f"({final_sql}) as f positional join ({merge_sql}) as m")
        return list(self._prepared("final", nothing, both).schema.types)[: len(grouping.keys) + len(grouping.results)]


def _values_in(partial: pa.Table, column: int) -> int:
    import pyarrow.compute as pc

    return pc.sum(pc.list_value_length(partial.column(column))).as_py() or 0


class _Locating:
    """Finds the rows of a batch for which a key or an argument fails."""

    def __init__(self, grouping: Grouping, schema: Schema, budget: Budget) -> None:
        self._schema, self._budget = schema, budget
        texts = [e.text for _, e in grouping.keys if e.column is None]
        for call in grouping.calls:
            texts += [*call.arguments, *([call.filter] if call.filter else [])]
        self._texts = list(dict.fromkeys(texts))

    def run(self, rows: pa.Table, epoch: int, who: tuple[str, str]) -> tuple[pa.Table, list[Rejected]]:
        """Return the good rows and the rejected ones; `who` are the node and its policy."""
        node, policy = who
        columns = [(n, quoted(n)) for n in self._schema.names]
        columns += [(f"_tried{n}", text.replace(EPOCH_MARK, str(epoch))) for n, text in enumerate(self._texts)]
        steps, problems = checked_steps([Step(node, tuple(columns))], self._schema, Checker())
        if problems:
            raise problems[0].error
        (segment,) = segments(steps)
        rejecting = Rejecting(segment, ["skip" if policy == "null" else policy], self._budget)
        try:
            located = rejecting.run(rows, epoch)
        finally:
            rejecting.close()
        return located.rows.select(self._schema.names), located.rejected


def _tells_time(grouping: Grouping) -> bool:
    return any(e.clocks for e in (*(e for _, e in grouping.keys), *(r.expression for r in grouping.results)))


def _no_parts(error: duckdb.Error, grouping: Grouping) -> WorkflowError:
    texts = "; ".join(r.expression.text for r in grouping.results)
    first = str(error).splitlines()[0].partition(": ")[2]
    return WorkflowError(
        f"an aggregate cannot be computed in parts: {first.partition(' does not have a state')[0]} in {texts}",
        hint="use another one, such as list(...) and a mapping behind it",
    )


__all__ = ["AggregatePlan"]
