"""The contract of destinations: write, prepare, commit, abort, finish, under a fence."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dataflare.component.contract import C, Component, MaybeAsync

if TYPE_CHECKING:
    from dataflare.batch import Batch, DataRecord
    from dataflare.component.alteration import Alteration
    from dataflare.errors import DataFlareError
    from dataflare.schema import Schema

Handle = Mapping[str, Any]
"""What was staged at `prepare`: a JSON value of the connector, named by attempt, enough to commit it from nothing."""


@dataclass(frozen=True, slots=True, order=True)
class Epoch:
    """An epoch as a destination knows it: its number and the attempt that sealed it."""

    number: int
    attempt: int


class DestinationConnector(Component[C]):
    """Where rows go.

    One instance per task writes (`open`, `write`, `prepare`); instance 0, the head, also does `last_epoch`, `commit`,
    `abort` and `finish`, for all of them. `self.context.mechanism` says which mechanism the plan chose:

    - direct: `write` goes into one open transaction; `prepare` returns no handles and leaves it open; `commit` writes
      the epoch row (number, attempt) last, under the fence, and commits. One instance.
    - staged: `prepare` makes the rows durable in a staging place and returns handles; `commit` moves them in one
      transaction that is guarded by the epoch row: an epoch that is there already changes nothing.
    - two_phase: `prepare` makes hidden things durable (files with a temporary name); `commit` publishes each by an
      idempotent step: a handle that is already published is left alone, one that is nowhere raises StateError.
    - idempotent, append: `write` is visible at once; `commit` does nothing.
    """

    def codecs(self) -> Sequence[str]:
        """Return the codecs of the spec that go with these settings; asked while planning, touches nothing."""
        return tuple(type(self).spec.traits.codecs)

    @classmethod
    def read_back(cls, config: Mapping[str, Any], schema: Schema) -> tuple[str, Mapping[str, Any]] | None:
        """Return type and settings of a source that reads what is written here, as rows of a schema; None: none does.

        `config` are settings as a plan holds them, references to secrets and all. For `dataflare verify`.
        """
        del config, schema
        return None

    @classmethod
    def current_rows(cls, config: Mapping[str, Any], write_mode: str) -> tuple[str, Mapping[str, str]] | None:
        """Return the SQL condition that a written row stands for one of the source, and its columns with their types.

        None: all rows do. Rows that are marked as deleted, and former versions, do not. For `dataflare verify`.
        """
        del config, write_mode
        return None

    def refusals(self) -> Iterable[DataFlareError]:
        """Yield why rows of `context.schemas` cannot be written with these settings and this write mode.

        Asked while planning, when the schemas of all inputs are known; touches nothing.
        """
        return ()

    def alterations(self) -> MaybeAsync[Sequence[Alteration]]:
        """Return what `open` would change of the table that is there, and what it would leave alone or refuse to do.

        Called without `open`, with `context.schemas` and `context.ddl`; connects, and changes nothing.
        """
        return ()

    def open(self) -> MaybeAsync[None]:
        """Connect, create what is missing, and raise the fence to `context.attempt`.

        Raises FencedError when the fence is already higher (invariant 4).
        """

    def last_epoch(self) -> MaybeAsync[Epoch | None]:
        """Return the newest epoch that is durable here, if the destination keeps one."""
        return None

    @abstractmethod
    def write(self, batch: Batch) -> MaybeAsync[None]:
        """Take the batch. Called in order, one at a time per instance."""

    def prepare(self, epoch: Epoch) -> MaybeAsync[Sequence[Handle]]:
        """All rows of the epoch are written: make them safe and return the handles.

        The epoch may still go on (time-out): more writes and another `prepare` of the same number may follow.
        """
        del epoch
        return ()

    def commit(self, epoch: Epoch, handles: Sequence[Handle]) -> MaybeAsync[None]:
        """Make the epoch visible. Idempotent: a resume calls it again with the handles of all instances."""

    def abort(self, keep: Sequence[Handle]) -> MaybeAsync[None]:
        """Remove what attempts before `context.attempt` staged, except `keep`. Called after a committed epoch."""

    def finish(self) -> MaybeAsync[None]:
        """Complete the run, whose last epoch is committed: swap in what `overwrite` replaces. Idempotent."""


class RecordDestination(DestinationConnector[C]):
    """For authors who think in records."""

    @abstractmethod
    def write_record(self, record: DataRecord) -> None:
        """Take one record."""

    def write(self, batch: Batch) -> MaybeAsync[None]:
        """Write each row."""
        for record in batch.rows.to_pylist():
            self.write_record(record)
        return None
