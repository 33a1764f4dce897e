"""Lets rows go on at a rate."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from pydantic import model_validator

from dataflare.batch import Batch
from dataflare.component import Config, Field, Processor, Size, processor
from dataflare.component.packed import packed, unpacked
from dataflare.component.processor import Port
from dataflare.plan_words import EdgeKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

PART_SECONDS = 0.1
BEHIND_SECONDS_MAX = 0.2


class ThrottleConfig(Config):
    """How much may go on in a second."""

    rows_per_second: float | None = Field(None, gt=0, description="Rows in a second.")
    bytes_per_second: Size | None = Field(
        None, description="Bytes in a second, such as 10MiB, as rows take them in memory."
    )

    @model_validator(mode="after")
    def _some_rate(self) -> ThrottleConfig:
        if self.rows_per_second is None and self.bytes_per_second is None:
            raise ValueError("give rows_per_second or bytes_per_second")
        return self


@processor(
    "throttle",
    accepts=(EdgeKind.APPEND, EdgeKind.UPSERT, EdgeKind.RETRACT),
    counts=("absorbed", "expanded"),
    examples=[{"rows_per_second": 500}, {"bytes_per_second": "1MiB"}],
)
class Throttle(Processor[ThrottleConfig]):
    """Lets rows go on at a rate.

    Rows go in parts of a tenth of a second, in their order. While some wait, the task reads nothing further, so that
    sources and brokers feel it; no thread waits, and checkpoints, pause and stop are as quick as ever. The rows that
    wait at a checkpoint are part of it: they are counted as absorbed in its epoch, and as expanded in the one in which
    they go on. All rows pass through one task; those of a few batches wait there at most.

    The rate is that at which rows arrive at the next node: a destination that writes in epochs shows them at its
    commits.
    """

    tells_tags = True
    knows_unchanged = True

    def __init__(self, config: ThrottleConfig) -> None:
        """Hold nothing yet."""
        super().__init__(config)
        self._held: deque[Batch] = deque()
        self._rows = self._told = 0
        self._free: float | None = None
        self._fates: dict[str, int] = {}

    def ports(self, count: int) -> Sequence[Port]:
        """Return that all rows pass through here, and may have to wait."""
        return [Port(together=True, eased=True)] * count

    def process(self, batch: Batch, port: int = 0) -> Iterable[Batch]:
        """Take rows in; they go on by `release`."""
        del port
        if not batch.num_rows:
            return (batch.replace(batch.payload, ""),) if not self._held else ()
        self._held.append(batch)
        self._rows += batch.num_rows
        return ()

    def wait(self, seconds: float) -> float | None:
        """Return for how long the first row has to wait."""
        if not self._held:
            return None
        return max(0.0, self._free - seconds) if self._free is not None else 0.0

    def release(self, seconds: float) -> Iterator[Batch]:
        """Let go what may go by now."""
        self._free = seconds if self._free is None else max(self._free, seconds - BEHIND_SECONDS_MAX)
        while self._held and self._free <= seconds:
            cost = self._seconds_a_row(self._held[0])
            part = self._part(max(1, int(PART_SECONDS / cost)))
            self._free += part.num_rows * cost
            yield part

    def _seconds_a_row(self, batch: Batch) -> float:
        rows, size = self.config.rows_per_second, self.config.bytes_per_second
        return max(1 / rows if rows else 0.0, batch.num_bytes / batch.num_rows / size if size else 0.0)

    def _part(self, rows: int) -> Batch:
        """Take the next rows; where the batch came from is known behind its last one."""
        batch = self._held.popleft()
        if rows >= batch.num_rows:
            self._rows -= batch.num_rows
            return batch.replace(batch.rows, "")
        self._rows -= rows
        self._held.appendleft(batch.replace(batch.rows.slice(rows)))
        return Batch(batch.rows.slice(0, rows))

    def flush(self) -> Iterable[Batch]:
        """Count what waits: it is neither lost nor gone."""
        more, self._told = self._rows - self._told, self._rows
        self._fates = {"absorbed": more} if more > 0 else {"expanded": -more}
        return ()

    def finish(self) -> Iterator[Batch]:
        """Let everything go, where the run is ended before its time."""
        while self._held:
            yield self._part(self._rows)
        yield from self.flush()

    def fates(self) -> Mapping[str, int]:
        """Return how many rows wait more, or less, than at the last barrier."""
        fates, self._fates = self._fates, {}
        return fates

    def snapshot(self) -> Mapping[int, bytes]:
        """Return the rows that wait."""
        if not self._held:
            return {}
        schema = self.context.schemas["0"].to_arrow()
        return {self.context.key_group: packed((b.rows.cast(schema) for b in self._held), schema)}

    def restore(self, state: Mapping[int, bytes]) -> None:
        """Take them back."""
        for group in sorted(state):
            for rows in unpacked(state[group]):
                self._held.append(Batch(rows))
                self._rows += rows.num_rows
        self._told = self._rows


__all__ = ["Throttle", "ThrottleConfig"]
