"""Typed events: what happened, in primitives only; logs, metrics and progress are made from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened in a workflow."""

    workflow: str


@dataclass(frozen=True, slots=True)
class RunStarted(Event):
    """An attempt has begun; `resumed_epoch` is the committed epoch it goes on from (0: from the start)."""

    attempt: int
    resumed_epoch: int


@dataclass(frozen=True, slots=True)
class NodeProgressed(Event):
    """Rows went through a node; counts are of this step, not totals. Not yet committed."""

    node: str
    rows_in: int
    rows_out: int
    bytes_read: int = 0
    busy_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class SourceLagged(Event):
    """How far a source is behind: figures by name, such as `seconds`, `committed_seconds` and `bytes`."""

    node: str
    figures: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class EpochSealed(Event):
    """The proposal of an epoch is durable."""

    epoch: int
    attempt: int


@dataclass(frozen=True, slots=True)
class EpochCommitted(Event):
    """An epoch is committed everywhere; `rows` are the ledger counts of the epoch by node and kind of count."""

    epoch: int
    attempt: int
    seconds: float
    rows: Mapping[str, Mapping[str, int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CheckpointStalled(Event):
    """Several epochs in a row ran into their time-out."""

    epoch: int
    waiting_for: str


@dataclass(frozen=True, slots=True)
class AttemptFailed(Event):
    """An attempt died; the supervisor decides what is next."""

    attempt: int
    code: str
    message: str
    retry_in_seconds: float = -1.0


@dataclass(frozen=True, slots=True)
class RowsRejected(Event):
    """A node could not handle rows; `reason` is the first one, without values of the row."""

    node: str
    rows: int
    reason: str


@dataclass(frozen=True, slots=True)
class RunEnded(Event):
    """A run is over: `succeeded`, `stopped` or `failed`."""

    status: str
    epochs: int


@dataclass(frozen=True, slots=True)
class Noticed(Event):
    """Something a person should know that is no failure."""

    code: str
    message: str
    node: str = ""


@dataclass(frozen=True, slots=True)
class RunPlanned(Event):
    """A run is on the agenda, durably, and will be run once; `missed` runs before it are made up for by it.

    `planned` is the instant that it is planned for, in microseconds since 1970; `trigger` is what asked for it.
    """

    run: str
    trigger: str
    planned: int
    missed: int = 0


@dataclass(frozen=True, slots=True)
class RunSkipped(Event):
    """A run that was due is left out."""

    run: str
    reason: str


@dataclass(frozen=True, slots=True)
class RunBegun(Event):
    """A planned run is given to the executor; `tries` counts how often."""

    run: str
    trigger: str
    tries: int


@dataclass(frozen=True, slots=True)
class RunRetried(Event):
    """A planned run failed and will be tried again."""

    run: str
    tries: int
    message: str
    retry_in_seconds: float


@dataclass(frozen=True, slots=True)
class RunRecorded(Event):
    """A planned run has ended, and the history has it; `rows` are those read, written and dead-lettered."""

    run: str
    status: str
    trigger: str
    message: str = ""
    rows: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CallsTaken(Event):
    """The process listens at a URL for calls that start runs; of no workflow."""

    url: str


@dataclass(frozen=True, slots=True)
class WorkflowFollowed(Event):
    """The file of a workflow came, changed or went; `change` is `added`, `changed` or `removed`."""

    change: str
    message: str


Observer = Callable[[Event], None]
