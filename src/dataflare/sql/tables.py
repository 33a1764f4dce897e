"""The tables of a destination as its plan needs them: the target, the fresh one beside it, and what waits in others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dataflare.sql.altering import Comparison, Orders, comparison_of
from dataflare.sql.ddl import create_table, drop_table
from dataflare.sql.following import Following
from dataflare.sql.naming import Owner, current_index
from dataflare.sql.surroundings import no_column, no_index, no_table

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dataflare.component.alteration import Alteration
    from dataflare.schema import Schema
    from dataflare.sql.dialect import Dialect, Table
    from dataflare.sql.session import Session
    from dataflare.sql.ways import Way


@dataclass(frozen=True, slots=True)
class Tables:
    """Belongs to one open destination. `statements` are those that make an alteration."""

    way: Way
    owner: Owner
    statements: Callable[[Alteration], Sequence[str]]

    def make(self) -> None:
        """Make the target, or let it follow; inside a transaction."""
        session, table, config, shape = self._session, self.way.table, self.way.config, self.way.shape
        found = session.columns(table)
        if found is None:
            if not config.create:
                raise no_table(table)
            session.run(create_table(self.way.dialect, table, shape.target, shape.primary))
            self._index_current()
        else:
            comparison = self._comparison(table)
            if config.new_columns == "error":
                self._refuse_new(comparison)
            Following(session, self.way.context, self.statements).follow(comparison)
        if shape.unique and not session.unique(table, shape.unique):
            raise no_index(table, shape.unique)

    def _refuse_new(self, comparison: Comparison) -> None:
        """Raise WorkflowError where columns would be added, and must not."""
        for alteration in comparison.alterations(self._session.definitions(comparison.table)):
            if alteration.kind == "add":
                raise no_column(comparison.table, alteration.column)

    def make_fresh(self, fresh: Table, *, renew: bool) -> None:
        """Drop the fresh table of a run that is over; else columns changed in the middle of one, and it follows too."""
        if self._session.columns(fresh) is None:
            return  # dropping what is not there takes a privilege as well
        if renew or not self.way.goes_beside:
            self._session.run(drop_table(self.way.dialect, fresh))
        else:
            self._quietly(self._comparison(fresh))

    def complete_stage(self, stage: Table, dialect: Dialect, staged: Schema) -> None:
        """Rows were staged by an older plan: give them the columns that they would have now."""
        orders = Orders.of({**self.way.context.ddl, "policy": "evolve", "drop": ()})
        if self._session.columns(stage) is not None:
            self._quietly(Comparison(dialect, stage, staged, self.way.shape.key, orders))

    def _quietly(self, comparison: Comparison) -> None:
        Following(self._session, self.way.context, lambda a: a.statements, speaks=False).follow(comparison)

    def _comparison(self, table: Table) -> Comparison:
        return comparison_of(self.way.dialect, table, self.way.shape, self.way.context)

    def _index_current(self) -> None:
        """Find the current version of a row fast, and let there be one only."""
        way = self.way
        if way.context.write_mode == "scd2" and way.dialect.partial_indexes:
            index, current = current_index(self.owner), way.config.history.is_current
            key = way.shape.target.select(way.shape.key)
            self._session.run(way.dialect.index_current(index, way.table, key, current))

    @property
    def _session(self) -> Session:
        return self.way.session


__all__ = ["Tables"]
