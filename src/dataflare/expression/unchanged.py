"""What expressions make of values that a change left out as unchanged (invariant 6).

A column that passes, or is made of one such value and the key, is unchanged where that value is. Made of more, it
could be half old and half new, which nobody can compute: that is a mistake of the workflow, and so is a condition on
anything but the key.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dataflare.changes import OP, UNCHANGED, WHOLE_ROWS, Op, may_be_unchanged, steady
from dataflare.errors import WorkflowError
from dataflare.expression.check import Expression
from dataflare.expression.session import quoted

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import pyarrow as pa

    from dataflare.schema import Schema, Told

GONE = (Op.DELETE.value, Op.TRUNCATE.value)
"""The changes that leave no row: what they tell besides the key means nothing."""


def condition_problem(condition: Expression, schema: Schema) -> WorkflowError | None:
    """Return what is wrong with a condition on changes.

    It may read the key alone where values may be unchanged, which is the same in all changes of a row: one that begins
    to meet the condition with an update would come without the values that the update leaves out.
    """
    hidden, key = may_be_unchanged(schema), steady(schema)
    moving = [n for n in condition.reads if n not in key]
    if not hidden or not moving:
        return None
    first = next((n for n in moving if n in hidden), None)
    if first is not None:
        what = f"the condition reads {first!r}, whose value a change may leave out as unchanged"
    else:
        what = f"a row that begins to meet the condition, as {moving[0]!r} changes, would come without \
{min(hidden)!r}, whose value a change may leave out as unchanged"
    return WorkflowError(what, hint=WHOLE_ROWS)


class Unchanged:
    """Which columns of a step are unchanged where which ones of its input are."""

    def __init__(self, columns: Mapping[str, Expression], schema: Schema, aside: Iterable[str]) -> None:
        """`columns` are those of the output by name; `aside` are no values of the row."""
        self._left_out = may_be_unchanged(schema)
        self._adds = any(name not in schema for name in columns)
        self.problems: dict[str, WorkflowError] = {}
        self.by_source: dict[str, str] = {}
        """The column of the input by that of the output."""
        key = steady(schema)
        for name, expression in columns.items():
            hidden = [n for n in expression.reads if n in self._left_out]
            if not hidden or name in aside or name == UNCHANGED:
                continue
            self.by_source[name] = hidden[0]
            others = [n for n in expression.reads if n != hidden[0] and n not in key]
            if others:
                what = f"{name!r} is made of {hidden[0]!r}, whose value a change may leave out as unchanged, and of \
{others[0]!r}, which may change without it"
                self.problems[name] = WorkflowError(what, hint=WHOLE_ROWS)

    def expression(self) -> Expression | None:
        """Return the names of the output's columns that are unchanged in a row; None: those of the input.

        A name of the input may be that of a column that nobody reads, and a new column may have the same.
        """
        if (
            not self._adds
            and all(self.by_source.get(n) == n for n in self._left_out)
            and len(self.by_source) == len(self._left_out)
        ):
            return None
        names = quoted(UNCHANGED)
        same = [literal(n) for n, source in self.by_source.items() if n == source]
        parts = [f"list_filter({names}, lambda name: name in ({', '.join(same)}))"] if same else []
        others = [
            f"case when list_contains({names}, {literal(source)}) then {literal(n)} end"
            for n, source in self.by_source.items()
            if n != source
        ]
        parts += [f"list_filter([{', '.join(others)}], lambda name: name is not null)"] if others else []
        found = f"list_concat({', '.join(parts)})" if len(parts) > 1 else "".join(parts) or f"{names}[:0]"
        return Expression(f"case when len({names}) > 0 then {found} else {names} end", (UNCHANGED,))


def told(expression: Expression, schema: Schema) -> Told:
    """Return how far a column is told that an expression over changes makes."""
    if UNCHANGED not in schema or may_be_unchanged(schema).intersection(expression.reads):
        return ""
    return "key" if steady(schema).issuperset(expression.reads) and not expression.clocks else "value"


def excused(rows: pa.Table, reads: Sequence[str]) -> pa.ChunkedArray:
    """Return whether what an expression reads means nothing, by row: a delete has no values, nor has what is unchanged.

    `rows` are changes.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    found = pc.is_in(rows.column(OP), pa.array(GONE))
    if UNCHANGED not in rows.schema.names:
        return found
    lists = rows.column(UNCHANGED).combine_chunks()
    named = pc.is_in(pc.list_flatten(lists), pa.array(list(reads), pa.string()))
    places = pc.list_parent_indices(lists).filter(named)
    numbers = pa.array(range(rows.num_rows), places.type)
    return pc.or_(found, pa.chunked_array([pc.is_in(numbers, places)]))


def literal(text: str) -> str:
    """Return a text as SQL."""
    return "'" + text.replace("'", "''") + "'"


__all__ = ["GONE", "Unchanged", "condition_problem", "excused", "literal", "told"]
