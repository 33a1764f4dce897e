"""Reads rows out of the workflow file, or out of a bucket of this process."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import model_validator

from dataflare.batch import RESERVED, Batch, Position
from dataflare.changes import changing, first_misfit, loose
from dataflare.component import Config, Field, SourceConnector, Split, Stream, source
from dataflare.connectors.memory.buckets import BUCKETS, Buckets
from dataflare.errors import DataError, UnavailableError, WorkflowError
from dataflare.formats.jsonl.decode import JsonlDecoder
from dataflare.formats.jsonl.infer import infer
from dataflare.plan_words import EdgeKind
from dataflare.schema import Schema

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import pyarrow as pa


class MemoryChanges(Config):
    """What the changes of a table tell besides `_op`, `_commit_ts` and `_tx`."""

    key: list[str] = Field(min_length=1, description="The columns of the key, which are never null.")
    unchanged: bool | list[str] = Field(
        default=False, description="Whether `_unchanged` may name values that are left out: any but the key, or these."
    )
    before: bool = Field(default=False, description="Whether `_before` holds the former row.")


class MemorySourceConfig(Config):
    """Settings of the memory source."""

    rows: list[dict[str, Any]] | None = Field(None, description="The rows themselves.")
    bucket: str | None = Field(None, description="A bucket that a memory destination of this process fills.")
    columns: dict[str, str] | None = Field(None, description="Column types; default: guessed from the rows.")
    partitions: int = Field(1, ge=1, description="Splits that tasks read side by side.")
    batch_rows: int = Field(1000, ge=1, description="Rows in a batch at most.")
    changes: MemoryChanges | None = Field(
        None, description="The rows are changes of a table, and say so in `_op`, as those of change capture do."
    )

    @model_validator(mode="after")
    def _one_of_both(self) -> MemorySourceConfig:
        if (self.rows is None) == (self.bucket is None):
            raise ValueError("give either rows or bucket")
        if self.changes is not None and self.partitions > 1:
            raise ValueError("changes are in order: partitions must be 1")
        return self


@source(
    "memory",
    status="beta",
    replay="exact",
    pushdown=("columns",),
    examples=[{"rows": [{"id": 1, "name": "Ada"}, {"id": 2, "name": "Grace"}]}],
)
class MemorySource(SourceConnector[MemorySourceConfig]):
    """Reads rows out of its own settings or out of a named bucket: for tests, examples and small lookups.

    A bucket is read as it stands when a split is begun; a position is a row number.

    With `changes` the rows are those of an upsert edge, as change capture sends them, and workflows over changes can be
    tried: `columns` are then those of the table, and each row has an `_op` (read, insert, update, delete, truncate).
    """

    buckets: ClassVar[Buckets] = BUCKETS

    def declared(self) -> Mapping[str, Stream] | None:
        """Return the columns where `columns` or the rows tell them."""
        if self.config.columns is not None:
            return {"": self._stream(Schema.of(self.config.columns))}
        if self.config.rows:
            return {"": self._stream(_guessed(self.config.rows))}
        return None

    def streams(self) -> Mapping[str, Stream]:
        """Return the columns of the bucket."""
        declared = self.declared()
        if declared is not None:
            return declared
        rows = self.buckets.rows(self.config.bucket) if self.config.bucket is not None else None
        if rows is None:
            where = f"bucket {self.config.bucket!r}" if self.config.bucket is not None else "the list of rows"
            raise UnavailableError(f"{where} is empty: its columns are not known", hint="declare columns: {id: int64}")
        return {"": self._stream(Schema.from_arrow(rows.schema))}

    def _stream(self, schema: Schema) -> Stream:
        changes = self.config.changes
        if changes is None:
            return Stream(schema)
        table = Schema(tuple(c for c in schema if c.name not in RESERVED))
        known = [*changes.key, *(changes.unchanged if isinstance(changes.unchanged, list) else [])]
        if lost := [name for name in known if name not in table]:
            raise WorkflowError(f"changes: there is no column {lost[0]!r}", hint=f"columns: {', '.join(table.names)}")
        key = tuple(changes.key)
        found = changing(table, key, unchanged=changes.unchanged, before=changes.before)
        return Stream(found, EdgeKind.UPSERT, key)

    def remembers(self, key: Sequence[str]) -> Sequence[str]:
        """Return none: positions are numbers of batches."""
        del key
        return ()

    def splits(self, since: Position | None) -> list[Split]:
        """Return even runs of rows; the engine skips those handed out."""
        del since
        total, parts = self._rows().num_rows, self.config.partitions
        bounds = [total * n // parts for n in range(parts + 1)]
        return [Split(f"rows-{n}", {"start": low, "end": high}) for n, (low, high) in enumerate(pairwise(bounds))]

    def read(self, split: Split, since: Position | None, until: Position | None) -> Iterator[Batch]:
        """Yield the rows of a split in batches of `batch_rows`."""
        start = since["row"] if since else split.data["start"]
        end = until["row"] if until else split.data["end"]
        rows = self._rows()
        while start < end:
            after = min(end, start + self.config.batch_rows)
            part = rows.slice(start, after - start)
            self.bytes_read += part.nbytes
            yield Batch(part, position={"row": after})
            start = after

    def _rows(self) -> pa.Table:
        schema = self._schema()
        if self.config.rows is not None:
            return _typed(self.config.rows, schema)
        rows = self.buckets.rows(str(self.config.bucket))
        target = schema.to_arrow()
        if rows is None:
            return target.empty_table()
        missing = [n for n in target.names if n not in rows.column_names]
        if missing:
            raise WorkflowError(f"bucket {self.config.bucket!r} has no column {missing[0]!r}")
        return rows.select(target.names).cast(target)

    def _schema(self) -> Schema:
        planned = self.context.schemas.get("") or self.streams()[""].schema
        wanted = self.context.hints.columns
        if wanted is None:
            return planned
        return planned.select([c for c in planned.names if c in wanted] or planned.names[:1])


def _lines(rows: list[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(row, default=str).encode() + b"\n" for row in rows)


def _guessed(rows: list[dict[str, Any]]) -> Schema:
    return Schema.of({name: kind or "json" for name, kind in infer(_lines(rows)).items()})


def _typed(rows: list[dict[str, Any]], schema: Schema) -> pa.Table:
    import pyarrow as pa

    decoder = JsonlDecoder(loose(schema))
    try:
        decoded = decoder.decode(_lines(rows))
    finally:
        decoder.close()
    if decoded.rejected:
        first = decoded.rejected[0]
        raise DataError(f"row {first.line + 1}: {first.reason}", hint="correct the row, or declare other `columns`")
    misfit = first_misfit(decoded.rows, schema)
    if misfit is not None:
        raise DataError(f"row {misfit[0] + 1}: {misfit[2]}", hint="correct the row")
    return pa.Table.from_arrays(decoded.rows.columns, schema=schema.to_arrow())


__all__ = ["MemorySource", "MemorySourceConfig"]
