"""Steps with meaning: every expression checked against the schema before it, and the schema after each step."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dataflare.changes import OP, UNCHANGED
from dataflare.errors import WorkflowError
from dataflare.expression.check import Checker, Expression
from dataflare.expression.lineage import marks, may_be_null
from dataflare.expression.unchanged import Unchanged, condition_problem, told
from dataflare.schema import Column, Schema, type_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pyarrow as pa

    from dataflare.expression.step import Step


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a step; `column` is empty for its condition and for the step as a whole."""

    node: str
    column: str
    error: WorkflowError


@dataclass(frozen=True, slots=True)
class CheckedStep:
    """A step whose expressions are checked, and the schemas around it.

    `judges` is the condition that its last column is the answer of, if it is one.
    """

    node: str
    before: Schema
    after: Schema
    columns: tuple[tuple[str, Expression], ...] | None = None
    condition: Expression | None = None
    judges: Expression | None = None


def typed(steps: Sequence[Step], schema: Schema) -> tuple[list[Schema], list[Problem]]:
    """Return the schema after each step and all that is wrong, touching no file.

    A column whose expression is wrong has the type `null` and makes whatever reads it unchecked, so that one mistake
    is told once.
    """
    checked, problems = checked_steps(steps, schema, Checker())
    return [step.after for step in checked], problems


def checked_steps(steps: Sequence[Step], schema: Schema, checker: Checker) -> tuple[list[CheckedStep], list[Problem]]:
    """Check steps in order."""
    found: list[CheckedStep] = []
    problems: list[Problem] = []
    doubtful: frozenset[str] = frozenset()
    for step in steps:
        checking = _Checking(step, schema, doubtful, checker)
        found.append(checking.run())
        problems += checking.problems
        schema, doubtful = found[-1].after, checking.doubtful
    return found, problems


class _Checking:
    """One step under check; `doubtful` are columns whose type is unknown because of an error told already."""

    def __init__(self, step: Step, schema: Schema, doubtful: frozenset[str], checker: Checker) -> None:
        self._step, self._schema, self._before, self._checker = step, schema, doubtful, checker
        self.problems = [Problem(step.node, error.place.path, error) for error in step.problems]
        self.doubtful = doubtful

    def run(self) -> CheckedStep:
        step = self._step
        condition = self._condition(step.condition) if step.condition is not None else None
        if step.columns is None:
            return CheckedStep(step.node, self._schema, self._schema, None, condition)
        names = [name for name, _ in step.columns]
        for name in dict.fromkeys(n for n in names if names.count(n) > 1):
            self._problem(name, WorkflowError(f"column {name!r} is made twice", hint="give one of them another name"))
        if not names:
            self._problem("", WorkflowError("no column is left", hint="keep at least one column"))
        read = {name: self._read(name, text) for name, text in step.columns}
        unchanged = self._unchanged(read)
        made = self._made(read)
        self.doubtful = frozenset(n for n in made if made[n] is None or self._is_doubtful(read[n]))
        after = Schema(tuple(column or Column(name, "null") for name, column in made.items()))
        if unchanged is not None and UNCHANGED in read:
            read[UNCHANGED] = unchanged
        whole = tuple((name, e or Expression("null")) for name, e in read.items())
        return CheckedStep(step.node, self._schema, after, whole, condition)

    def _problem(self, column: str, error: WorkflowError) -> None:
        self.problems.append(Problem(self._step.node, column, error.in_node(self._step.node)))

    def _read(self, column: str, text: str) -> Expression | None:
        try:
            return self._checker.read(text, self._schema.names)
        except WorkflowError as error:
            for name, _ in self._step.columns or ():
                if error.what.startswith(f"there is no column {name!r}"):
                    error.hint = f"{name!r} is made by this node itself: read it in a node after this one"
            self._problem(column, error)
            return None

    def _unchanged(self, read: Mapping[str, Expression | None]) -> Expression | None:
        """Return how the step tells which values are unchanged; None where it passes that on."""
        if UNCHANGED not in self._schema:
            return None
        found = Unchanged({n: e for n, e in read.items() if e is not None}, self._schema, self._step.aside)
        for name, error in found.problems.items():
            self._problem(name, error)
        return found.expression()

    def _is_doubtful(self, expression: Expression | None) -> bool:
        return expression is not None and bool(self._before.intersection(expression.reads))

    def _condition(self, text: str) -> Expression | None:
        condition = self._read("", text)
        if condition is None or self._is_doubtful(condition):
            return condition
        try:
            (kind,) = self._checker.types([condition], self._schema.to_arrow())
        except WorkflowError as error:
            self._problem("", error)
            return condition
        if type_text(kind) not in ("bool", "null"):
            what = f"the condition is of type {type_text(kind)}, not bool: {condition.text}"
            self._problem("", WorkflowError(what, hint="compare it with something, such as amount > 0"))
        wrong = condition_problem(condition, self._schema) if "" not in self._step.aside else None
        if wrong is not None:
            self._problem("", wrong)
        return condition

    def _made(self, read: dict[str, Expression | None]) -> dict[str, Column | None]:
        """Return the output columns; None where the type is unknown."""
        schema = self._schema
        made: dict[str, Column | None] = dict.fromkeys(read)
        computed: dict[str, Expression] = {}
        for name, expression in read.items():
            if expression is None:
                continue
            if expression.column is not None:
                made[name] = replace(schema[expression.column], name=name)
            elif not self._is_doubtful(expression):
                computed[name] = expression
        for name, kind in self._types(computed).items():
            nulls = self._step.nulls or may_be_null(computed[name].needs, schema) or self._of_values(computed[name])
            try:
                column = Column(name, type_text(kind), nulls, told=told(computed[name], schema))
                made[name] = column.marked(marks(computed[name].origins, schema))
            except WorkflowError as error:
                self._problem(name, error)
        return made

    def _of_values(self, expression: Expression) -> bool:
        """Tell whether it reads what a delete has no value of."""
        return OP in self._schema and any(self._schema[n].nullable for n in expression.reads)

    def _types(self, computed: dict[str, Expression]) -> dict[str, pa.DataType]:
        """Ask for all types at once; one by one only when that fails, to tell every error."""
        if not computed:
            return {}
        arrow = self._schema.to_arrow()
        try:
            return dict(zip(computed, self._checker.types(list(computed.values()), arrow), strict=True))
        except WorkflowError:
            types = {}
            for name, expression in computed.items():
                try:
                    (types[name],) = self._checker.types([expression], arrow)
                except WorkflowError as error:
                    self._problem(name, error)
            return types


__all__ = ["CheckedStep", "Problem", "checked_steps", "typed"]
