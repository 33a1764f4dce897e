"""Knows when a split may begin whose rows come behind those of others, and where those ended.

A task that asks for a split has sent all rows of those that it has read. Barriers are aligned wherever rows meet, so
what a task reads after a barrier that came behind those rows overtakes none of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from dataflare.batch import Position
    from dataflare.component import Split

Ahead = dict[str, dict[str, Any]]
"""The last positions of the splits that were read, by id, by the split that comes behind them."""


class Behind:
    """The splits ahead of others; `ahead` is what `snapshot` returned."""

    def __init__(self, ahead: Mapping[str, Mapping[str, Any]], given_again: Iterable[Split]) -> None:
        """Begin an attempt; `given_again` are the splits that were open in the one before."""
        self._ahead: Ahead = {name: dict(positions) for name, positions in ahead.items()}
        self._open = {split.id: split.before for split in given_again if split.before}
        self._ended: list[tuple[int, Split, Position | None]] = []
        self._rounds: dict[str, int] = {}

    def began(self, split: Split) -> None:
        """A split was handed out."""
        if split.before:
            self._open[split.id] = split.before

    def ended(self, after_round: int, split: Split, position: Position | None) -> None:
        """A split was read to its end by a task that has passed barrier `after_round`."""
        self._open.pop(split.id, None)
        self._ended.append((after_round, split, position))
        self._rounds[split.before] = max(after_round, self._rounds.get(split.before, -1))

    def may_begin(self, split: Split, after_round: int) -> bool:
        """Tell whether all that is ahead of a split lies before a barrier that the asking task has passed."""
        return self.is_read(split) and self._rounds.get(split.id, -1) < after_round

    def is_read(self, split: Split) -> bool:
        """Tell whether all that is ahead of a split has been read, so that a barrier lets it begin."""
        return split.id not in self._open.values()

    def told(self, split: Split) -> Position | None:
        """Return the position at which a split begins that comes behind others; None for any other."""
        positions = self._positions(split.id)
        return {"splits": positions} if positions else None

    def snapshot(self, barrier_round: int, begun: Iterable[str]) -> Ahead:
        """Return what was read before a barrier; of the splits that have begun before it nothing is wanted any more."""
        for number, split, position in self._ended:
            if number < barrier_round:
                self._ahead.setdefault(split.before, {})[split.id] = _json(position)
        self._ended = [ended for ended in self._ended if ended[0] >= barrier_round]
        for name in begun:
            self._ahead.pop(name, None)
        return {name: dict(positions) for name, positions in self._ahead.items()}

    def _positions(self, name: str) -> dict[str, Any]:
        ended = {split.id: _json(position) for _, split, position in self._ended if split.before == name}
        return {**self._ahead.get(name, {}), **ended}


def _json(position: Position | None) -> dict[str, Any] | None:
    return dict(position) if position is not None else None


__all__ = ["Ahead", "Behind"]
