"""Makes tables of what a user's function yields, by the contract of the source."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

import pyarrow as pa

from dataflare.component.bad_rows import converted
from dataflare.component.deviations import listed
from dataflare.component.judging import Judge, errors_of
from dataflare.errors import DataError
from dataflare.schema import Schema, arrow_type

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dataflare.component.deviations import Contract
    from dataflare.schema import Column

Rows: TypeAlias = "pa.Table | list[Mapping[str, Any]]"
"""What a function yields: a table, or records."""

_NO_ROWS = (pa.ArrowException, KeyError, TypeError, ValueError, AttributeError, OverflowError)


def gathered(rows: Any, name: str) -> Rows:
    """Return rows of any form as a table or as a list; raise DataError where they are none."""
    if isinstance(rows, pa.RecordBatch):
        return pa.Table.from_batches([rows])
    try:
        found = rows if isinstance(rows, pa.Table) else [rows] if isinstance(rows, Mapping) else list(rows)
    except TypeError as error:
        raise no_rows(rows, name, error) from error
    if isinstance(found, list) and not all(isinstance(r, Mapping) for r in found):
        raise no_rows(rows, name, TypeError())
    return found


def as_found(rows: Rows, name: str) -> pa.Table:
    """Return rows as a table of whatever columns they have."""
    if isinstance(rows, pa.Table):
        return rows
    try:
        return pa.table({n: [r.get(n) for r in rows] for n in dict.fromkeys(n for r in rows for n in r)})
    except _NO_ROWS as error:
        raise no_rows(rows, name, error) from error


def no_rows(rows: Any, name: str, error: Exception) -> DataError:
    """Return the error of what is no rows; it shows no value of them."""
    return DataError(
        f"{name} yielded {type(rows).__name__} that is no rows of the planned columns: {type(error).__name__}",
        hint="yield dicts, lists of dicts or pyarrow tables; declare other `columns`",
    )


class Taker:
    """Fits rows into the planned columns."""

    def __init__(self, schema: Schema, contract: Contract, name: str) -> None:
        """`name` is that of the function."""
        self._schema, self._contract, self._name = schema, contract, name
        self._known = set(schema.names)

    def taken(self, rows: Rows) -> tuple[pa.Table, pa.Table | None]:
        """Return the rows that are taken, and those that are not in the shape of errors, if there are any."""
        return self._table(rows) if isinstance(rows, pa.Table) else self._records(rows)

    def _table(self, rows: pa.Table) -> tuple[pa.Table, pa.Table | None]:
        contract, names = self._contract, rows.column_names
        contract.tell_missing(contract.lacks(self._schema, names, self._name), self._name)
        extra = [n for n in names if n not in self._known]
        contract.has_more(extra, self._name)
        if contract.data_type == "freeze":
            contract.check_types(self._schema, Schema.from_arrow(rows.schema), self._name)
        judge = Judge(self._schema, contract.data_type, "function", self._name)
        bad = judge.misfits(rows) if contract.puts_aside() else {}
        if contract.extra == "discard_row":
            more = {n: _unknown([c]) for c in extra for n, v in enumerate(rows.column(c).is_valid().to_pylist()) if v}
            bad = dict(sorted({**bad, **more}.items()))
        return judge.without(rows, bad), judge.errors(rows, bad) if bad else None

    def _records(self, rows: list[Mapping[str, Any]]) -> tuple[pa.Table, pa.Table | None]:
        contract = self._contract
        extra = dict.fromkeys(n for r in rows for n in r if n not in self._known)
        contract.has_more(list(extra), self._name)
        bad: dict[int, str] = {}
        if extra and contract.extra == "discard_row":
            bad = {n: _unknown(more) for n, r in enumerate(rows) if (more := [k for k in r if k not in self._known])}
        columns = [self._column(rows, column, bad) for column in self._schema]
        table = pa.Table.from_arrays(columns, schema=self._schema.to_arrow())
        if not bad:
            return table, None
        bad = dict(sorted(bad.items()))
        kept = table.filter(pa.array([n not in bad for n in range(len(rows))]))
        return kept, errors_of([rows[n] for n in bad], list(bad.values()), self._name)

    def _column(self, rows: Sequence[Mapping[str, Any]], column: Column, bad: dict[int, str]) -> Any:
        """Return the values of a column; numbers of rows that cannot be taken for it go to `bad`."""
        contract, values, kind = self._contract, [r.get(column.name) for r in rows], arrow_type(column.type)
        empty = contract.data_type == "discard" and column.nullable
        if not (contract.puts_aside() or empty):
            return _array(values, kind=kind, name=self._name)
        odd: list[int] = []
        found = converted(values, kind, partial(_array, kind=kind, name=self._name), odd)
        for number in () if empty else odd:
            bad.setdefault(number, f"column {column.name!r} is not {column.type}")
        return found


def _unknown(names: Sequence[str]) -> str:
    return f"the row has fields that the plan does not know: {listed(list(names))}"


def _array(values: list[Any], *, kind: pa.DataType, name: str) -> pa.Array:
    try:
        return pa.array(values, kind)
    except _NO_ROWS as error:
        raise no_rows(values, name, error) from error


__all__ = ["Rows", "Taker", "as_found", "gathered", "no_rows"]
