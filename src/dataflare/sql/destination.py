"""The destination protocol over one SQL connection: epochs under a fence, staging tables, the swap of `overwrite`.

A connector says how to connect, how rows get into a table, and how a loaded table takes the place of another.

- direct: rows and the epoch row are committed by one transaction.
- staged: `prepare` leaves the rows in a durable table named by attempt and epoch; `commit` moves the tables of all
  handles and drops them, in one transaction with the epoch row. An epoch that is there already changes nothing.
- overwrite, and delete_insert by runs: rows go into a fresh table, epoch by epoch; `finish` lets it take the place of
  the target, or of those of its rows that have the same keys, once per run.
"""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import pyarrow as pa

from dataflare.batch import Encoded
from dataflare.component import DestinationConnector, Epoch
from dataflare.errors import DataFlareError, StateError, WorkflowError
from dataflare.monitoring.events import Noticed
from dataflare.plan_words import Mechanism
from dataflare.sql.ddl import drop_table
from dataflare.sql.dialect import Dialect, Table
from dataflare.sql.epochs import Epochs
from dataflare.sql.naming import EPOCHS, Owner, attempt_of, fresh_table, stage_prefix, stage_table
from dataflare.sql.quoting import quoted
from dataflare.sql.settings import SqlDestinationConfig
from dataflare.sql.shape import shape_of
from dataflare.sql.surroundings import Wishes, table_problems, would_alter
from dataflare.sql.tables import Tables
from dataflare.sql.ways import Way

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from dataflare.batch import Batch
    from dataflare.component import Handle
    from dataflare.component.alteration import Alteration
    from dataflare.schema import Column, Schema
    from dataflare.sql.session import Session
    from dataflare.sql.shape import Shape
    from dataflare.sql.staged_rows import Told

D = TypeVar("D", bound=SqlDestinationConfig)
LOAD_ROWS_MAX = 1 << 17
LOAD_BYTES_MAX = 32 << 20


