"""Makes a table of changes: what a bounded input of them leaves behind."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dataflare.batch import RESERVED, Batch
from dataflare.component import Config, Field, processor
from dataflare.component.processor import Port
from dataflare.errors import WorkflowError
from dataflare.plan_words import EdgeKind
from dataflare.processors.columns import known, same_columns
from dataflare.processors.counting import CountingProcessor
from dataflare.processors.deduplicate_tables import NewestRows
from dataflare.schema import Schema

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_DELETE = "delete"


class MaterialiseConfig(Config):
    """What a row of the table is."""

    key: list[str] = Field(min_length=1, description="The columns that tell rows of the table apart.")


@processor(
    "materialise",
    status="experimental",
    accepts=(EdgeKind.APPEND, EdgeKind.UPSERT),
    yields=EdgeKind.APPEND,
    counts=("absorbed", "expanded"),
    deterministic=False,
    examples=[{"key": ["id"]}],
)
class Materialise(CountingProcessor[MaterialiseConfig]):
    """Makes a table of changes.

    When the input has ended, the newest row of each key comes out, unless it was a delete; the columns that carry
    changes (`_op` ...) are gone. So nodes that take no changes, such as `aggregate`, `join` and `sort`, can stand
    behind it. Without `_op` each row is the newest of its key when it comes. Rows whose values may be unchanged are
    refused: the source has to send full row images. The table is part of the checkpoint.
    """

    tells_tags = True
    _rows: NewestRows | None = None

    def __init__(self, config: MaterialiseConfig) -> None:
        """Know no row yet."""
        super().__init__(config)

    def outputs(self, inputs: Sequence[Schema]) -> Mapping[str, Schema]:
        """Return the columns without those that carry changes."""
        schema = same_columns(inputs)
        known(self.config.key, schema.names, "key")
        if "_unchanged" in schema:
            raise WorkflowError(
                "rows whose values may be unchanged make no table", hint="read the table with full row images"
            )
        return {"": Schema(tuple(c for c in schema if c.name not in RESERVED))}

    def ports(self, count: int) -> Sequence[Port]:
        """Return that rows of a key meet."""
        return [Port(tuple(self.config.key))] * count

    def open(self) -> None:
        """Prepare the table."""
        schema = self.context.schemas["0"].to_arrow()
        self._rows = NewestRows(schema, self.config.key, self.context)

    def process(self, batch: Batch, port: int = 0) -> Iterable[Batch]:
        """Take the changes in."""
        del port
        self._table.take(batch.rows)
        self.count("absorbed", batch.num_rows)
        return ()

    def finish(self) -> Iterable[Batch]:
        """Let the rows of the table through."""
        import pyarrow.compute as pc

        for table in self._table.taken():
            rows = table
            if "_op" in rows.schema.names:
                rows = rows.filter(pc.fill_null(pc.not_equal(rows["_op"], _DELETE), fill_value=True))
            rows = rows.select([n for n in rows.schema.names if n not in RESERVED])
            self.count("expanded", rows.num_rows)
            yield Batch(rows)

    def snapshot(self) -> Mapping[int, bytes]:
        """Return the rows of the table, deletes among them."""
        return self._table.state()

    def segments(self) -> Sequence[str]:
        """Return where they are."""
        return self._table.segments()

    def restore(self, state: Mapping[int, bytes]) -> None:
        """Take them back."""
        self._table.restore(state)

    def close(self) -> None:
        """Free the table."""
        if self._rows is not None:
            self._rows.close()

    @property
    def _table(self) -> NewestRows:
        assert self._rows is not None, "it is not open"
        return self._rows


__all__ = ["Materialise", "MaterialiseConfig"]
