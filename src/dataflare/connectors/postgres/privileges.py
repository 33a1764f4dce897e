"""Asks PostgreSQL what the user of a connection may not do to a table, before anybody tries."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dataflare.errors import UnavailableError, WorkflowError
from dataflare.sql.dialect import Table
from dataflare.sql.naming import EPOCHS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dataflare.connectors.postgres.statements import Statements
    from dataflare.errors import DataFlareError

_NEEDED = {
    "append": ("insert",),
    "merge": ("insert", "select", "update"),
    "insert_only": ("insert", "select"),
    "update": ("select", "update"),
    "delete_insert": ("insert", "select", "delete"),
    "scd2": ("insert", "select", "update"),
    "deletes": ("insert", "select", "update", "delete"),
    "overwrite": ("insert", "select", "delete"),
}
_SCHEMA = (
    "select has_schema_privilege(oid, 'usage'), has_schema_privilege(oid, 'create') from pg_namespace "
    "where nspname = $1::text"
)
_TABLE = (
    "select has_table_privilege(c.oid, $3::text) from pg_class c join pg_namespace n on n.oid = c.relnamespace "
    "where n.nspname = $1::text and c.relname = $2::text"
)
_CURE = "give the user of the connection the privilege: grant {} to ..."


def refused(session: Statements, table: Table, action: str, *, create: bool) -> Iterator[DataFlareError]:
    """Yield what would stop a destination from writing the table and its own table of epochs beside it.

    `action` is its write mode, or `deletes`: a merge that removes rows as well.
    """
    ((standby,),) = session.run("select pg_is_in_recovery()")
    if standby:
        yield UnavailableError("the server is a standby, which can only be read", hint="write to the primary")
    found = session.run(_SCHEMA, (table.schema,))
    if not found:
        yield WorkflowError(f"there is no schema {table.schema}", hint="check the schema's name, or make the schema")
        return
    ((usage, making),) = found
    if not usage:
        what = f"the user may not use schema {table.schema}"
        yield UnavailableError(what, hint=_CURE.format(f"usage on schema {table.schema}"))
        return
    epochs = Table(EPOCHS, table.schema)
    there = {name for name in (table, epochs) if session.columns(name) is not None}
    if not making and (epochs not in there or (create and table not in there)):
        what = f"the user may not make tables in schema {table.schema}"
        yield UnavailableError(what, hint=_CURE.format(f"create on schema {table.schema}"))
    wanted = {table: _NEEDED.get(action, ("insert",)), epochs: ("insert", "select", "update")}
    for name in there:
        lacking = [p for p in wanted[name] if not _may(session, name, p)]
        if lacking:
            what = f"the user may not {' or '.join(lacking)} {'into ' if lacking == ['insert'] else ''}{name}"
            yield UnavailableError(what, hint=_CURE.format(f"{', '.join(lacking)} on {name}"))


def _may(session: Statements, table: Table, privilege: str) -> bool:
    return bool(session.run(_TABLE, (table.schema, table.name, privilege))[0][0])


__all__ = ["refused"]
