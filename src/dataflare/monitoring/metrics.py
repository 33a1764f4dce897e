"""Counts what happens in a run: rows, bytes, epochs, failures."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from dataflare.monitoring.events import (
    AttemptFailed,
    EpochCommitted,
    EpochSealed,
    Event,
    NodeProgressed,
    RowsRejected,
    RunStarted,
    SourceLagged,
)

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class NodeCounts:
    """What went through one node since the process began: rows (also such that a failed attempt repeated), bytes.

    `lag` is how far a source was behind when it last told (`SourceLagged`).
    """

    rows_in: int = 0
    rows_out: int = 0
    rows_dead: int = 0
    bytes_read: int = 0
    busy_seconds: float = 0.0
    lag: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Counts:
    """A whole picture at one moment. `rows_committed` are rows by node and kind, from the ledgers of epochs."""

    nodes: Mapping[str, NodeCounts] = field(default_factory=dict)
    rows_committed: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    attempt: int = 0
    attempts_failed: int = 0
    resumed_epoch: int = 0
    epoch_sealed: int = 0
    epoch_committed: int = 0
    epochs: int = 0


class Counters:
    """An observer that counts; `read` returns a picture that does not change any more. For any thread."""

    def __init__(self) -> None:
        """Begin at nothing."""
        self._now = Counts()
        self._lock = threading.Lock()

    def read(self) -> Counts:
        """Return the counts of this moment."""
        return self._now

    def __call__(self, event: Event) -> None:
        """Count."""
        with self._lock:
            self._now = _after(self._now, event)


def _after(counts: Counts, event: Event) -> Counts:
    match event:
        case NodeProgressed() | RowsRejected() | SourceLagged():
            node = _node_after(counts.nodes.get(event.node, NodeCounts()), event)
            return replace(counts, nodes={**counts.nodes, event.node: node})
        case EpochSealed():
            return replace(counts, epoch_sealed=event.epoch)
        case EpochCommitted():
            total = _sum(counts.rows_committed, event.rows)
            return replace(counts, epoch_committed=event.epoch, epochs=counts.epochs + 1, rows_committed=total)
        case RunStarted():
            return replace(counts, attempt=event.attempt, resumed_epoch=event.resumed_epoch)
        case AttemptFailed():
            return replace(counts, attempts_failed=counts.attempts_failed + 1)
    return counts


def _node_after(node: NodeCounts, event: NodeProgressed | RowsRejected | SourceLagged) -> NodeCounts:
    if isinstance(event, SourceLagged):
        return replace(node, lag=event.figures)
    if isinstance(event, RowsRejected):
        return replace(node, rows_dead=node.rows_dead + event.rows)
    return replace(
        node,
        rows_in=node.rows_in + event.rows_in,
        rows_out=node.rows_out + event.rows_out,
        bytes_read=node.bytes_read + event.bytes_read,
        busy_seconds=node.busy_seconds + event.busy_seconds,
    )


def _sum(total: Mapping[str, Mapping[str, int]], part: Mapping[str, Mapping[str, int]]) -> dict[str, dict[str, int]]:
    added = {n: dict(k) for n, k in total.items()}
    for name, kinds in part.items():
        row = added.setdefault(name, {})
        for kind, rows in kinds.items():
            row[kind] = row.get(kind, 0) + rows
    return added
