"""Types row-wise nodes by the expression engine, and knows which columns their expressions read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dataflare.errors import DataFlareError
from dataflare.expression.step import RowProcessor
from dataflare.plan_words import NodeKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dataflare.expression.catalogue import Tree
    from dataflare.expression.check import Checker
    from dataflare.expression.step import Step
    from dataflare.expression.typed import CheckedStep, Problem
    from dataflare.schema import Schema
    from dataflare.workflow.drafts import Draft, Outline
    from dataflare.workflow.faults import Faults


_CHARACTERS_MAX = 2000
_FEW = 8


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

    def passed(self, draft: Draft, schemas: Sequence[Schema]) -> dict[str, list[str]] | None:
        """Return by column of the input those of the output that are nothing else; None where all pass as they are.

        The node is known to have no mistakes.
        """
        checked, _ = self.check(draft.component.step(schemas), schemas[0])
        if checked.columns is None:
            return None
        found: dict[str, list[str]] = {}
        for name, expression in checked.columns:
            if expression.column is not None:
                found.setdefault(expression.column, []).append(name)
        return found

    def reads(self, text: str, schema: Schema) -> tuple[str, ...]:
        """Return the columns that an expression reads, aggregates allowed; raise WorkflowError where it is none."""
        return self._engine().read(text, schema.names, aggregates=True).reads

    def tree(self, text: str, schema: Schema) -> Tree:
        """Return the syntax of an expression; raise WorkflowError where it is none."""
        return self._engine().tree(text, schema.names)

    def foresee(self, outline: Outline) -> None:
        """Parse at once what may be an expression among the settings of transformations: it is much cheaper so."""
        texts: dict[str, None] = {}
        for draft in outline.drafts.values():
            config = outline.document.at((*draft.path, "config")) if draft.kind is NodeKind.PROCESSOR else None
            for _, value in config.walk() if config is not None else ():
                if isinstance(value.data, str) and len(value.data) <= _CHARACTERS_MAX:
                    texts[value.data] = None
        if len(texts) >= _FEW:
            self._engine().foresee(texts)

    def foresee_types(self, nodes: Sequence[tuple[Draft, Schema]]) -> None:
        """Find at once the types of row-wise nodes whose inputs are known; what is wrong is told in its turn."""
        asked = []
        for draft, schema in nodes:
            try:
                step = draft.component.step([schema])
                read = [self._engine().read(text, schema.names) for _, text in step.columns or ()]
                conditions = [self._engine().read(step.condition, schema.names)] if step.condition is not None else []
            except (DataFlareError, KeyError, ValueError, TypeError):
                continue
            computed = [e for e in read if e.column is None]
            asked += [(e, schema.to_arrow()) for e in (computed, conditions) if e]
        if len(asked) > 1:
            self._engine().foresee_types(asked)

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
