"""The table in which a database keeps which epoch of which destination it holds, and the fence before it.

A row is written last in the transaction of its rows, and only while no newer attempt has raised the fence, so that
the epoch and its rows are there together or not at all, and an older attempt changes nothing (invariant 4).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dataflare.component import Epoch
from dataflare.errors import FencedError
from dataflare.sql.naming import EPOCHS, Owner

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dataflare.sql.dialect import Dialect, Table

_KEY, _FACTS = ("tenant", "workflow", "node"), ("fence", "epoch", "attempt", "finished")


@dataclass(frozen=True, slots=True)
class EpochRow:
    """What the table says of one destination: the fence, the last epoch (0: none) and its attempt.

    `finished` is the epoch after which `finish` was done: a finish that is called again does nothing.
    """

    fence: int
    epoch: int
    attempt: int
    finished: int

    def last(self) -> Epoch | None:
        """Return the last epoch, if there is one."""
        return Epoch(self.epoch, self.attempt) if self.epoch else None


class Epochs:
    """The row of one destination. `run` executes a statement with parameters and returns its rows."""

    def __init__(self, dialect: Dialect, table: Table, owner: Owner, run: Callable[..., list[tuple[Any, ...]]]) -> None:
        """Touch nothing yet. `table` lies where the rows go, so that one transaction holds both."""
        self._dialect, self.table, self._owner, self._run = dialect, table, owner, run

    @property
    def _name(self) -> str:
        return self._dialect.reference(self.table)

    def create(self) -> None:
        """Make the table unless it is there."""
        number, text = self._dialect.column_type("int64"), self._dialect.key_type("string")
        self._run(
            f"create table if not exists {self._name} (tenant {text} not null, workflow {text} not null, "
            f"node {text} not null, fence {number} not null, epoch {number} not null, attempt {number} not null, "
            f"finished {number} not null, primary key (tenant, workflow, node))"
        )

    def raise_fence(self, attempt: int) -> EpochRow:
        """Let no attempt before this one write any more; raise FencedError if a newer one has done so before."""
        dialect = self._dialect
        values = f"values ({dialect.parameters(4)}, 0, 0, 0)"
        conflict = dialect.conflict(self.table, _KEY, ["fence"], "fence", lambda there, comes: f"({there} > {comes})")
        insertion = dialect.insertion(self.table, (*_KEY, *_FACTS), values, conflict=conflict)
        row = self._changed(insertion, (*self._place(), attempt))
        if row is None or row.fence != attempt:
            raise self._fenced(attempt)
        return row

    def read(self) -> EpochRow | None:
        """Return the row, if there is one."""
        return self._read("")

    def lock(self, attempt: int) -> EpochRow:
        """Return the row and keep others from changing it until the transaction ends; raise FencedError if fenced."""
        row = self._read(" for update" if self._dialect.row_locks else "")
        if row is None or row.fence != attempt:
            raise self._fenced(attempt)
        return row

    def write(self, epoch: Epoch, attempt: int) -> None:
        """Write the epoch, as the last statement before the commit; raise FencedError if fenced."""
        p = self._dialect.parameter
        update = f"update {self._name} set epoch = {p(4)}, attempt = {p(5)} {self._where(6)}"  # noqa: S608
        row = self._changed(update, (*self._place(), epoch.number, epoch.attempt, attempt))
        if row is None or (row.fence, row.epoch, row.attempt) != (attempt, epoch.number, epoch.attempt):
            raise self._fenced(attempt)

    def write_finished(self, attempt: int) -> None:
        """Note that the run which ended with the last epoch is complete; raise FencedError if fenced."""
        update = f"update {self._name} set finished = epoch {self._where(4)}"  # noqa: S608
        row = self._changed(update, (*self._place(), attempt))
        if row is None or (row.fence, row.finished) != (attempt, row.epoch):
            raise self._fenced(attempt)

    def _changed(self, sql: str, parameters: Sequence[Any]) -> EpochRow | None:
        """Execute a statement that changes the row, and return the row as it is then, if it was changed or is there."""
        if self._dialect.returns:
            rows = self._run(f"{sql} returning {', '.join(_FACTS)}", parameters)
            return EpochRow(*rows[0]) if rows else None
        self._run(sql, parameters)
        return self._read(" for update")

    def _where(self, fence: int) -> str:
        p = self._dialect.parameter
        return f"where tenant = {p(1)} and workflow = {p(2)} and node = {p(3)} and fence = {p(fence)}"

    def _read(self, suffix: str) -> EpochRow | None:
        p = self._dialect.parameter
        rows = self._run(
            f"select {', '.join(_FACTS)} from {self._name} "  # noqa: S608
            f"where tenant = {p(1)} and workflow = {p(2)} and node = {p(3)}{suffix}",
            self._place(),
        )
        return EpochRow(*rows[0]) if rows else None

    def _place(self) -> tuple[str, str, str]:
        return self._owner.tenant, self._owner.workflow, self._owner.node

    def _fenced(self, attempt: int) -> FencedError:
        return FencedError(
            f"attempt {attempt} of {self._owner.workflow}/{self._owner.node} was overtaken by a newer one",
            hint=f"if the state of this workflow was removed: remove its row from {self.table} too",
        )


__all__ = ["EPOCHS", "EpochRow", "Epochs"]
