"""The state of a task's operators in a checkpoint: one value for each operator and task, by key group inside.

Beside it are segments: large parts of state that are written once, and that later checkpoints only refer to.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dataflare.component.processor import EVERYWHERE, SEGMENTED
from dataflare.state.keyed import pack, unpack

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from dataflare.executor.build import Built
    from dataflare.executor.exchange import Barrier
    from dataflare.executor.job import Job
    from dataflare.executor.reader import SourceReader
    from dataflare.state.checkpoint import CheckpointManager


@dataclass(frozen=True, slots=True)
class Saved:
    """What a task has saved at a barrier: the store key of each operator's state, and those of its segments."""

    state: dict[str, str] = field(default_factory=dict)
    segments: dict[str, list[str]] = field(default_factory=dict)


def save_states(job: Job, built: Built, reader: SourceReader | None, barrier: Barrier, index: int) -> Saved:
    """Save what a source remembers and the state of a task's operators. What is the same everywhere, task 0 saves.

    At the last barrier operators have none any more.
    """
    prefix, checkpoints, saved = f"{barrier.epoch}-{job.attempt}-{barrier.round}", job.checkpoints, Saved()
    for each in built.segments:
        each.begin(prefix)
    if reader is not None:
        reader.keep()
    for operator, found in built.pipeline.snapshot().items() if not barrier.last else ():
        groups = {group: data for group, data in found.items() if group != EVERYWHERE or index == 0}
        saved.state[operator] = checkpoints.save_state(f"{prefix}/{operator}/{index}", pack(groups))
        if names := built.pipeline.segments(operator):
            saved.segments[operator] = list(names)
    name_between(job, built, barrier.epoch + 1, barrier.round)
    return saved


def name_between(job: Job, built: Built, epoch: int, barrier_round: int) -> None:
    """Name what a source leaves in segments behind a barrier, until the next one: of this epoch or the one before."""
    for each in built.segments:
        each.begin(f"{epoch}-{job.attempt}-{barrier_round}b")


def load_states(
    checkpoints: CheckpointManager, keys: Mapping[str, Sequence[str]], groups: Sequence[int]
) -> dict[str, Mapping[int, bytes]]:
    """Return the state of these key groups, what is the same everywhere, and what all said of segments, by operator.

    `keys` are those of all former tasks.
    """
    mine = {*groups, EVERYWHERE, SEGMENTED}
    states: dict[str, Mapping[int, bytes]] = {}
    for operator, names in keys.items():
        if merged := gathered_state(unpack(checkpoints.load_state(name), mine) for name in names):
            states[operator] = merged
    return states


def gathered_state(states: Iterable[Mapping[int, bytes]]) -> dict[int, bytes]:
    """Return the states of former instances as one; what each said of its segments becomes a list."""
    gathered: dict[int, bytes] = {}
    told = []
    for state in states:
        told += [state[SEGMENTED]] if SEGMENTED in state else []
        gathered |= state
    if told:
        gathered[SEGMENTED] = b"[" + b",".join(told) + b"]"
    return gathered
