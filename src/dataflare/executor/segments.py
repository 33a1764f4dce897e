"""Large parts of a node's state that are written once, and that later checkpoints only refer to."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dataflare.state.checkpoint import CheckpointManager


class TaskSegments:
    """The segments of one node in one task. Those of an epoch that never was are removed like snapshots of it."""

    def __init__(self, checkpoints: CheckpointManager, node: str, index: int) -> None:
        """Nothing is written yet."""
        self._checkpoints, self._node, self._index = checkpoints, node, index
        self._prefix, self._number = "", 0

    def begin(self, prefix: str) -> None:
        """A snapshot is taken: what is put from now on is named by its epoch, attempt and round."""
        self._prefix, self._number = prefix, 0

    def put(self, data: bytes) -> str:
        """Make a segment durable and return its name."""
        self._number += 1
        name = f"{self._prefix}/{self._node}/{self._index}.{self._number}"
        return self._checkpoints.save_state(name, data)

    def get(self, name: str) -> bytes:
        """Return a segment."""
        return self._checkpoints.load_state(name)
