"""Queries over more rows than memory holds: rows stream in and out, and what must wait between lies on disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dataflare.errors import DataError, DataFlareError
from dataflare.expression.explain import engine_failed, is_about_rows, reason
from dataflare.expression.fit import fit
from dataflare.expression.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    import pyarrow as pa

    from dataflare.component import Budget

ROWS_MAX = 1 << 16
_ROWS_MIN = 1 << 10
_BYTES = 8 << 20


def rows_of(count: int, size: int) -> int:
    """Return how many rows a table of results may have where so many rows have so many bytes."""
    return max(_ROWS_MIN, min(ROWS_MAX, _BYTES * count // max(1, size)))


class Incoming:
    """Tables of one schema as a query reads them; a failure to make them is kept for who runs the query."""

    def __init__(self, schema: pa.Schema, tables: Callable[[], Iterable[pa.Table]]) -> None:
        """Call `tables` whenever the query begins to read: it may do so more than once, even at the same time."""
        self._schema, self._tables = schema, tables
        self.failure: DataFlareError | OSError | None = None

    def __arrow_c_schema__(self) -> object:
        """Return the schema to whoever plans the query."""
        return self._schema.__arrow_c_schema__()

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """Return a reader that makes the tables as they are wanted."""
        import pyarrow as pa

        reader = pa.RecordBatchReader.from_batches(self._schema, self._batches())
        return reader.__arrow_c_stream__(requested_schema)

    def _batches(self) -> Iterator[pa.RecordBatch]:
        try:
            for table in self._tables():
                yield from table.to_batches()
        except (DataFlareError, OSError) as failure:
            self.failure = failure
            raise


def streamed(
    budget: Budget, inputs: Mapping[str, Incoming], sql: str, schema: pa.Schema, rows_max: int = ROWS_MAX
) -> Iterator[pa.Table]:
    """Run a query over inputs by name; yield its rows in their order, in tables of at most `rows_max`.

    Memory is bounded by the budget, whatever the number of rows; DuckDB spills sorts, joins, groups and windows.
    Raises DataError where a value fails, UnavailableError where neither memory nor disk is enough.
    """
    import duckdb

    session = Session(budget)
    try:
        for name, rows in inputs.items():
            session.register(rows, name)
        for table in session.stream(sql, rows_max):
            yield fit(table, schema)
    except duckdb.Error as error:
        failure = next((i.failure for i in inputs.values() if i.failure is not None), None)
        if failure is not None:
            raise failure from None
        if is_about_rows(error):
            raise DataError(f"a value fails: {reason(error)}", hint="cast it in a mapping before") from error
        raise engine_failed(error) from error
    finally:
        session.close()


__all__ = ["ROWS_MAX", "Incoming", "rows_of", "streamed"]
