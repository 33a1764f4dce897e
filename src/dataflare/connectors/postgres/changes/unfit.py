"""Tables that a pattern finds and that cannot be followed, each with why: a scratch table must not end a run."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from dataflare.connectors.postgres.changes.publication import late_problems
from dataflare.connectors.postgres.changes.slot import Names
from dataflare.connectors.postgres.changes.tables import WHOLE_BYTES, FollowedTable, followed, problem, refuse_large
from dataflare.errors import DataFlareError, WorkflowError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dataflare.component import StageContext
    from dataflare.connectors.postgres.settings import PostgresSourceConfig
    from dataflare.connectors.postgres.statements import Statements


def fit_tables(
    session: Statements, config: PostgresSourceConfig, *, gently: bool = False, alone: bool = True
) -> tuple[dict[str, FollowedTable], dict[str, DataFlareError]]:
    """Return by output the tables whose changes can be told apart, and why not of the others.

    Raises WorkflowError for one of those that the settings name as it is called; `alone`: and where there is no other.
    """
    tables, errors = _each(session, config, gently=gently)
    for output, table in list(tables.items()):
        if (wrong := problem(table)) is not None:
            del tables[output]
            errors[output] = wrong
    told = config.outputs()
    for output, error in errors.items():
        if config.names(told[output]) or (alone and not tables):
            raise error
    return tables, errors


def late_tables(
    session: Statements, config: PostgresSourceConfig, context: StageContext, tables: Mapping[str, FollowedTable]
) -> dict[str, DataFlareError]:
    """Return by output why tables cannot come beside others that are followed."""
    errors: dict[str, DataFlareError] = {}
    for output, table in tables.items() if context.mode == "hybrid" else ():
        try:
            refuse_large(session, [table], WHOLE_BYTES)
        except DataFlareError as error:
            errors[output] = error
    found = late_problems(session, config.cdc, Names.of(config.cdc, context), tables.values(), context.mode)
    return {**{table.name: error for table, error in found}, **errors}


def _each(
    session: Statements, config: PostgresSourceConfig, *, gently: bool
) -> tuple[dict[str, FollowedTable], dict[str, DataFlareError]]:
    try:
        return followed(session, config, gently=gently), {}
    except WorkflowError:
        tables, errors = dict[str, FollowedTable](), dict[str, DataFlareError]()
    for output, name in config.outputs().items():
        one = config.model_copy(update={"table": name, "tables": [], "types": {}})
        try:
            (table,) = followed(session, one, gently=gently).values()
        except WorkflowError as error:
            errors[output] = error
        else:
            tables[output] = replace(table, name=output)
    return tables, errors


__all__ = ["fit_tables", "late_tables"]
