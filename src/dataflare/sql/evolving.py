"""What a table that is followed has become, beside what the workflow was planned with (decision 0042)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from dataflare.component.evolution import Policy, data_columns, evolve, remembered
from dataflare.errors import SchemaChangedError
from dataflare.monitoring.events import Noticed
from dataflare.schema import Schema

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dataflare.component import StageContext, Stream
    from dataflare.component.known import Known


class Evolvable(Protocol):
    """A table that is followed, as it is at a moment."""

    @property
    def name(self) -> str:
        """The output."""
        ...

    @property
    def table(self) -> Any:
        """What it is called."""
        ...

    @property
    def relation(self) -> Any:
        """What is read of it: `schema` has its columns."""
        ...

    def stream(self, schema: Schema) -> Stream:
        """Return the output, for the columns that are wanted."""
        ...


class Comparing:
    """Compares tables as they are now with the plan; tells each thing once. `columns` are those that are declared."""

    def __init__(
        self, context: StageContext, columns: Mapping[str, Any] | None, opened: Mapping[str, Evolvable]
    ) -> None:
        """Know the tables as they were when the source was opened."""
        self._context, self._columns, self._opened = context, columns, opened
        self._told: set[str] = set()

    def compare(self, now: Evolvable) -> None:
        """Raise SchemaChangedError where a table needs another plan, WorkflowError where the contract refuses that.

        What is left out is told.
        """
        wanted = now.relation.schema if self._columns is None else Schema.of(self._columns)
        known = self.known(now.name)
        evolved = evolve(known, now.stream(wanted), Policy.of(self._context.contract))
        if (error := evolved.refused(str(now.table))) is not None:
            raise error
        if [(c.name, c.type, c.held) for c in evolved.known] != [(c.name, c.type, c.held) for c in known]:
            raise SchemaChangedError(f"{now.table}: {'; '.join(map(str, evolved.changes))}")
        for change in evolved.changes:
            self._tell("schema.left_out", f"{now.table}: {change}, which is left out")

    def gone(self, table: Any, column: str) -> None:
        """Tell that the log has values of a column that nobody knows any more."""
        self._tell("schema.gone", f"{table}: column {column} of the log is not there any more: it is not read")

    def known(self, name: str) -> Known:
        """Return the columns that a table was planned with; those that it was opened with, if nobody knows."""
        known = self._context.known.get(name)
        if known is None:
            known = remembered(self._opened[name].stream(data_columns(self._context.schemas[name])))
        return known

    def _tell(self, code: str, what: str) -> None:
        if what not in self._told:
            self._told.add(what)
            self._context.emit(Noticed(self._context.workflow, code, what, self._context.node))


__all__ = ["Comparing", "Evolvable"]
