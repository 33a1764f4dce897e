"""What a task reports at a barrier."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dataflare.executor.snapshots import Saved

if TYPE_CHECKING:
    from dataflare.component import Handle
    from dataflare.state.ledger import Ends


@dataclass(frozen=True, slots=True)
class Report:
    """What a task says at a barrier: all that a resume needs of it.

    `open_splits` and `positions` are of its source; `handles` by destination; `saved` the state of operators;
    `counts` and `edges` the rows since the last report, `sums` those of their hashes where they are wanted.
    """

    task: str
    round: int
    epoch: int
    open_splits: list[dict[str, Any]] = field(default_factory=list)
    positions: dict[str, Any] = field(default_factory=dict)
    handles: dict[str, list[Handle]] = field(default_factory=dict)
    saved: Saved = field(default_factory=Saved)
    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    edges: dict[str, int] = field(default_factory=dict)
    sums: Ends = field(default_factory=dict)
