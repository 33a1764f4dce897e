"""Lets a table follow the columns that come: makes alterations, one after another, and tells what was done and not."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dataflare.errors import DataError, UnavailableError, WorkflowError
from dataflare.monitoring.events import Noticed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dataflare.component import StageContext
    from dataflare.component.alteration import Alteration
    from dataflare.errors import DataFlareError
    from dataflare.sql.altering import Comparison, Orders
    from dataflare.sql.session import Session

_PHASES = ("rename", "add", "drop", "retype", "nullable")
_REFUSALS = (WorkflowError, DataError, UnavailableError)
"""How a database says no; what may be otherwise next time is none."""


@dataclass(slots=True)
class Following:
    """Belongs to one open destination, whose transaction is open where the database alters tables in one.

    `statements` are those that make an alteration; `speaks`: what is done is told.
    """

    session: Session
    context: StageContext
    statements: Callable[[Alteration], Sequence[str]]
    speaks: bool = True

    def follow(self, comparison: Comparison) -> None:
        """Alter the table; raise WorkflowError where it must be altered, and may not be or cannot be."""
        session, table = self.session, comparison.table
        if not comparison.alterations(session.definitions(table)):
            return
        for kind in _PHASES:
            for alteration in comparison.alterations(session.definitions(table)):
                if alteration.kind == kind:
                    self._make(comparison, alteration)
            if kind == "rename":  # one that was refused is a column that is missing
                comparison = replace(comparison, orders=comparison.orders.without_renames())

    def _make(self, comparison: Comparison, alteration: Alteration) -> None:
        if alteration.verdict == "refuse":
            raise refused(alteration)
        if alteration.verdict == "leave":
            self._tell("schema.not_altered", left(alteration))
            return
        try:
            self._attempt(comparison, alteration)
        except _REFUSALS as error:
            if alteration.kind == "add":
                raise
            if _must(comparison.orders, alteration):
                raise failed(alteration, error) from error
            self._tell("schema.not_altered", f"{left(alteration)}: {error.what}")
            return
        self._tell("schema.altered", f"table {alteration.table}: {alteration}")

    def _attempt(self, comparison: Comparison, alteration: Alteration) -> None:
        """Make it as a whole or not at all, whatever else the transaction has done."""
        session, dialect = self.session, comparison.dialect
        alone = not dialect.savepoints and not dialect.definitions_commit
        if alone:
            self._again()
        elif dialect.savepoints:
            session.run("savepoint _dataflare_alter")
        try:
            self._run(alteration)
        except _REFUSALS:
            if alone:
                session.rollback()
                self._again()
            elif dialect.savepoints:
                session.run("rollback to savepoint _dataflare_alter")
            raise
        if dialect.savepoints:
            session.run("release savepoint _dataflare_alter")

    def _run(self, alteration: Alteration) -> None:
        if alteration.losing and self.session.run(alteration.losing):
            raise DataError(
                f"a value of {alteration.column} would not be what it is as {alteration.now}",
                hint="change it in the table, or the type in a mapping before",
            )
        for statement in self.statements(alteration):
            self.session.run(statement)

    def _again(self) -> None:
        """Commit what there is, and go on in a transaction of its own."""
        session = self.session
        if session.in_transaction:
            session.commit()
        session.begin()
        session.lock_definitions()

    def _tell(self, code: str, message: str) -> None:
        if self.speaks and self.context.index == 0:
            self.context.emit(Noticed(self.context.workflow, code, message, self.context.node))


def left(alteration: Alteration) -> str:
    """Return the notice of what stays as it is, and what that means."""
    match alteration.kind:
        case "retype":
            what = f"column {alteration.column} stays {alteration.was} and does not become {alteration.now}"
            return f"table {alteration.table}: {what}; a value that does not fit it is an error"
        case "drop":
            return f"table {alteration.table}: column {alteration.column} is not dropped"
        case "nullable":
            return f"table {alteration.table}: column {alteration.column} still must not be null"
    return f"table {alteration.table}: column {alteration.was} is not renamed to {alteration.now}"


def refused(alteration: Alteration) -> WorkflowError:
    """Return the error of an alteration that the policy forbids."""
    return WorkflowError(
        f"table {alteration.table} would need a change that ddl forbids: {alteration}",
        hint=f"make it by hand: {alteration.statement}; or let ddl be lenient",
    )


def failed(alteration: Alteration, error: DataFlareError) -> WorkflowError:
    """Return the error of an alteration that the database refuses."""
    return WorkflowError(
        f"table {alteration.table} cannot follow: {alteration}: {error.what}",
        hint=f"make it by hand: {alteration.statement}; or let ddl be try_evolve",
    )


def _must(orders: Orders, alteration: Alteration) -> bool:
    """Tell whether a refusal ends the run."""
    return orders.policy == "evolve" or (alteration.kind == "rename" and orders.policy == "lenient")


__all__ = ["Following", "failed", "left", "refused"]
