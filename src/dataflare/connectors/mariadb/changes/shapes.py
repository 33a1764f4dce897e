"""What the log says of the shape of tables, beside what the workflow was planned with."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from dataflare.component.deviations import Contract
from dataflare.component.evolution import data_columns
from dataflare.connectors.mariadb.changes.tables import followed
from dataflare.connectors.mariadb.relations import base_type
from dataflare.connectors.mariadb.replication.kinds import HIDDEN, kind_of
from dataflare.connectors.mariadb.values import is_bytes
from dataflare.errors import DataError
from dataflare.schema import arrow_type
from dataflare.sql.evolving import Comparing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dataflare.connectors.mariadb.changes.tables import FollowedTable, MariaRows
    from dataflare.connectors.mariadb.replication.rows import TablePlan
    from dataflare.connectors.mariadb.replication.statements import Statement
    from dataflare.connectors.mariadb.replication.table_maps import TableMap
    from dataflare.schema import Schema


class Shapes:
    """Finds the plan of a table as the log describes it, and what is different from the plan.

    Rows have the shape that the log tells right before them, whatever the table is now. A planned column that the log
    does not have there is null: the table got it later, or has it no more.
    """

    def __init__(self, source: MariaRows, tables: Mapping[str, FollowedTable]) -> None:
        """Know the tables as they were when the source was opened. `kinds` are those of the place of the stream."""
        self._source, self._tables = source, tables
        self._by_name = {(t.table.schema or "", t.table.name): t for t in tables.values()}
        self._comparing = Comparing(source.context, source.config.columns, tables)
        self._contract = Contract(source.context, "table")
        self.kinds: dict[str, dict[str, str]] = {}

    def names(self) -> Mapping[tuple[str, str], str]:
        """Return the streams by database and table."""
        return {name: table.name for name, table in self._by_name.items()}

    def now(self, name: str, *, locked: bool = False) -> FollowedTable:
        """Return a table as it is now; raise SchemaChangedError where it needs another plan: see `Comparing`."""
        session, config = self._source.session, self._source.config
        before, found = self._tables[name], followed(session, config, locked=locked)[name]
        self._comparing.compare(found)
        found.refuse_other_key(None if before.whole else before.key)
        return found

    def plan(self, described: TableMap) -> TablePlan:
        """Return the plan of a table as the log describes it; the table as it is now must go with the plan."""
        table = self._by_name[described.schema, described.name]
        now, planned = self.now(table.name), data_columns(self._source.context.schemas[table.name])
        logged = [c.name for c in described.columns]
        for name in (n for n in logged if n not in planned and n not in now.relation.kinds):
            self._comparing.gone(table.table, name)
        if lost := [n for n in table.key if n not in logged]:
            raise DataError(
                f"the log has no {lost[0]} of {table.table} at this place, which is of its key",
                hint="let all rows have it that the log tells: give the workflow another id, and read the table anew",
            )
        contract = self._contract
        emptied = partial(contract.emptied, str(table.table)) if contract.empties() else None
        kinds, aside = self._kinds(now, planned, described), contract.puts_aside()
        return replace(table.plan(planned), kinds=kinds, aside=aside, emptied=emptied)

    def altered(self, stream: str, statement: Statement) -> None:
        """Forget what was known of the columns that a statement names."""
        known = self.kinds.get(stream, {})
        self.kinds[stream] = {name: kind for name, kind in known.items() if not statement.mentions(name)}

    def _kinds(self, now: FollowedTable, planned: Schema, described: TableMap) -> dict[str, str]:
        """Return the hidden types of columns at this place, and remember them: it may change behind."""
        before, kinds = self.kinds.get(now.name, {}), now.relation.kinds
        found = {}
        for column in (c for c in described.columns if c.name in planned):
            name, as_bytes = column.name, is_bytes(arrow_type(planned[column.name].type))
            declared = base_type(kinds[name]) if name in kinds else ""
            found[name] = kind_of(column, before=before.get(name, ""), now=declared, as_bytes=as_bytes)
        self.kinds[now.name] = {name: kind for name, kind in found.items() if kind in HIDDEN}
        return found


__all__ = ["Shapes"]
