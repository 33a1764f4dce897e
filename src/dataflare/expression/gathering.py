"""Makes partial rows by Arrow where values of a DISTINCT are gathered: one grouping for all parts, or none.

DuckDB takes twice the CPU to gather lists. Groups may come out finer than DuckDB's (-0.0 beside 0.0), which is no
harm: partial rows of a group may be many.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from dataflare.expression.session import folded

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

    from dataflare.expression.grouping import Grouping
    from dataflare.expression.pieces import CallText

_IDENTIFIER = re.compile(r"[A-Za-z_]\w*")
_SUM_MAX = (1 << 63) - 1
_VALUES_THAT_TELL, _REPEATING = 1 << 16, 0.5


class Gathering:
    """The partial rows of a grouping whose keys are columns, and whose parts are counts, sums and lists of columns."""

    def __init__(self, grouping: Grouping, schema: pa.Schema, partial: pa.Schema) -> None:
        """Take rows of `schema` to those of `partial`; `possible` tells whether that can be done."""
        self._partial, self._schema = partial, schema
        keys = [e.column for _, e in grouping.keys]
        kernels = [_kernel(p.call, grouping.reads, schema) for p in grouping.parts]
        self.possible = (
            bool(grouping.values)
            and all(k is not None and _groups(schema.field(k).type) for k in keys)
            and all(k is not None for k in kernels)
        )
        self._keys = [k for k in keys if k is not None]
        self._kernels = [k for k in kernels if k is not None]
        self._reads = list(dict.fromkeys([*self._keys, *(c for c, _ in self._kernels if c)]))

    def run(self, rows: pa.Table) -> pa.Table | None:
        """Return the partial rows; None where a sum might not fit 64 bits, and DuckDB has to make them."""
        import pyarrow as pa

        if any(k == "sum" and not _sum_fits(rows.column(c)) for c, k in self._kernels):
            return None
        if not self._keys:
            return self._whole(rows)
        names = {name: f"c{n}" for n, name in enumerate(self._reads)}
        plain = pa.table([rows.column(n) for n in self._reads], names=list(names.values()))
        asked = [(names[c], k) if c else ([], k) for c, k in dict.fromkeys(self._kernels)]
        found = plain.group_by([names[k] for k in self._keys], use_threads=False).aggregate(asked)
        made = [found.column(f"{names[c]}_{k}" if c else k) for c, k in self._kernels]
        columns = [*(found.column(names[k]) for k in self._keys), *made]
        return pa.table(columns, names=self._partial.names).cast(self._partial)

    def _whole(self, rows: pa.Table) -> pa.Table:
        """Return the one partial row of all rows; values are listed once where some of them tell that they repeat."""
        import pyarrow as pa
        import pyarrow.compute as pc

        made: list[pa.Array] = []
        for name, kernel in self._kernels:
            if kernel == "list":
                values = rows.column(name)
                some = values.slice(0, _VALUES_THAT_TELL)
                values = pc.unique(values) if len(pc.unique(some)) < _REPEATING * len(some) else values.combine_chunks()
                made.append(pa.ListArray.from_arrays(pa.array([0, len(values)], pa.int32()), values))
                continue
            found = {"count_all": lambda _: rows.num_rows, "count": pc.count, "sum": pc.sum}[kernel]
            value = found(rows.column(name) if name else None)
            made.append(pa.array([value.as_py() if isinstance(value, pa.Scalar) else value]))
        return pa.table(made, names=self._partial.names).cast(self._partial)


def _kernel(call: CallText | None, reads: Sequence[str], schema: pa.Schema) -> tuple[str, str] | None:
    """Return (column or "", kernel of Arrow) of an aggregate; None where Arrow has none that is the same."""
    if call is None or call.order or call.within or call.distinct or call.filter:
        return None
    if call.name == "count_star" or (call.name == "count" and not call.arguments):
        return "", "count_all"
    column = _column(call.arguments[0], reads) if len(call.arguments) == 1 else None
    if column is None:
        return None
    summed = _sums(schema.field(column).type)
    known = {"count": "count", "list": "list", **({"sum": "sum"} if summed else {})}
    return (column, known[call.name]) if call.name in known else None


def _column(text: str, reads: Sequence[str]) -> str | None:
    """Return the column that an argument is; None where it is anything else."""
    name = text.strip()
    if name[:1] == '"' and name[-1:] == '"':
        name = name[1:-1].replace('""', '"')
    elif not _IDENTIFIER.fullmatch(name):
        return None
    return next((n for n in reads if folded(n) == folded(name)), None)


def _groups(kind: pa.DataType) -> bool:
    import pyarrow as pa

    t = pa.types
    tests = (t.is_string, t.is_integer, t.is_boolean, t.is_date, t.is_timestamp)
    return any(test(kind) for test in tests)


def _sums(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_integer(kind) or pa.types.is_float32(kind) or pa.types.is_float64(kind))


def _sum_fits(column: pa.ChunkedArray) -> bool:
    """Tell whether no sum of these values leaves 64 bits, where Arrow's would wrap around."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not pa.types.is_integer(column.type):
        return True
    if column.type.bit_width < 64:  # noqa: PLR2004
        return len(column) < 1 << 31
    ends = pc.min_max(column).as_py()
    return bool(max(abs(ends["min"] or 0), abs(ends["max"] or 0)) * len(column) <= _SUM_MAX)


__all__ = ["Gathering"]