class SqlDestination(DestinationConnector[D]):
    """What SQL destinations share."""

    dialect: Dialect

    def __init__(self, config: D) -> None:
        """Connect later."""
        super().__init__(config)
        self._session: Session | None = None
        self._held: list[pa.Table] = []
        self._needless: list[Table] = []
        self._held_rows = self._held_bytes = self._loaded_rows = self._parts = self._left_out = 0

    # ---- what a connector says ----------------------------------------------------------------------------------

    @abstractmethod
    def connect(self) -> Session:
        """Return a new connection."""

    @abstractmethod
    def target(self) -> Table:
        """Return the table that the settings name; the connection is there."""

    @abstractmethod
    def load(self, rows: pa.Table) -> None:
        """Take rows of `self.schema` into what the epoch has so far; nothing of it is durable yet."""

    @abstractmethod
    def bring(self) -> None:
        """Direct: see to it that all rows of the epoch are in the target, inside the open transaction."""

    @abstractmethod
    def stage(self, table: Table) -> int:
        """Staged: leave the rows since the last call durable in this table, which holds nothing else; count them."""

    @abstractmethod
    def forget(self) -> None:
        """Direct: the epoch is committed: hold no rows of it any more."""

    @abstractmethod
    def copy_definition(self, table: Table, fresh: Table) -> None:
        """Make an empty table like another one, indexes and all, unless it is there."""

    @abstractmethod
    def swap(self, fresh: Table, table: Table) -> None:
        """Let the rows of the first table be those of the second, and the first be gone; inside a transaction."""

    def prepare_session(self) -> None:
        """Do what a connector needs once tables are there."""

    def expression(self, column: Column, into: str) -> str:
        """Return the SQL expression that makes of a staged column what a column of the target takes."""
        del into
        return self.dialect.quote(column.name)

    def comparable(self, column: str) -> str:
        """Return what follows the name of a column of the target where two of its values are compared."""
        del column
        return ""

    def altering(self, alteration: Alteration) -> Sequence[str]:
        """Return the statements that alter the target; the connection is there."""
        return alteration.statements

    def staged_columns(self) -> tuple[Dialect, Schema]:
        """Return the columns of staging tables, and the dialect that they are made in."""
        return self.dialect, self.schema

    def load_encoded(self, rows: Encoded) -> None:
        """Take rows as bytes into what the epoch has so far; for the codecs of the connector's spec."""
        raise TypeError(f"{type(self).__name__} takes no {rows.codec}")

    def looking(self) -> Session | None:
        """Return a connection that changes nothing by being there; None where there is nothing to look at yet."""
        return self.connect()

    def privileges(self, table: Table) -> Iterable[DataFlareError]:
        """Return what this user may not do to the table; the connection is there."""
        del table
        return ()

    def codecs(self) -> Sequence[str]:
        """Take bytes in the modes that look at no row of them."""
        looks = self.context.write_mode in ("delete_insert", "scd2")
        return () if looks else super().codecs()

    def refusals(self) -> Iterator[DataFlareError]:
        """Tell whether the settings, the write mode and the rows go together."""
        try:
            shape_of(self.context, self.config)
        except WorkflowError as error:
            yield error

    @classmethod
    def current_rows(cls, config: Mapping[str, Any], write_mode: str) -> tuple[str, Mapping[str, str]] | None:
        """Leave out soft-deleted rows and former versions."""
        if write_mode == "scd2":
            name = config.get("history", {}).get("is_current", "is_current")
            return quoted(name), {name: "bool"}
        if write_mode == "merge" and config.get("deletes") == "soft":
            name = config.get("deleted_at", "_deleted_at")
            return f"{quoted(name)} is null", {name: "timestamp"}
        return None

    # ---- what the engine calls ----------------------------------------------------------------------------------

    def check(self) -> list[DataFlareError]:
        """Connect, and look whether the table takes the rows, or may be made; tell what would be altered."""
        with self._looked() as session:
            if session is None:
                return []
            table = self.target()
            found = [*table_problems(session, self.dialect, table, Wishes(self.context, self.config))]
            return [*found, *self.privileges(table)]

    def alterations(self) -> Sequence[Alteration]:
        """Compare the table that is there with the columns that come."""
        with self._looked() as session:
            if session is None:
                return []
            return would_alter(session, self.dialect, self.target(), Wishes(self.context, self.config))

    @contextmanager
    def _looked(self) -> Iterator[Session | None]:
        """Give a connection that changes nothing, if there is something to look at."""
        self._session = self.looking()
        try:
            yield self._session
        finally:
            self.close()

    def open(self) -> None:
        """Connect, raise the fence, make or complete the tables."""
        context = self.context
        self.shape: Shape = shape_of(context, self.config)
        self.schema: Schema = self.shape.staged
        self.arrow_schema: pa.Schema = self.schema.to_arrow()
        self._owner = Owner(context.tenant, context.workflow, context.node)
        self._session = self.connect()
        self.table = self.target()
        schema = self.table.schema
        way = (context, self.config, self.expression, self.comparable, self._session)
        self.way = Way(self.dialect, self.table, self.shape, *way)
        self._epochs = Epochs(self.dialect, Table(EPOCHS, schema), self._owner, self._session.run)
        self._fresh = Table(fresh_table(self._owner), schema)
        self._columns = hashlib.sha256(repr(self.schema.to_json()).encode()).hexdigest()[:12]
        self._tables = Tables(self.way, self._owner, self.altering)
        with self._transaction():
            self._session.lock_definitions()
            if self._session.columns(Table(EPOCHS, schema)) is None:
                self._epochs.create()
        with self._transaction():
            row = self._epochs.raise_fence(context.attempt)
        with self._transaction():
            self._session.lock_definitions()
            self._tables.make()
            self._tables.make_fresh(self._fresh, renew=row.finished == row.epoch)
            self._fresh_is_there = False
            self.destination_table()
        self.prepare_session()

    def last_epoch(self) -> Epoch | None:
        """Return the epoch that the table holds."""
        row = self._epochs.read()
        return row.last() if row is not None else None

    def write(self, batch: Batch) -> None:
        """Hold rows until they are worth a round trip; bytes are."""
        if isinstance(batch.payload, Encoded):
            self._loaded_rows += batch.num_rows
            with self._undone_if_it_fails():
                self.load_encoded(batch.payload)
            return
        rows = batch.rows
        if rows.num_rows == 0:
            return
        rows = self.way.fitted(rows, self.arrow_schema)
        self._held.append(rows)
        self._held_rows += rows.num_rows
        self._held_bytes += rows.nbytes
        if self._held_rows >= LOAD_ROWS_MAX or self._held_bytes >= min(
            LOAD_BYTES_MAX, self.context.budget.memory_bytes_max // 4
        ):
            self._flush()

    def prepare(self, epoch: Epoch) -> Sequence[Handle]:
        """Send what is held; a staged destination hands over a table if there are rows."""
        self._flush()
        if self.context.mechanism is Mechanism.DIRECT:
            return ()
        self._parts += 1
        part = f"{self.context.index}_{self._parts}"
        table = Table(stage_table(self._owner, epoch.attempt, epoch.number, part), self.table.schema)
        with self._undone_if_it_fails():
            rows = self.stage(table)
        return [{"table": table.name, "rows": rows, "columns": self._columns}] if rows else ()

    def commit(self, epoch: Epoch, handles: Sequence[Handle]) -> None:
        """Make the epoch durable, the row in the epoch table last."""
        if self.context.mechanism is Mechanism.DIRECT:
            self._flush()
            with self._transaction():
                if self._is_repeated(epoch):
                    return
                self.bring()
                self._epochs.write(epoch, self.context.attempt)
            self._loaded_rows = 0
            self.forget()
            return
        target = self.destination_table()
        self._complete_stages(handles)
        with self._transaction():
            if self._is_repeated(epoch):
                return
            stages = [Table(handle["table"], self.table.schema) for handle in handles]
            for stage in stages:
                self._find(stage, epoch)
            self._left_out += self.way.bring(stages, target)
            for stage in stages:
                self.drop(stage)
            self._epochs.write(epoch, self.context.attempt)

    def abort(self, keep: Sequence[Handle]) -> None:
        """Drop the staging tables of older attempts."""
        kept = {h["table"] for h in keep}
        schema = self.table.schema
        for name in self.session.tables(Table(stage_prefix(self._owner), schema)):
            attempt = attempt_of(name, self._owner)
            if attempt is not None and attempt < self.context.attempt and name not in kept:
                self.drop(Table(name, schema))

    def finish(self) -> None:
        """Let the fresh table take the target's place, or that of its keys, unless this run has done so."""
        if self._left_out:
            what = f"{self._left_out:,} rows were left out: their key was there already"
            self.context.emit(Noticed(self.context.workflow, "rows.left_out", what, self.context.node))
            self._left_out = 0
        if not self.way.goes_beside:
            return
        with self._transaction():
            row = self._epochs.lock(self.context.attempt)
            if row.finished == row.epoch:
                self.drop(self._fresh)
            else:
                self._take_place()
                self._epochs.write_finished(self.context.attempt)
        self._fresh_is_there = False

    def close(self) -> None:
        """Disconnect; what was not committed is gone."""
        session, self._session = self._session, None
        if session is not None:
            session.close()

    # ---- what connectors use ------------------------------------------------------------------------------------

    @property
    def session(self) -> Session:
        """The open connection."""
        assert self._session is not None, "the destination is not open"
        return self._session

    def destination_table(self) -> Table:
        """Return the table that takes the rows of this run: the target, or the fresh table beside it."""
        if not self.way.goes_beside:
            return self.table
        if not self._fresh_is_there:
            self.copy_definition(self.table, self._fresh)
            self._fresh_is_there = True
        return self._fresh

    def move_from(self, stages: Sequence[Table], told: Told | None = None) -> None:
        """Bring the rows of staging tables into the target; `told`: what is known of them."""
        self._left_out += self.way.bring(stages, self.destination_table(), told)

    def drop(self, table: Table) -> None:
        """Drop a table of ours that is needed no more: behind the transaction, where dropping it would end that."""
        if self.dialect.definitions_commit and self.session.in_transaction:
            self._needless.append(table)
        else:
            self.session.run(drop_table(self.dialect, table))

    # ---- small things -------------------------------------------------------------------------------------------

    def _take_place(self) -> None:
        if self.context.write_mode == "overwrite":
            self.swap(self._fresh, self.table)
            return
        self.way.replace_keys(self._fresh, self.table)
        self.drop(self._fresh)

    def _complete_stages(self, handles: Sequence[Handle]) -> None:
        """What was staged by a plan of other columns gets those of this one."""
        older = [h["table"] for h in handles if h.get("columns") != self._columns]
        if older:
            with self._transaction():
                for name in older:
                    self._tables.complete_stage(Table(name, self.table.schema), *self.staged_columns())

    def _is_repeated(self, epoch: Epoch) -> bool:
        """Take the lock of the epoch row; tell whether the epoch is there already."""
        row = self._epochs.lock(self.context.attempt)
        if row.epoch >= epoch.number and self.context.mechanism is Mechanism.DIRECT and self._loaded_rows:
            raise StateError(f"epoch {epoch.number} is committed, but rows were written after it")
        return row.epoch >= epoch.number

    def _find(self, stage: Table, epoch: Epoch) -> None:
        if self.session.columns(stage) is None:
            raise StateError(
                f"the rows of epoch {epoch.number} that were staged in {stage} are gone",
                hint="roll back to an older checkpoint: dataflare checkpoint rollback",
            )

    def _flush(self) -> None:
        if not self._held:
            return
        rows = pa.concat_tables(self._held)
        self._held, self._held_rows, self._held_bytes = [], 0, 0
        self._loaded_rows += rows.num_rows
        with self._undone_if_it_fails():
            self.load(rows)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """Commit what the block does, together with a transaction that is open already; undo all if it fails."""
        session = self.session
        with self._undone_if_it_fails():
            if not session.in_transaction:
                session.begin()
            yield
            session.commit()
        while self._needless:
            self.drop(self._needless.pop())

    @contextmanager
    def _undone_if_it_fails(self) -> Iterator[None]:
        done = False
        try:
            yield
            done = True
        finally:
            if not done:
                self._loaded_rows = 0
                self._needless.clear()
                self.session.rollback()


__all__ = ["SqlDestination"]
