"""What the log says of the shape of tables, beside what the workflow was planned with."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from dataflare.component.deviations import ASIDE
from dataflare.connectors.postgres.changes.tables import followed, planned_schema
from dataflare.errors import WorkflowError
from dataflare.monitoring.events import Noticed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dataflare.component import StageContext
    from dataflare.connectors.postgres.changes.tables import FollowedTable
    from dataflare.connectors.postgres.replication.messages import Described, Relation, TablePlan
    from dataflare.connectors.postgres.settings import PostgresSourceConfig
    from dataflare.connectors.postgres.statements import Statements


class Shapes:
    """Finds the plan of a relation, and what is different from the plan.

    A column that the log does not have yet at its place, and the table has now, is null there. One that the plan does
    not know is left out, with a word. What else differs ends the run: the plan would not hold.
    """

    def __init__(
        self,
        config: PostgresSourceConfig,
        context: StageContext,
        session: Statements,
        tables: Mapping[str, FollowedTable],
    ) -> None:
        """Know the tables as they were when the source was opened."""
        self._config, self._context, self._session = config, context, session
        self._by_name = {(t.table.schema, t.table.name): t for t in tables.values()}
        self._told: set[tuple[str, str]] = set()

    def plan(self, relation: Relation) -> TablePlan | None:
        """Return the plan of a relation; None where nobody wants it."""
        table = self._by_name.get((relation.schema, relation.name))
        if table is None:
            return None
        planned = planned_schema(self._context.schemas[table.name])
        there = {c.name for c in relation.columns}
        absent = frozenset(n for n in planned.names if n not in there)
        return replace(table.plan(planned), absent=absent, aside=self._context.on_error in ASIDE)

    def described(self, event: Described) -> None:
        """Compare a relation, the table and the plan; raise WorkflowError where they cannot go together."""
        relation = event.relation
        table = self._by_name.get((relation.schema, relation.name))
        if table is None:
            return
        planned = planned_schema(self._context.schemas[table.name])
        now = followed(self._session, self._config)[table.name].relation.schema
        for column in planned:
            if column.name not in now:
                raise _changed(f"{table.table} has no column {column.name} any more", column.name)
            if now[column.name].type != column.type:
                what = f"column {column.name} of {table.table} is {now[column.name].type} now, it was {column.type}"
                raise _changed(what, column.name)
        for name in (c.name for c in relation.columns if c.name not in table.relation.schema):
            if (table.name, name) not in self._told:
                self._told.add((table.name, name))
                what = f"{table.table} has a new column {name}, which is left out until the workflow runs again"
                self._context.emit(Noticed(self._context.workflow, "schema.column_added", what, self._context.node))


def _changed(what: str, column: str) -> WorkflowError:
    return WorkflowError(
        f"{what}: the workflow was planned with it as it was", hint=f"run it again; see to what uses {column}"
    )


__all__ = ["Shapes"]
