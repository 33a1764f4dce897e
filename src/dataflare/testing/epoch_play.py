"""Writes epochs to a destination as an engine does in bad times: with crashes, time-outs and several instances."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dataflare.batch import Batch
from dataflare.component import Epoch
from dataflare.plan_words import Mechanism
from dataflare.testing.change_log import START
from dataflare.testing.source_suite import plain
from dataflare.testing.stage import settled

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from dataflare.component import DestinationConnector, Handle
    from dataflare.schema import Schema

Rows = list[dict[str, Any]]


@dataclass
class EpochPlay:
    """A run of one destination. `new` makes an instance from a context's fields; `first` is the first epoch's number.

    Rows of one `id` are written by one instance. The time of an epoch is START and its number in hours.
    """

    new: Callable[..., DestinationConnector[Any]]
    chance: random.Random
    mechanism: Mechanism
    schema: Schema
    first: int = 1
    attempt: int = 0
    _number: int = 0
    _instances: list[DestinationConnector[Any]] = field(default_factory=list)

    def run(self, epochs: Iterable[Rows]) -> Iterator[Rows]:
        """Write epochs and yield each when it is committed; then finish."""
        self.attempt = self.first - 1
        self._anew()
        for number, rows in enumerate(epochs, self.first):
            self._number = number
            if self.chance.random() < 0.3:  # noqa: PLR2004 - it died before the epoch was decided
                self._write(rows)
                self._anew()
            handles = self._write(rows)
            settled(self._head.commit(Epoch(self._number, self.attempt), handles))
            if self.mechanism is not Mechanism.DIRECT and self.chance.random() < 0.5:  # noqa: PLR2004 - and after
                decided = Epoch(self._number, self.attempt)
                self._anew()
                settled(self._head.commit(decided, handles))
            settled(self._head.abort([]))
            yield rows
        settled(self._head.finish())
        self._close()

    @property
    def _head(self) -> DestinationConnector[Any]:
        return self._instances[0]

    def _close(self) -> None:
        for instance in self._instances:
            settled(instance.close())

    def _anew(self) -> None:
        """Begin the next attempt, with one instance or two."""
        self._close()
        self.attempt += 1
        several = self.mechanism is not Mechanism.DIRECT and type(self.new()).spec.traits.parallel
        count = self.chance.randint(1, 2) if several else 1
        told = {"attempt": self.attempt, "parallelism": count, "epoch_time": self._time}
        self._instances = [self.new(index=index, **told) for index in range(count)]
        for instance in self._instances:
            settled(instance.open())

    def _time(self) -> int:
        return epoch_time(self._number)

    def _write(self, rows: Sequence[dict[str, Any]]) -> list[Handle]:
        """Write an epoch in batches, with a time-out now and then."""
        handles: list[Handle] = []
        while rows:
            count = self.chance.randint(1, len(rows))
            part, rows = rows[:count], rows[count:]
            for index, instance in enumerate(self._instances):
                mine = [row for row in part if (row["id"] or 0) % len(self._instances) == index]
                if mine:
                    settled(instance.write(Batch.of(mine, schema=self.schema.to_arrow())))
            if self.chance.random() < 0.2:  # noqa: PLR2004 - the epoch goes on under its number
                handles += self._prepare()
        return handles + self._prepare()

    def _prepare(self) -> list[Handle]:
        epoch = Epoch(self._number, self.attempt)
        return [plain(handle) for instance in self._instances for handle in settled(instance.prepare(epoch))]


def epoch_time(number: int) -> int:
    """Return the time of an epoch in microseconds."""
    return (START + dt.timedelta(hours=number) - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(microseconds=1)


__all__ = ["EpochPlay", "Rows", "epoch_time"]
