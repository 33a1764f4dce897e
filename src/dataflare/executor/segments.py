"""Large parts of a node's state that are written once, and that later checkpoints only refer to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dataflare.state.checkpoint import CheckpointManager


class TaskSegments:
    """The segments of one node in one task. Those of an epoch that never was are removed like snapshots of it."""

    def __init__(self, checkpoints: CheckpointManager, node: str, index: int) -> None:
        """Nothing is written yet."""
        self._checkpoints, self._node, self._index = checkpoints, node, index
        self._prefix, self._number = "", 0

    def begin(self, prefix: str) -> None:
        """Name what is put from now on by its epoch, attempt and round; of one epoch, no two beginnings are the same.

        The epoch is the one that will refer to it, or a later one: what none of them names is removed with that epoch.
        """
        self._prefix, self._number = prefix, 0

    def put(self, data: bytes) -> str:
        """Make a segment durable and return its name."""
        self._number += 1
        name = f"{self._prefix}/{self._node}/{self._index}.{self._number}"
        return self._checkpoints.save_state(name, data)

    def get(self, name: str) -> bytes:
        """Return a segment."""
        return self._checkpoints.load_state(name)


def named_in(positions: Any) -> Iterator[str]:
    """Yield the segments that positions of a source name, wherever in them (`SourceConnector.kept`)."""
    if isinstance(positions, dict):
        for name, value in positions.items():
            if name == "segment" and isinstance(value, str):
                yield value
            else:
                yield from named_in(value)
    elif isinstance(positions, list):
        for value in positions:
            yield from named_in(value)
