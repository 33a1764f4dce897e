"""Tables that come into a workflow under way, and leave it: how they stand, and what they need of the server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dataflare.component import TableStanding
from dataflare.connectors.postgres.changes.publication import (
    late_problems,
    refuse_publication,
    refuse_tables,
    republished,
    told_by_others,
)
from dataflare.connectors.postgres.changes.slot import Names
from dataflare.connectors.postgres.changes.tables import WHOLE_BYTES, exists, followed, refuse_large
from dataflare.sql.dialect import Table
from dataflare.sql.postgres_types import POSTGRES
from dataflare.sql.quoting import split_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dataflare.batch import Position
    from dataflare.component import Split, StageContext
    from dataflare.connectors.postgres.settings import PostgresSourceConfig
    from dataflare.connectors.postgres.statements import Statements


class Admitting:
    """Belongs to one source that is not open; `session` is a connection of its own."""

    def __init__(self, session: Statements, config: PostgresSourceConfig, context: StageContext) -> None:
        """Know the names."""
        self._session, self._config, self._context = session, config, context
        self._names = Names.of(config.cdc, context)

    def standing(self, name: str, opened: Sequence[tuple[Split, Position | None]]) -> TableStanding:
        """Return how a table stands; `name` is that of the table, with its schema or without, or of its output."""
        outputs = self._config.outputs()
        streams = [(s.data["tables"], p or {}) for s, p in opened if isinstance(s.data.get("tables"), dict)]
        known = [Table(n, schema) for told, p in streams for schema, n in (p.get("tables") or told).values()]
        left = [table for table in known if table.name == name]  # it may be followed, and not be named any more
        meant = (
            left[0] if left and name not in outputs else self._session.resolved(*split_name(outputs.get(name, name)))
        )
        found = {o: t for o, t in outputs.items() if self._session.resolved(*split_name(t)) == meant}
        stream = next(iter(found), None)
        lines, statement = self._lines(name, stream), ""
        if stream is None and told_by_others(self._session, self._names, meant):
            publication = POSTGRES.quote(self._names.publication)
            statement = f"alter publication {publication} drop table {POSTGRES.reference(meant)}"
        return TableStanding(str(meant), stream, meant in known, exists(self._session, meant), lines, statement)

    def admit(self, name: str) -> None:
        """Raise what keeps a table from being followed, with its cure; put it into the publication, where we may."""
        config, mode = self._config, self._context.mode
        told = config.outputs().get(name, name)
        one = config.model_copy(update={"table": told, "tables": [], "types": {}})
        tables = list(followed(self._session, one).values())
        if mode == "hybrid":
            refuse_large(self._session, tables, WHOLE_BYTES)
        refuse_tables(self._session, config.cdc, self._names, tables, mode)
        if republished(self._session, config.cdc, self._names, tables, []):
            for _, error in late_problems(self._session, config.cdc, self._names, tables, mode):
                raise error
            refuse_publication(self._session, self._names, tables, mode)

    def _lines(self, name: str, stream: str | None) -> str:
        """Return the lines by which the settings name a table, or name it no more."""
        config, node = self._config, self._context.node
        told = [config.table] if config.table else [*config.tables]
        if stream is not None:
            left = [t for output, t in config.outputs().items() if output != stream]
            read = f"{node}.{stream}" if stream else node
            return f"write under sources.{node}.config: tables: [{', '.join(left)}]; and take out what reads {read}"
        one = config.model_copy(update={"table": "", "tables": [*told, name]})
        read = next(output for output, table in one.outputs().items() if table == name)
        instead = f" instead of table: {config.table}" if config.table else ""
        moved = [f"{node}.{o}" for o, t in one.outputs().items() if t != name and o not in config.outputs()]
        renamed = f"; the other table is {moved[0]} then" if moved else ""
        return (
            f"write under sources.{node}.config: tables: [{', '.join(one.tables)}]{instead}; "
            f"and let a destination read it, inputs: [{node}.{read}]{renamed}"
        )


__all__ = ["Admitting"]
