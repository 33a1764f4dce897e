"""Looks at all that following changes needs of a server, for `validate --level connect`; changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Self

from dataflare.connectors.postgres.changes.publication import (
    publication_problems,
    server_problems,
    slot_problems,
    table_problems,
)
from dataflare.connectors.postgres.changes.slot import Names
from dataflare.connectors.postgres.changes.tables import FollowedTable, followed, problem
from dataflare.errors import DataFlareError

if TYPE_CHECKING:
    from dataflare.component import StageContext
    from dataflare.connectors.postgres.settings import PostgresSourceConfig
    from dataflare.connectors.postgres.statements import Statements


class _LeftOutError(DataFlareError):
    """A table that a pattern finds, and that cannot be followed."""

    severity: ClassVar[str] = "warning"
    code = "schema.changed"

    @classmethod
    def of(cls, output: str, error: DataFlareError) -> Self:
        """Say what becomes of it."""
        return cls(
            f"table {output} is left out: {error.what}", hint=f'{error.hint}; or leave it out, such as "!{output}"'
        )


def wrong(session: Statements, config: PostgresSourceConfig, context: StageContext) -> list[DataFlareError]:
    """Return all that would keep changes from being followed, each with its cure."""
    names = Names.of(config.cdc, context)
    found: list[DataFlareError] = list(server_problems(session))
    tables: list[FollowedTable] = []
    for output, name in config.outputs().items() if not config.query else [("", "")]:
        one = config.model_copy(update={"table": name, "tables": [], "types": {}})
        by_pattern = config.by_pattern and not config.names(name)
        try:
            for table in followed(session, one).values():
                if by_pattern and (error := problem(table)) is not None:
                    found.append(_LeftOutError.of(output, error))
                elif output is not None:
                    tables.append(table)
        except DataFlareError as error:
            found.append(_LeftOutError.of(output, error) if by_pattern else error)
    found += table_problems(session, config.cdc, names, tables, context.mode)
    found += publication_problems(session, names, tables, context.mode)
    found += slot_problems(session, config.cdc, names)
    return found


__all__ = ["wrong"]
