"""Brings several inputs together, column by column."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from dataflare.changes import UNCHANGED
from dataflare.component import Config, Processor, processor
from dataflare.errors import WorkflowError
from dataflare.expression.fit import fit
from dataflare.plan_words import EdgeKind
from dataflare.schema import Column, Schema

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import pyarrow as pa

    from dataflare.batch import Batch
    from dataflare.schema import Told

_DECIMAL_DIGITS_MAX = 38


@processor(
    "union",
    accepts=(EdgeKind.APPEND, EdgeKind.UPSERT, EdgeKind.RETRACT),
    counts=(),
    examples=[{}],
)
class Union(Processor[Config]):
    """Brings several inputs together, column by column.

    Columns are matched by name, in the order in which they first appear; one that an input lacks is null there.
    Numbers of one kind and different widths become the wider one; other differences of type are errors. Rows keep
    the order of their input; the inputs interleave as they come. Changes (rows with `_op`) must have the same key.
    """

    knows_unchanged = True
    _schema: pa.Schema | None = None

    def outputs(self, inputs: Sequence[Schema]) -> Mapping[str, Schema]:
        """Return the columns of all inputs."""
        columns: dict[str, Column] = {}
        origin: dict[str, int] = {}
        for port, schema in enumerate(inputs):
            for column in schema:
                known = columns.get(column.name)
                columns[column.name] = column if known is None else _joined(known, column, origin[column.name], port)
                origin.setdefault(column.name, port)
        everywhere = {n for n in columns if all(n in s for s in inputs)}
        found = (c if c.name in everywhere else _nullable(c) for c in columns.values())
        return {"": Schema(tuple(_with_told(c, inputs) for c in found))}

    def keeps_rows(self) -> bool:
        """Return that rows pass as they are."""
        return True

    def open(self) -> None:
        """Settle the columns."""
        schemas = self.context.schemas
        self._schema = self.outputs([schemas[str(port)] for port in range(len(schemas))])[""].to_arrow()

    def process(self, batch: Batch, port: int = 0) -> Iterable[Batch]:
        """Give the rows the columns of all inputs."""
        import pyarrow as pa

        del port
        assert self._schema is not None
        rows = batch.rows
        for field in self._schema:
            if field.name not in rows.schema.names:
                rows = rows.append_column(field, pa.nulls(rows.num_rows, field.type))
        yield batch.replace(fit(rows, self._schema), "")


def _nullable(column: Column) -> Column:
    return Column(column.name, column.type, nullable=True, tags=column.tags)


def _with_told(column: Column, inputs: Sequence[Schema]) -> Column:
    """Return the column as it is told where any input may leave values out."""
    if not any(UNCHANGED in s for s in inputs):
        return column
    told: set[Told] = {s[column.name].told if UNCHANGED in s else "value" for s in inputs if column.name in s}
    return replace(column, told=told.pop() if len(told) == 1 else "" if "" in told else "value")


def _joined(first: Column, second: Column, port: int, other_port: int) -> Column:
    kind = wider(first.type, second.type)
    if kind is None:
        raise WorkflowError(
            f"column {first.name!r} is {first.type} in input {port + 1} and {second.type} in input {other_port + 1}",
            hint="cast one of them in a mapping before the union",
        )
    tags = tuple(dict.fromkeys([*first.tags, *second.tags]))
    return Column(first.name, kind, first.nullable or second.nullable, tags)


def wider(first: str, second: str) -> str | None:
    """Return the type that holds all values of both without loss, None where none is plain."""
    if second in (first, "null"):
        return first
    if first == "null":
        return second
    if {first, second} == {"json", "string"}:
        return "string"
    numbers = [re.fullmatch(r"(u?int|float)(\d+)", t) for t in (first, second)]
    if numbers[0] and numbers[1] and numbers[0][1] == numbers[1][1]:
        return max((first, second), key=lambda t: int(re.sub(r"\D", "", t)))
    decimals = [re.fullmatch(r"decimal\((\d+),(\d+)\)", t) for t in (first, second)]
    if decimals[0] and decimals[1]:
        scale = max(int(m[2]) for m in decimals if m)
        digits = max(int(m[1]) - int(m[2]) for m in decimals if m) + scale
        return f"decimal({digits},{scale})" if digits <= _DECIMAL_DIGITS_MAX else None
    return None


__all__ = ["Union", "wider"]
