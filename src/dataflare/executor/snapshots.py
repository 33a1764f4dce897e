"""The state of a task's operators in a checkpoint: one value for each operator and task, by key group inside."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dataflare.component.processor import EVERYWHERE
from dataflare.state.keyed import pack, unpack

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dataflare.executor.pipeline import Pipeline
    from dataflare.state.checkpoint import CheckpointManager


def save_states(checkpoints: CheckpointManager, pipeline: Pipeline, prefix: str, index: int) -> dict[str, str]:
    """Save the state of a task's operators; return the key of each. What is the same everywhere, task 0 saves."""
    saved = {}
    for operator, found in pipeline.snapshot().items():
        groups = {group: data for group, data in found.items() if group != EVERYWHERE or index == 0}
        saved[operator] = checkpoints.save_state(f"{prefix}/{operator}/{index}", pack(groups))
    return saved


def load_states(
    checkpoints: CheckpointManager, keys: Mapping[str, Sequence[str]], groups: Sequence[int]
) -> dict[str, Mapping[int, bytes]]:
    """Return the state of these key groups, and what is the same everywhere, by operator.

    `keys` are those of all former tasks.
    """
    mine = {*groups, EVERYWHERE}
    states: dict[str, Mapping[int, bytes]] = {}
    for operator, names in keys.items():
        merged: dict[int, bytes] = {}
        for name in names:
            merged |= unpack(checkpoints.load_state(name), mine)
        if merged:
            states[operator] = merged
    return states
