"""Makes a table of changes: what a bounded input of them leaves behind, or changes that tell whole rows."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from dataflare.batch import RESERVED, Batch
from dataflare.changes import BEFORE, OP, UNCHANGED, Op, changing
from dataflare.component import Config, Field, processor
from dataflare.component.processor import Port
from dataflare.errors import DataError, WorkflowError
from dataflare.plan_words import EdgeKind
from dataflare.processors.columns import known, same_columns
from dataflare.processors.counting import CountingProcessor
from dataflare.processors.deduplicate_tables import NewestRows
from dataflare.processors.materialise_rows import WholeRows
from dataflare.schema import Schema

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    import pyarrow as pa


class MaterialiseConfig(Config):
    """What a row of the table is, and what comes out of it."""

    key: list[str] = Field(
        [], description="The columns that tell rows of the table apart; default: the key of the changes."
    )
    emit: Literal["table", "changes"] = Field(
        "table",
        description="Let the rows of the table through when the input has ended, or each change at once, made whole: "
        "no value is unchanged, and `_before` has the former row.",
    )


@processor(
    "materialise",
    status="experimental",
    accepts=(EdgeKind.APPEND, EdgeKind.UPSERT),
    yields=EdgeKind.APPEND,
    counts=("absorbed", "expanded"),
    deterministic=False,
    examples=[{}, {"key": ["id"]}, {"emit": "changes"}],
)
class Materialise(CountingProcessor[MaterialiseConfig]):
    """Makes a table of changes.

    When the input has ended, the newest row of each key comes out, unless it was a delete; the columns that carry
    changes (`_op` ...) are gone. So nodes that take no changes, such as `aggregate`, `join` and `sort`, can stand
    behind it. Without `_op` each row is the newest of its key when it comes.

    With `emit: changes` each change goes on as it comes, made whole: values that it leaves out as unchanged are those
    of the table, and `_before` is the row as it was. So nodes that must know all values, such as a filter, can stand
    behind it, where the source does not tell whole rows.

    The table is part of the checkpoint, and holds what came since the workflow began: it must begin with a snapshot of
    the source. What a batch costs grows with the rows of the table where values may be unchanged, and with
    `emit: changes`. A truncate empties the table; in several tasks nobody could keep it in order, and the run fails.
    """

    tells_tags = True
    knows_unchanged = True
    _rows: NewestRows | WholeRows | None = None

    def yields(self, kind: EdgeKind) -> EdgeKind:
        """Return that rows of a table come out, or changes as they came in."""
        return kind if self.config.emit == "changes" else EdgeKind.APPEND

    def outputs(self, inputs: Sequence[Schema]) -> Mapping[str, Schema]:
        """Return the columns without those that carry changes, or with those of whole rows."""
        schema = same_columns(inputs)
        known(self._key, schema.names, "key")
        if not self._key:
            raise WorkflowError("nobody told what tells its rows apart", hint="name the columns: key: [id]")
        table = self._plain(schema)
        if self.config.emit == "table":
            return {"": table}
        if OP not in schema:
            raise WorkflowError("emit: changes goes with rows that are changes", hint="they have a column _op")
        if self.context.key and set(self._key) != set(self.context.key):
            raise WorkflowError(
                f"key: the changes are told apart by {', '.join(self.context.key)}", hint="leave `key` out"
            )
        changes = changing(table, tuple(self._key), before=True)
        return {"": Schema(tuple(c for c in changes if c.name in schema or c.name == BEFORE))}

    @property
    def _key(self) -> Sequence[str]:
        return self.config.key or self.context.key

    @staticmethod
    def _plain(schema: Schema) -> Schema:
        return Schema(tuple(replace(c, told="") for c in schema if c.name not in RESERVED))

    def ports(self, count: int) -> Sequence[Port]:
        """Return that rows of a key meet."""
        return [Port(tuple(self._key))] * count

    def holds(self) -> bool:
        """Tell that a table comes at the end."""
        return self.config.emit == "table"

    def open(self) -> None:
        """Prepare the table."""
        schema = self.context.schemas["0"]
        if self.config.emit == "changes" or UNCHANGED in schema:
            self._rows = WholeRows(schema, self._plain(schema), self._key, self.context)
        else:
            self._rows = NewestRows(schema.to_arrow(), self._key, self.context)
        self._output = self.outputs([schema])[""].to_arrow()

    def process(self, batch: Batch, port: int = 0) -> Iterable[Batch]:
        """Take the changes in."""
        del port
        taken = [self._taken(part) for part in self._parts(batch.rows)]
        if self.config.emit == "table":
            self.count("absorbed", batch.num_rows)
            return ()
        import pyarrow as pa

        rows = pa.concat_tables([t for t in taken if t is not None]) if taken else self._output.empty_table()
        return (batch.replace(rows, ""),)

    def _parts(self, rows: pa.Table) -> Iterator[pa.Table]:
        """Cut changes before and behind each truncation."""
        import pyarrow.compute as pc

        start = 0
        if OP in rows.schema.names:
            for place in pc.indices_nonzero(pc.equal(rows.column(OP), Op.TRUNCATE.value)).to_pylist():
                if place > start:
                    yield rows.slice(start, place - start)
                yield rows.slice(place, 1)
                start = place + 1
        if start < rows.num_rows:
            yield rows.slice(start)

    def _taken(self, rows: pa.Table) -> pa.Table | None:
        """Apply changes; return them as they go on, None where they do not."""
        import pyarrow as pa

        found: pa.Table | None = rows
        if OP in rows.schema.names and rows.column(OP)[0].as_py() == Op.TRUNCATE:
            self._truncate()
        else:
            found = self._table.take(rows)
        if self.config.emit == "table" or found is None:
            return None
        columns = []
        for field in self._output:
            whole = field.name in found.schema.names
            values = (found if whole else rows).column(field.name) if whole or field.name != BEFORE else None
            values = pa.nulls(rows.num_rows, field.type) if values is None else values
            columns.append(values.cast(field.type))
        return pa.Table.from_arrays(columns, schema=self._output)

    def _truncate(self) -> None:
        if self.context.parallelism > 1:
            raise DataError(
                "a truncate of the table came, which several tasks cannot put in order",
                hint="set parallelism: 1 on the node, or have the source leave truncates out",
            ).in_node(self.context.node)
        if isinstance(self._table, WholeRows):
            self._table.clear()
        else:
            self._table.close()

    def finish(self) -> Iterable[Batch]:
        """Let the rows of the table through."""
        import pyarrow.compute as pc

        if self.config.emit == "changes":
            return
        for table in self._table.taken():
            rows = table
            if OP in rows.schema.names:
                rows = rows.filter(pc.fill_null(pc.not_equal(rows[OP], Op.DELETE.value), fill_value=True))
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
    def _table(self) -> NewestRows | WholeRows:
        assert self._rows is not None, "it is not open"
        return self._rows


__all__ = ["Materialise", "MaterialiseConfig"]
