"""Looks at all that following changes needs of a server, for `validate --level connect`; changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dataflare.connectors.postgres.changes.publication import (
    publication_problems,
    server_problems,
    slot_problems,
    table_problems,
)
from dataflare.connectors.postgres.changes.slot import Names
from dataflare.connectors.postgres.changes.tables import FollowedTable, followed
from dataflare.errors import DataFlareError

if TYPE_CHECKING:
    from dataflare.component import StageContext
    from dataflare.connectors.postgres.settings import PostgresSourceConfig
    from dataflare.connectors.postgres.statements import Statements


def wrong(session: Statements, config: PostgresSourceConfig, context: StageContext) -> list[DataFlareError]:
    """Return all that would keep changes from being followed, each with its cure."""
    names = Names.of(config.cdc, context)
    found: list[DataFlareError] = list(server_problems(session))
    tables: list[FollowedTable] = []
    for output, name in config.outputs().items() if not config.query else [("", "")]:
        one = config.model_copy(update={"table": name, "tables": [], "types": {}})
        try:
            tables += [t for t in followed(session, one).values() if output is not None]
        except DataFlareError as error:
            found.append(error)
    found += table_problems(session, config.cdc, names, tables, context.mode)
    found += publication_problems(session, names, tables, context.mode)
    found += slot_problems(session, config.cdc, names)
    return found


__all__ = ["wrong"]
