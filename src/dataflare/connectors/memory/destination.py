"""Writes rows into a bucket of this process, exactly once as long as the process lives."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import pyarrow as pa

from dataflare.component import Config, DestinationConnector, Epoch, Field, Handle, destination
from dataflare.connectors.memory.buckets import BUCKETS, Buckets
from dataflare.plan_words import Mechanism

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dataflare.batch import Batch


class MemoryDestinationConfig(Config):
    """Settings of the memory destination."""

    bucket: str = Field("default", description="The bucket to fill; `MemoryDestination.buckets.rows(bucket)` reads it.")


@destination(
    "memory",
    status="beta",
    mechanisms=(Mechanism.TWO_PHASE,),
    write_modes=("append", "overwrite"),
    parallel=True,
    examples=[{"bucket": "results"}],
)
class MemoryDestination(DestinationConnector[MemoryDestinationConfig]):
    """Fills a bucket of this process: for tests and for programs that run a workflow and use its rows.

    Rows are visible once their epoch is committed. When the process ends they are gone, and so is what was staged: a
    resume in another process fails rather than lose rows.
    """

    buckets: ClassVar[Buckets] = BUCKETS

    def open(self) -> None:
        """Begin with nothing held."""
        self._held: list[pa.Table] = []

    def write(self, batch: Batch) -> None:
        """Hold the rows."""
        self._held.append(batch.rows)

    def prepare(self, epoch: Epoch) -> Sequence[Handle]:
        """Stage the rows under a name of this attempt."""
        del epoch
        replaces_head = self._replaces and self.context.index == 0  # tells of the run even where it has no row
        if not self._held and not replaces_head:
            return []
        rows = pa.concat_tables(self._held, promote_options="default") if self._held else pa.table({})
        self._held = []
        return [{"name": self.buckets.stage(self.config.bucket, self.context.attempt, rows), "rows": rows.num_rows}]

    def commit(self, epoch: Epoch, handles: Sequence[Handle]) -> None:
        """Publish what is staged; what is published already is left alone."""
        del epoch
        self.buckets.publish(self.config.bucket, [h["name"] for h in handles], replaces=self._replaces)

    def abort(self, keep: Sequence[Handle]) -> None:
        """Forget what earlier attempts staged."""
        self.buckets.unstage(self.config.bucket, [h["name"] for h in keep], self.context.attempt)

    def finish(self) -> None:
        """Swap in what replaces."""
        if self._replaces:
            self.buckets.swap(self.config.bucket)

    @property
    def _replaces(self) -> bool:
        return self.context.write_mode == "overwrite"


__all__ = ["MemoryDestination", "MemoryDestinationConfig"]
