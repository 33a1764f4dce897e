"""A condition over changes: a row that stops to meet it becomes a delete.

Whoever gets the rows merges them by key, so nobody has to know which row met the condition before: an update that does
not meet it is passed on as a delete, and what was never there cannot be deleted. Rows that are read or inserted have
no former state, and are filtered. Deletes and truncations always pass, and are not judged.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from dataflare.changes import OP, UNCHANGED, Op, may_be_unchanged
from dataflare.expression.check import Checker, Expression
from dataflare.expression.session import folded, quoted
from dataflare.expression.typed import CheckedStep
from dataflare.expression.unchanged import GONE, literal
from dataflare.schema import Column, Schema

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

_MET = "__met"
_OP = quoted(OP)
IS_GONE = f"{_OP} in ({', '.join(repr(op) for op in GONE)})"
"""Whether a change leaves no row, as SQL."""


def parts_of(step: CheckedStep) -> Sequence[CheckedStep]:
    """Return the steps that do what a step says; more than one where it is a condition over changes."""
    if step.condition is None or OP not in step.before:
        return [step]
    met = _MET
    while met in map(folded, step.before.names):
        met += "_"
    judged = Schema((*step.before, Column(met, "bool")))
    passing = {n: Expression.of_column(n, quoted(n)) for n in step.before.names}
    is_met = f"coalesce({quoted(met)}, false)"
    kept = Expression(f"{is_met} or {_OP} = '{Op.UPDATE}'", (met, OP))
    op = Expression(f"case when {is_met} then {_OP} else '{Op.DELETE}' end", (met, OP))
    judging = (*passing.items(), (met, unless_gone(step.condition, "true")))
    return [
        CheckedStep(step.node, step.before, judged, judging, judges=step.condition),
        CheckedStep(step.node, judged, judged, condition=kept),
        CheckedStep(step.node, judged, step.before, tuple((passing | {OP: op}).items())),
    ]


def unless_gone(expression: Expression, otherwise: str) -> Expression:
    """Return an expression that is `otherwise`, SQL, for changes that leave no row."""
    text = quoted(expression.column) if expression.column is not None else expression.text
    before = f"case when {IS_GONE} then {otherwise} else (\n"
    moved = len(before.encode())
    return replace(
        expression,
        text=f"{before}{text}\n) end",
        reads=tuple(dict.fromkeys((*expression.reads, OP))),
        column=None,
        clocks=tuple((start + moved, end + moved, new) for start, end, new in expression.clocks),
    )


def judged(text: str, schema: Schema) -> str:
    """Return a condition, SQL, that is true of changes which do not tell what it reads; raise WorkflowError."""
    if OP not in schema:
        return text
    excuse = IS_GONE
    hidden = may_be_unchanged(schema).intersection(Checker().read(text, schema.names).reads)
    if hidden:
        excuse += f" or list_has_any({quoted(UNCHANGED)}, [{', '.join(map(literal, sorted(hidden)))}])"
    return f"case when {excuse} then true else (\n{text}\n) end"


def is_gone(rows: pa.Table) -> pa.ChunkedArray:
    """Return which changes leave no row."""
    import pyarrow as pa
    import pyarrow.compute as pc

    return pc.is_in(rows.column(OP), pa.array(GONE))


class Changes:
    """Rows that are changes, of which some meet a condition."""

    def __init__(self, rows: pa.Table) -> None:
        """Look at what happened to them."""
        import pyarrow.compute as pc

        self._rows, self._op = rows, rows.column(OP)
        self._updates = pc.equal(self._op, Op.UPDATE.value)
        self._stay = pc.or_(self._updates, is_gone(rows))

    def told(self, met: pa.ChunkedArray) -> tuple[pa.Table, pa.ChunkedArray]:
        """Return the rows, updates that do not meet it as deletes, and which of them go on."""
        import pyarrow.compute as pc

        op = pc.if_else(pc.and_not(self._updates, met), Op.DELETE.value, self._op)
        at = self._rows.schema.get_field_index(OP)
        return self._rows.set_column(at, self._rows.schema.field(at), op), pc.or_(met, self._stay)

    def where(self, met: pa.ChunkedArray) -> pa.Table:
        """Return the rows that go on."""
        rows, kept = self.told(met)
        return rows.filter(kept)


__all__ = ["IS_GONE", "Changes", "is_gone", "judged", "parts_of", "unless_gone"]
