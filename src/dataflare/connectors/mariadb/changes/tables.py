"""The tables whose changes are followed: by which key rows are told apart, and what their changes tell."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from dataflare.changes import changing
from dataflare.component import Stream
from dataflare.connectors.mariadb.catalogue import CASCADES, COMPUTED, FOLLOWED
from dataflare.connectors.mariadb.relations import base_type, relations
from dataflare.connectors.mariadb.replication.kinds import HIDDEN
from dataflare.connectors.mariadb.replication.rows import TablePlan
from dataflare.errors import UnavailableError, WorkflowError
from dataflare.plan_words import EdgeKind
from dataflare.schema import Schema
from dataflare.sql.change_source import Rows
from dataflare.sql.dialect import Table
from dataflare.sql.maria_types import MARIADB

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dataflare.connectors.mariadb.relations import MariaRelation
    from dataflare.connectors.mariadb.session import MariaSession
    from dataflare.connectors.mariadb.settings import MariaSourceConfig

_BITS = {"tinyint": 8, "smallint": 16, "mediumint": 24, "int": 32, "bigint": 64}
_INEXACT = ("float", "double")


class MariaRows(Rows, Protocol):
    """The source, as far as it reads tables."""

    config: MariaSourceConfig
    bytes_read: int

    @property
    def session(self) -> MariaSession:
        """The connection, for questions too: nobody else uses it meanwhile."""
        ...


@dataclass(frozen=True, slots=True)
class FollowedTable:
    """A table and what its changes are.

    `key` tells rows apart; `whole`: by all columns, for want of a key.
    """

    name: str
    table: Table
    relation: MariaRelation
    key: tuple[str, ...]
    whole: bool
    has_before: bool
    zero_is_null: bool

    def number_range(self) -> tuple[int, int] | None:
        """Return the least and the greatest key that there may be, where it is one column of whole numbers."""
        key = self.relation.whole_key()
        if key is None:
            return None
        kind = self.relation.kinds[key]
        bits = _BITS[base_type(kind)]
        return (0, (1 << bits) - 1) if "unsigned" in kind.lower() else (-(1 << bits - 1), (1 << bits - 1) - 1)

    def stream(self, schema: Schema) -> Stream:
        """Return the output, for the columns that are wanted."""
        return Stream(changing(schema, self.key, before=self.has_before), EdgeKind.UPSERT, self.key, marks={})

    def plan(self, schema: Schema) -> TablePlan:
        """Return what the decoder makes of changes, for the planned columns."""
        return TablePlan(self.name, self.key, schema, before=self.has_before, zero_is_null=self.zero_is_null)

    def hidden(self) -> dict[str, str]:
        """Return the types of columns that the log does not tell."""
        kinds = {name: base_type(kind) for name, kind in self.relation.kinds.items()}
        return {name: kind for name, kind in kinds.items() if kind in HIDDEN}

    @property
    def row_key(self) -> tuple[str, ...] | None:
        """By which columns rows are told apart; None: by all that there are."""
        return None if self.whole else self.key

    def refuse_other_key(self, before: Sequence[str] | None) -> None:
        """Raise WorkflowError where the key of rows is not what it was."""
        former = None if before is None else tuple(before)
        if former != self.row_key:
            was, now = ("none" if names is None else ", ".join(names) for names in (former, self.row_key))
            raise WorkflowError(
                f"the key of {self.table} was {was} and is {now} now, so its changes do not go together any more",
                hint="name the former columns in `key`, if they are still there; or give the workflow another id",
            )


def followed(session: MariaSession, config: MariaSourceConfig, *, locked: bool = False) -> dict[str, FollowedTable]:
    """Return the tables by output; raise WorkflowError for one that is not there or whose changes are not logged.

    `locked`: a transaction is open that keeps others from changing them. Else there is one meanwhile: while somebody
    alters a table, the catalogue tells the half of it, or nothing.
    """
    if config.query:
        raise WorkflowError(
            "changes of a query cannot be followed", hint="name table or tables, or read it with mode: full"
        )
    if locked:
        return _followed_all(session, config)
    session.begin()
    try:
        for name in config.outputs().values():
            with suppress(WorkflowError):  # of one that is not there, which is told below
                session.run(f"select 1 from {MARIADB.reference(session.resolved(name))} limit 0")  # noqa: S608 - quoted
        return _followed_all(session, config)
    finally:
        session.rollback()


def _followed_all(session: MariaSession, config: MariaSourceConfig) -> dict[str, FollowedTable]:
    found = relations(session, config)
    names = config.outputs()
    return {output: _followed(session, output, names[output], relation, config) for output, relation in found.items()}


def _followed(
    session: MariaSession, output: str, name: str, relation: MariaRelation, config: MariaSourceConfig
) -> FollowedTable:
    asked = session.resolved(name)
    rows = session.run(FOLLOWED, (asked.schema, asked.name))
    schema, table, kind, engine = rows[0] if rows else (asked.schema, asked.name, "VIEW", "")
    told = Table(table, schema)
    if kind != "BASE TABLE":
        what = "has no changes of its own" if kind == "VIEW" else "keeps its own history, which is logged with it"
        raise WorkflowError(
            f"{told} is no plain table: it {what}", hint="name plain tables, or read it with mode: full"
        )
    if engine != "InnoDB":
        raise WorkflowError(
            f"{told} is of {engine}, whose changes are no transactions",
            hint=f"run: alter table {MARIADB.reference(told)} engine = InnoDB",
        )
    if config.cdc.cascades == "fail" and (links := session.run(CASCADES, (schema, table))):
        raise UnavailableError(
            f"rows of {told} change by the foreign key {links[0][0]} without being logged",
            hint="let it restrict, and change rows by statements; or say cdc: {cascades: skip} to go without them",
        )
    computed = {column for (column,) in session.run(COMPUTED, (schema, table))}
    columns = Schema(tuple(c for c in relation.schema if c.name not in computed))
    _refuse_inexact(columns, relation)
    key = tuple(config.key) or relation.unique
    if lost := computed.intersection(key):
        raise WorkflowError(
            f"{min(lost)} of the key of {told} is computed, and the log does not tell it", hint="name another key"
        )
    whole = not key
    if whole:
        key = tuple(columns.names)
    expressions = {n: e for n, e in relation.columns.items() if n in columns}
    order = {} if whole else {k: relation.at(k) for k in key}
    cut = replace(relation, columns=expressions, schema=columns, order=order, unique=key)
    zero = config.zero_dates == "null"
    return FollowedTable(output, told, cut, key, whole, config.cdc.before, zero)


def _refuse_inexact(schema: Schema, relation: MariaRelation) -> None:
    for column in schema:
        if base_type(relation.kinds[column.name]) in _INEXACT and not column.type.startswith("float"):
            raise WorkflowError(
                f"types: {column.name} is a {relation.kinds[column.name]}, and its text is not in the log",
                hint="read it as float64, and cast it in a mapping",
            )


__all__ = ["FollowedTable", "MariaRows", "followed"]
