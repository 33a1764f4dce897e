"""Brings typed rows to the planned columns, by the contract of their source: cast, made null, put aside, or refused."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from dataflare.errors import DataError, Place
from dataflare.schema import Schema

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import pyarrow as pa

    Cast = Callable[[pa.ChunkedArray, str], pa.ChunkedArray]
    """Returns a column as a type text says; raises ArrowInvalid or ArrowNotImplementedError where a value is none."""

ERRORS = Schema.of({"error": "string", "file": "string", "line": "int64", "raw": "string"})
"""The schema of the stream `errors` of sources; `line` is 1-based, `raw` the text of the row, or JSON."""


def cast(column: pa.ChunkedArray, kind: str) -> pa.ChunkedArray:
    """Return a column in a type: whole and exact, but for times, which are carried in microseconds."""
    import pyarrow as pa

    from dataflare.schema import arrow_type

    wanted, t = arrow_type(kind), pa.types
    if t.is_timestamp(wanted) and t.is_timestamp(column.type) and column.type.unit == "ns":
        return column.cast(wanted, safe=False)
    return column.cast(wanted)


class Judge:
    """Fits rows into a schema. `data_type` is the word of the contract; `where` and `what` name the rows' origin."""

    def __init__(self, schema: Schema, data_type: str, what: str, where: str, cast: Cast = cast) -> None:
        """`cast` makes a column of a type; it is asked for halves where a value does not fit."""
        self._schema, self._target, self._word = schema, schema.to_arrow(), data_type
        self._what, self._where, self._cast = what, where, cast

    def fitted(self, rows: pa.Table) -> pa.Table:
        """Return the rows in the planned schema: columns by name, absent ones null; raise DataError for a misfit.

        Where values are discarded, one that does not fit is null.
        """
        import pyarrow as pa

        columns = []
        for field in self._target:
            column = self._column(rows, field.name)
            if column is None:
                columns.append(pa.chunked_array([pa.nulls(rows.num_rows, field.type)]))
                continue
            try:
                columns.append(column if column.type == field.type else self._cast(column, self._kind(field.name)))
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
                if self._word == "discard" and field.nullable:
                    columns.append(self._emptied(column, field.name))
                    continue
                raise DataError(
                    f"column {field.name!r} is {column.type} in this {self._what}, and not all of it fits in "
                    f"{self._kind(field.name)}",
                    hint="declare a wider type under `columns`, or say what becomes of it: contract: {data_type: ...}",
                    place=Place(self._where),
                ) from error
        return pa.Table.from_arrays(columns, schema=self._target) if columns else rows.select([])

    def misfits(self, rows: pa.Table) -> dict[int, str]:
        """Return the numbers of the rows that `fitted` cannot fit, each with a reason that holds no value."""
        found: dict[int, str] = {}
        for field in self._target:
            column = self._column(rows, field.name)
            if column is None or column.type == field.type or (self._word == "discard" and field.nullable):
                continue
            reason = f"column {field.name!r}: a value of type {column.type} is no {self._kind(field.name)}"
            for number in self._uncastable(column, field.name, 0):
                found.setdefault(number, reason)
        return dict(sorted(found.items()))

    def errors(self, rows: pa.Table, bad: Mapping[int, str]) -> pa.Table:
        """Return the bad ones of some rows in the shape of `ERRORS`."""
        return errors_of(rows.take(list(bad)).to_pylist(), list(bad.values()), self._where)

    def without(self, rows: pa.Table, bad: Mapping[int, str]) -> pa.Table:
        """Return the rows that are not bad, fitted."""
        import pyarrow as pa

        return self.fitted(rows.filter(pa.array([n not in bad for n in range(rows.num_rows)])) if bad else rows)

    def _column(self, rows: pa.Table, name: str) -> pa.ChunkedArray | None:
        """Return a column that has a value, else None."""
        at = rows.schema.get_field_index(name)
        column = rows.column(at) if at >= 0 else None
        return None if column is None or column.null_count == rows.num_rows else column

    def _kind(self, name: str) -> str:
        return self._schema[name].type

    def _emptied(self, column: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
        """Return a column with null where a value does not fit."""
        import pyarrow as pa

        numbers: list[int | None] = list(range(len(column)))
        for number in self._uncastable(column, name, 0):
            numbers[number] = None
        if not any(n is not None for n in numbers):
            return pa.chunked_array([pa.nulls(len(column), self._target.field(name).type)])
        return self._cast(column.take(pa.array(numbers, pa.int64())), self._kind(name))

    def _uncastable(self, column: pa.ChunkedArray, name: str, first: int) -> Iterator[int]:
        import pyarrow as pa

        try:
            self._cast(column, self._kind(name))
        except pa.ArrowNotImplementedError:  # no value is one, nulls apart
            valid = column.is_valid().to_pylist()
            yield from (first + n for n, there in enumerate(valid) if there)
        except pa.ArrowInvalid:
            if len(column) == 1:
                yield first
                return
            middle = len(column) // 2
            yield from self._uncastable(column.slice(0, middle), name, first)
            yield from self._uncastable(column.slice(middle), name, first + middle)


def errors_of(rows: Sequence[Mapping[str, Any]], reasons: Sequence[str], where: str) -> pa.Table:
    """Return bad rows in the shape of `ERRORS`, without lines."""
    import pyarrow as pa

    texts = [json.dumps(dict(row), default=str) for row in rows]
    lines: list[int | None] = [None] * len(texts)
    columns = [list(reasons), [where] * len(texts), lines, texts]
    schema = ERRORS.to_arrow()
    return pa.Table.from_arrays([pa.array(c, t) for c, t in zip(columns, schema.types, strict=True)], schema=schema)


__all__ = ["ERRORS", "Judge", "cast", "errors_of"]
