"""Types row-wise nodes by the expression engine, and knows which columns their expressions read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dataflare.errors import DataFlareError
from dataflare.expression.step import RowProcessor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dataflare.expression.check import Checker
    from dataflare.expression.step import Step
    from dataflare.expression.typed import CheckedStep, Problem
    from dataflare.schema import Schema
    from dataflare.workflow.drafts import Draft
    from dataflare.workflow.faults import Faults


class RowSteps:
    """Checks steps, each (step, schema) once; the engine is opened when the first one comes."""

    def __init__(self) -> None:
        """Open nothing yet."""
        self._checker: Checker | None = None
        self._known: dict[tuple[Step, Schema], tuple[CheckedStep, list[Problem]]] = {}

    @staticmethod
    def takes(draft: Draft) -> bool:
        """Tell whether a node is row-wise."""
        return isinstance(draft.component, RowProcessor)

    def typed(self, draft: Draft, schemas: Sequence[Schema], faults: Faults) -> dict[str, Schema] | None:
        """Return the output of a row-wise node; None, with all its mistakes told, where it has any."""
        if any(_shape(s) != _shape(schemas[0]) for s in schemas[1:]):
            faults.different(draft, schemas)
            return None
        try:
            step = draft.component.step(schemas)
        except DataFlareError as error:
            faults.tell(draft, error)
            return None
        except (KeyError, ValueError, TypeError) as error:
            faults.foreign(draft, error)
            return None
        checked, problems = self.check(step, schemas[0])
        texts = dict(step.columns or ())
        for problem in problems:
            text = texts.get(problem.column, "") if problem.column else step.condition or ""
            faults.tell(draft, problem.error, column=problem.column, text=text)
        return {"": checked.after} if not problems else None

    def reads(self, text: str, schema: Schema) -> tuple[str, ...]:
        """Return the columns that an expression reads, aggregates allowed; raise WorkflowError where it is none."""
        return self._engine().read(text, schema.names, aggregates=True).reads

    def _engine(self) -> Checker:
        from dataflare.expression.check import Checker

        self._checker = self._checker or Checker()
        return self._checker

    def check(self, step: Step, schema: Schema) -> tuple[CheckedStep, list[Problem]]:
        """Return the checked step and what is wrong with it."""
        from dataflare.expression.typed import checked_steps

        key = (step, schema)
        if key not in self._known:
            found, problems = checked_steps([step], schema, self._engine())
            self._known[key] = found[0], problems
        return self._known[key]


def _shape(schema: Schema) -> list[tuple[str, str]]:
    return [(c.name, c.type) for c in schema]
