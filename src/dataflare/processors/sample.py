"""Lets a sample of the rows through: a share, every n-th, or so many of all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import model_validator

from dataflare.batch import Batch
from dataflare.changes import OP, Op
from dataflare.component import Config, Field, processor
from dataflare.component.packed import packed, unpacked
from dataflare.component.processor import Port
from dataflare.component.settings import Rate  # noqa: TC001 - pydantic reads it
from dataflare.errors import WorkflowError
from dataflare.expression.keys import key_hashes
from dataflare.plan_words import EdgeKind
from dataflare.processors.columns import Names, known
from dataflare.processors.counting import CountingProcessor

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import pyarrow as pa

    from dataflare.schema import Schema

HASH_BITS = 53
RESERVOIR_MAX = 1_000_000
RESULT_ROWS = 1 << 16
_HASH, _AT = "__hash", "__at"


class SampleConfig(Config):
    """Which rows to take."""

    rate: Rate | None = Field(None, description="The share of rows to take, such as 1%.")
    every: int | None = Field(None, ge=1, description="Take the first row and then every n-th one, in each task.")
    reservoir: int | None = Field(
        None, ge=1, le=RESERVOIR_MAX, description="Take so many of all rows, at the end of a bounded input."
    )
    by: Names = Field(
        [], description="The columns whose values decide: rows that are equal in them share their fate. None: all."
    )
    seed: int = Field(0, description="Another seed, another sample.")

    @model_validator(mode="after")
    def _one_way(self) -> SampleConfig:
        if sum(way is not None for way in (self.rate, self.every, self.reservoir)) != 1:
            raise ValueError("give one of rate, every and reservoir")
        if self.every is not None and self.by:
            raise ValueError("by goes with rate or reservoir")
        return self


@processor(
    "sample",
    accepts=(EdgeKind.APPEND, EdgeKind.UPSERT),
    counts=("filtered", "absorbed", "expanded"),
    examples=[
        {"rate": "1%", "by": "customer_id", "seed": 7},
        {"every": 1000},
        {"reservoir": 10000},
    ],
)
class Sample(CountingProcessor[SampleConfig]):
    """Lets a sample of the rows through: a share, every n-th, or so many of all.

    `rate` and `reservoir` draw by a hash of the values and the seed: the same rows give the same sample, in any order,
    in any number of tasks, today and after a crash. With `by: customer_id` all rows of a customer are in it or none is,
    in every table that is sampled by that column, rate and seed. Rows that are equal in all columns share their fate,
    too: draw by number (`every`) where that must not be. Of changes (rows with `_op`) only a `rate` by the key can be
    drawn, so that a row is in the sample with all of its changes.

    `rate` is a share of different values, so the number of rows is about that share. `reservoir` takes exactly so many
    (all, where there are fewer), each as likely as any other; it holds them in memory and in checkpoints, lets them
    through in the order of their arrival when a bounded input has ended, and runs in one task.
    """

    tells_tags = True
    knows_unchanged = True

    def __init__(self, config: SampleConfig) -> None:
        """Hold nothing yet."""
        super().__init__(config)
        self._count = 0
        self._held: list[pa.Table] = []
        self._rows = 0

    def outputs(self, inputs: Sequence[Schema]) -> Mapping[str, Schema]:
        """Return the columns as they come."""
        known(self.config.by, inputs[0].names, "by")
        by_key = self.config.rate is not None and self.config.by and set(self.config.by) <= set(self.context.key)
        if OP in inputs[0] and not by_key:
            what = "of changes only a share of the rows by their key can be drawn, so that a row has all of its changes"
            named = ", ".join(self.context.key)
            raise WorkflowError(what, hint=f"set rate and by: [{named}], or put `materialise` before it")
        return {"": inputs[0]}

    def ports(self, count: int) -> Sequence[Port]:
        """Return that a reservoir is one."""
        return [Port(together=self.config.reservoir is not None)] * count

    def holds(self) -> bool:
        """Tell that a reservoir is let through at the end."""
        return self.config.reservoir is not None

    def varies(self) -> str:
        """Tell that numbers hang on the order."""
        return "counts rows in the order in which they come in" if self.config.every is not None else ""

    def process(self, batch: Batch, port: int = 0) -> Iterable[Batch]:
        """Let rows through, or hold them."""
        import pyarrow as pa
        import pyarrow.compute as pc

        del port
        rows = batch.rows
        if self.config.every is not None:
            first = -self._count % self.config.every
            self._count += rows.num_rows
            kept = rows.take(pa.arange(first, max(first, rows.num_rows), self.config.every))
        elif self.config.rate is not None:
            drawn = pc.less(self._hashes(rows), pa.scalar(round(self.config.rate * 2**HASH_BITS)))
            if OP in rows.schema.names:
                drawn = pc.or_(drawn, pc.equal(rows.column(OP), Op.TRUNCATE.value))
            kept = rows.filter(drawn)
        else:
            self._take(rows)
            self.count("absorbed", rows.num_rows)
            return
        self.count("filtered", rows.num_rows - kept.num_rows)
        yield batch.replace(kept, "")

    def _hashes(self, rows: pa.Table) -> pa.ChunkedArray:
        return key_hashes(rows, self.config.by or rows.schema.names, seed=self.config.seed, bits=HASH_BITS)

    def _take(self, rows: pa.Table) -> None:
        """Take rows in; those that can no longer be drawn are let go whenever what is held has doubled."""
        import pyarrow as pa

        places = pa.arange(self._count, self._count + rows.num_rows, 1)
        self._count += rows.num_rows
        self._held.append(rows.append_column(_HASH, self._hashes(rows)).append_column(_AT, places))
        self._rows += rows.num_rows
        if self._rows > 2 * (self.config.reservoir or 0):
            self._drawn()

    def _drawn(self) -> pa.Table:
        """Return the rows with the least hashes, in the order of arrival, and hold no others."""
        import pyarrow as pa

        rows = pa.concat_tables(self._held) if self._held else self._nothing()
        if rows.num_rows > (self.config.reservoir or 0):
            rows = rows.sort_by([(_HASH, "ascending"), (_AT, "ascending")]).slice(0, self.config.reservoir)
            rows = rows.sort_by(_AT).combine_chunks()
        self._held, self._rows = [rows], rows.num_rows
        return rows

    def _nothing(self) -> pa.Table:
        import pyarrow as pa

        schema = self.context.schemas["0"].to_arrow()
        return pa.schema([*schema, pa.field(_HASH, pa.int64()), pa.field(_AT, pa.int64())]).empty_table()

    def finish(self) -> Iterable[Batch]:
        """Let the reservoir through."""
        if self.config.reservoir is None:
            return
        rows = self._drawn().drop_columns([_HASH, _AT])
        self._held, self._rows = [], 0
        for start in range(0, rows.num_rows, RESULT_ROWS):
            part = rows.slice(start, RESULT_ROWS)
            self.count("expanded", part.num_rows)
            yield Batch(part)

    def snapshot(self) -> Mapping[int, bytes]:
        """Return how many rows came, and what is held of them."""
        if self.config.rate is not None:
            return {}
        rows = self._drawn() if self.config.reservoir is not None else self._nothing()
        rows = rows.replace_schema_metadata({"count": str(self._count)})
        return {self.context.key_group: packed(iter([rows]), rows.schema)}

    def restore(self, state: Mapping[int, bytes]) -> None:
        """Take it back."""
        for group in sorted(state):
            for rows in unpacked(state[group]):
                self._count = max(self._count, int((rows.schema.metadata or {})[b"count"]))
                self._held.append(rows.replace_schema_metadata(None))
                self._rows += rows.num_rows


__all__ = ["Sample", "SampleConfig"]
