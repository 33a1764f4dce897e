"""What the log says of the shape of tables, beside what the workflow was planned with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dataflare.connectors.mariadb.changes.tables import followed, planned_schema
from dataflare.errors import WorkflowError
from dataflare.monitoring.events import Noticed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dataflare.component import StageContext
    from dataflare.connectors.mariadb.changes.tables import FollowedTable
    from dataflare.connectors.mariadb.replication.rows import TablePlan
    from dataflare.connectors.mariadb.replication.table_maps import TableMap
    from dataflare.connectors.mariadb.session import MariaSession
    from dataflare.connectors.mariadb.settings import MariaSourceConfig


class Shapes:
    """Finds the plan of a table as the log describes it, and what is different from the plan.

    A column that the log does not have yet at its place, and the table has now, is null there. One that the plan does
    not know is left out, with a word. What else differs ends the run: the plan would not hold.
    """

    def __init__(
        self,
        config: MariaSourceConfig,
        context: StageContext,
        session: MariaSession,
        tables: Mapping[str, FollowedTable],
    ) -> None:
        """Know the tables as they were when the source was opened."""
        self._config, self._context, self._session = config, context, session
        self._by_name = {(t.table.schema or "", t.table.name): t for t in tables.values()}
        self._told: set[tuple[str, str]] = set()

    def names(self) -> Mapping[tuple[str, str], str]:
        """Return the streams by database and table."""
        return {name: table.name for name, table in self._by_name.items()}

    def plan(self, described: TableMap) -> TablePlan:
        """Return the plan of a table, compared with the log and with the table as it is now."""
        table = self._by_name[described.schema, described.name]
        planned = planned_schema(self._context.schemas[table.name])
        now = followed(self._session, self._config)[table.name].relation.schema
        for column in planned:
            if column.name not in now:
                raise _changed(f"{table.table} has no column {column.name} any more", column.name)
            if now[column.name].type != column.type:
                what = f"column {column.name} of {table.table} is {now[column.name].type} now, it was {column.type}"
                raise _changed(what, column.name)
        known = (*table.relation.schema.names, *table.relation.kinds)
        for name in (c.name for c in described.columns if c.name not in known):
            if (table.name, name) not in self._told:
                self._told.add((table.name, name))
                what = f"{table.table} has a new column {name}, which is left out until the workflow runs again"
                self._context.emit(Noticed(self._context.workflow, "schema.column_added", what, self._context.node))
        return table.plan(planned)


def _changed(what: str, column: str) -> WorkflowError:
    return WorkflowError(
        f"{what}: the workflow was planned with it as it was", hint=f"run it again; see to what uses {column}"
    )


__all__ = ["Shapes"]
