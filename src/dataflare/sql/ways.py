"""Says for a write mode how rows are staged, and how they get from staging tables into the target."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dataflare.changes import COMMIT_TS, OP, TX
from dataflare.sql.change_rows import as_log, check_keys, staged_changes, timed
from dataflare.sql.fitting import conformed
from dataflare.sql.history import History
from dataflare.sql.merging import Merge
from dataflare.sql.staged_rows import StagedRows, Told
from dataflare.sql.writing import Move, delete_keys, move

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pyarrow as pa

    from dataflare.component import StageContext
    from dataflare.schema import Column
    from dataflare.sql.applying import Applying
    from dataflare.sql.dialect import Dialect, Table
    from dataflare.sql.session import Session
    from dataflare.sql.settings import SqlDestinationConfig
    from dataflare.sql.shape import Shape

_KEYED = ("merge", "insert_only", "update", "delete_insert")
NEED_KEYS = ("merge", "insert_only", "delete_insert")
"""In these modes rows without a key would be added anew by each run, where a unique index lets them in."""


@dataclass(frozen=True, slots=True)
class Way:
    """The way of one write mode into one table.

    `expression` gives the SQL expression that makes of a staged column what a column of the target takes; `comparable`
    what follows the name of a column where its values are compared.
    """

    dialect: Dialect
    table: Table
    shape: Shape
    context: StageContext
    config: SqlDestinationConfig
    expression: Callable[[Column, str], str]
    comparable: Callable[[str], str]
    session: Session

    @property
    def key(self) -> tuple[str, ...]:
        """The key by which rows are told apart; nothing where they are inserted."""
        return self.shape.key if self.context.write_mode in _KEYED else ()

    @property
    def goes_beside(self) -> bool:
        """Whether rows go into a fresh table until the run is finished."""
        mode = self.context.write_mode
        return mode == "overwrite" or (mode == "delete_insert" and self.config.replaces == "run")

    @property
    def is_straight(self) -> bool:
        """Whether rows are inserted as they are, and can be sent into the target or the fresh table at once."""
        return not self.shape.changes and (self.goes_beside or self.context.write_mode == "append")

    @property
    def gathers(self) -> bool:
        """Whether all rows of an epoch must be there before any of them goes into the target."""
        mode = self.context.write_mode
        latest = mode == "scd2" and self.shape.plain and not self.config.history.at
        return latest or (mode == "delete_insert" and not self.goes_beside)

    @property
    def numbers_rows(self) -> bool:
        """Whether staging tables number their rows: where the first or the last of a key must be told."""
        orders = self.context.write_mode == "update" or not self.dialect.repeats
        return self.shape.changes or (orders and self.context.write_mode in ("merge", "insert_only", "update"))

    def fitted(self, rows: pa.Table, schema: pa.Schema) -> pa.Table:
        """Return rows in the columns of a staging table; raise DataError for those that are none of it."""
        if self.shape.changes:
            at = self.config.history.at if self.context.write_mode == "scd2" else ""
            timely = timed(rows, at) if at else rows
            return staged_changes(timely, self.shape, schema, self.table, self.context.epoch_time())
        logged = as_log(rows, self.config.changes.named()) if OP in rows.column_names else rows
        found = conformed(logged, schema, self.table)
        if self.context.write_mode in NEED_KEYS:
            check_keys(found, self.shape.key, self.table)
        return found

    def bring(self, stages: Sequence[Table], target: Table, told: Told | None = None) -> int:
        """Bring the rows of staging tables into the target; return how many `insert_only` left out.

        `told`: what is known of them.
        """
        told = told or Told()
        run = self.session.run
        if not stages:
            return 0
        if self.shape.changes:
            rows = StagedRows(self.dialect, stages, tuple(self.shape.staged.names), run, told)
            self._applying().apply(rows, may_be_unchanged=self.shape.may_be_unchanged)
            return 0
        way = self._move()
        if self.gathers:
            for stage in stages:
                run(delete_keys(self.dialect, way, stage, target))
        moves = [move(self.dialect, way, stage, target, unique=told.unique) for stage in stages]
        if self.context.write_mode != "insert_only":
            for statement in moves:
                run(statement)
            return 0
        came = sum(run(f"select count(*) from {self.dialect.reference(stage)}")[0][0] for stage in stages)  # noqa: S608
        return int(came - sum(self.session.written(statement) for statement in moves))

    def replace_keys(self, fresh: Table, table: Table) -> None:
        """Let the rows of a fresh table take the place of those with the same keys."""
        own = Move(self.shape.values, self.key)
        self.session.run(delete_keys(self.dialect, own, fresh, table))
        self.session.run(move(self.dialect, own, fresh, table))

    def _move(self) -> Move:
        values = {c.name: self.expression(c, c.name) for c in self.shape.staged}
        return Move(self.shape.values, self.key, values, self.context.write_mode)

    def _applying(self) -> Applying:
        """Return how changes are applied to the target."""
        staged, config = self.shape.staged, self.config
        values = {c: self.expression(staged[c], c) for c in self.shape.values}
        head = (self.dialect, self.table, self.shape.key, values, config.deletes == "ignore")
        if self.context.write_mode == "scd2":
            told = config.history
            return History(
                *head,
                valid_from=told.valid_from,
                valid_to=told.valid_to,
                is_current=told.is_current,
                at=self.expression(staged[COMMIT_TS], told.valid_from),
                compared={c: self.comparable(c) for c in values},
                last_only=self.gathers,
            )
        kept, name = dict(self.shape.kept), config.deleted_at
        return Merge(
            *head,
            kept={into: self.expression(staged[c], into) for c, into in kept.items()},
            deleted_at=(name, self.expression(staged[COMMIT_TS], name)) if config.deletes == "soft" else None,
            place=kept.get(TX, ""),
        )


__all__ = ["NEED_KEYS", "Way"]
