"""What the log says of the shape of tables, beside what the workflow was planned with."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from dataflare.component.deviations import Contract
from dataflare.connectors.postgres.changes.aligning import aligned
from dataflare.connectors.postgres.changes.tables import followed, planned_schema
from dataflare.sql.evolving import Comparing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dataflare.connectors.postgres.changes.tables import FollowedTable, Rows
    from dataflare.connectors.postgres.replication.messages import Described, Relation, TablePlan
    from dataflare.connectors.postgres.statements import Statements


class Shapes:
    """Finds the plan of a relation, and what is different from the plan.

    A planned column that the log does not have at its place is null there: the table got it later, or has it no more.
    One that was renamed is found by the names that it had.
    """

    def __init__(self, source: Rows, tables: Mapping[str, FollowedTable]) -> None:
        """Know the tables as they were when the source was opened."""
        self._config, self._context, self._source = source.config, source.context, source
        self._tables = tables
        self._by_name = {(t.table.schema, t.table.name): t for t in tables.values()}
        self._comparing = Comparing(source.context, source.config.columns, tables)
        self._contract = Contract(source.context, "table")

    def plan(self, relation: Relation) -> TablePlan | None:
        """Return the plan of a relation; None where nobody wants it."""
        table = self._by_name.get((relation.schema, relation.name))
        if table is None:
            return None
        planned = planned_schema(self._context.schemas[table.name])
        former = {was: c.name for c in self._comparing.known(table.name) for was in c.former}
        numbers = {name: int(mark.rpartition("/")[2]) for name, mark in table.marks.items()}
        logged = [c.name for c in relation.columns]
        former |= aligned(logged, numbers, former)
        for name in (n for n in logged if n not in planned and n not in numbers and n not in former):
            self._comparing.gone(table.table, name)
        absent, contract = frozenset(planned.names).difference(table.key), self._contract
        emptied = partial(contract.emptied, str(table.table)) if contract.empties() else None
        aside = contract.puts_aside()
        return replace(table.plan(planned), absent=absent, former=former, aside=aside, emptied=emptied)

    def described(self, event: Described) -> None:
        """Compare the table of a relation with the plan; raise where it cannot go on so: see `compare`."""
        table = self._by_name.get((event.relation.schema, event.relation.name))
        if table is not None:
            self.compare(table.name)

    def compare(self, name: str, session: Statements | None = None) -> None:
        """Compare a table as it is now with the plan (`Comparing`), or as the transaction of a session sees it."""
        self._comparing.compare(followed(session or self._source.session, self._config)[name])


__all__ = ["Shapes"]
