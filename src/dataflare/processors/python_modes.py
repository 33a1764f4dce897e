"""How a worker process calls a user's function: with a record, with columns, or with a whole table."""

from __future__ import annotations

import traceback
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from itertools import chain, repeat
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import TracebackType

REASON_CHARACTERS_MAX = 300
CACHED_ROWS = 1024
_UNFIT = (pa.ArrowException, TypeError, ValueError, OverflowError, AttributeError)


class ShapeError(Exception):
    """The function returned something that no row is to blame for."""


class Rejected:
    """The rows of one request that the function could not handle: place, reason, and line of the user's code."""

    def __init__(self, file: str, *, first_only: bool) -> None:
        """Look for lines in `file`; `first_only` asks for no more than one row."""
        self.rows: dict[int, tuple[str, int]] = {}
        self._file, self._first_only = file, first_only

    @property
    def enough(self) -> bool:
        """Whether there is no use in going on."""
        return self._first_only and bool(self.rows)

    def failed(self, row: int, error: BaseException) -> None:
        """Note a row on which the function raised."""
        self.rows[row] = (reason_of(error), line_of(error.__traceback__, self._file))

    def unfit(self, row: int, reason: str) -> None:
        """Note a row whose result does not fit the output; the first reason stays."""
        self.rows.setdefault(row, (reason, 0))


class Answer:
    """Rows, and for each the place of the row that it came from."""

    def __init__(self, rows: pa.Table, sources: Sequence[int]) -> None:
        """Keep both."""
        self.rows, self.sources = rows, sources


class Mode(ABC):
    """One way of calling the function. `output` is what it returns; `progress[0]` tells the row that is at work."""

    def __init__(self, function: Callable[[Any], Any], output: pa.Schema, progress: memoryview) -> None:
        """Keep them."""
        self.function, self.output, self.progress = function, output, progress

    @abstractmethod
    def run(self, rows: pa.Table, rejected: Rejected) -> Answer:
        """Call the function; rows that it cannot handle go to `rejected`."""


class RecordMode(Mode):
    """The function takes a dict; it returns a dict, several, or None."""

    def run(self, rows: pa.Table, rejected: Rejected) -> Answer:
        """Go through the rows one by one, so many at a time that their dicts stay in the processor's cache."""
        parts = [self.output.empty_table()]
        sources: list[int] = []
        for start in range(0, rows.num_rows, CACHED_ROWS):
            part = self._call(rows.slice(start, CACHED_ROWS), start, rejected)
            parts.append(part.rows)
            sources += part.sources
            if rejected.enough:
                break
        return Answer(pa.concat_tables(parts).combine_chunks(), sources)

    def _call(self, rows: pa.Table, start: int, rejected: Rejected) -> Answer:
        function, progress = self.function, self.progress
        records: list[dict[str, Any]] = []
        sources: list[int] = []
        for number, record in _records(rows, start, rejected):
            progress[0] = number
            try:
                result = function(record)
                if result.__class__ is dict:
                    records.append(result)
                    sources.append(number)
                elif result is not None:
                    answers = several(result)
                    records += answers
                    sources += repeat(number, len(answers))
            except MemoryError:
                raise
            except Exception as error:  # noqa: BLE001 - a user's function may raise anything: the row's fault
                rejected.failed(number, error)
                if rejected.enough:
                    break
        return self._encoded(records, sources, rejected)

    def _encoded(self, records: list[dict[str, Any]], sources: list[int], rejected: Rejected) -> Answer:
        """Turn records into columns; a row one of whose results does not fit is rejected with all its results."""
        table, unfit = encode(records, self.output)
        if table is not None:
            return Answer(table, sources)
        for index, reason in unfit.items():
            rejected.unfit(sources[index], reason)
        kept = [n for n, source in enumerate(sources) if source not in rejected.rows]
        table, unfit = encode([records[n] for n in kept], self.output)
        if table is None:
            raise ShapeError(f"the function's records do not fit the output: {next(iter(unfit.values()))}")
        return Answer(table, [sources[n] for n in kept])


class ColumnsMode(Mode):
    """The function takes a dict of lists and returns one."""

    def run(self, rows: pa.Table, rejected: Rejected) -> Answer:
        """Call with all rows; where it raises, with halves."""
        return _halving(self._call, rows, rejected, self.output)

    def _call(self, rows: pa.Table) -> pa.Table:
        columns = {n: values_of(c) for n, c in zip(rows.schema.names, rows.columns, strict=True)}
        result = self.function(columns)
        if not isinstance(result, Mapping):
            raise ShapeError(f"the function returned {_kind(result)}; mode columns wants a dict of lists")
        _same_names(list(result), self.output.names)
        values = [list(result[name]) for name in self.output.names]
        if len({len(v) for v in values}) > 1:
            raise ShapeError("the function returned columns of different lengths")
        arrays = []
        for field, column in zip(self.output, values, strict=True):
            array, unfit = _array(column, field)
            if array is None:
                raise ValueError(next(iter(unfit.values())))
            arrays.append(array)
        return pa.Table.from_arrays(arrays, schema=self.output)


class BatchMode(Mode):
    """The function takes a pyarrow Table and returns one."""

    def run(self, rows: pa.Table, rejected: Rejected) -> Answer:
        """Call with all rows; where it raises, with halves."""
        return _halving(self._call, rows, rejected, self.output)

    def _call(self, rows: pa.Table) -> pa.Table:
        result = self.function(rows)
        if isinstance(result, pa.RecordBatch):
            result = pa.Table.from_batches([result])
        if not isinstance(result, pa.Table):
            raise ShapeError(f"the function returned {_kind(result)}; mode batch wants a pyarrow.Table")
        _same_names(result.schema.names, self.output.names)
        columns = []
        for field in self.output:
            column = result.column(field.name)
            if column.type != field.type:
                column = column.cast(field.type)
            if column.null_count and not field.nullable:
                raise ValueError(f"column {field.name!r} must not be null")
            columns.append(column)
        return pa.Table.from_arrays(columns, schema=self.output)


MODES: dict[str, type[Mode]] = {"record": RecordMode, "columns": ColumnsMode, "batch": BatchMode}


# ---- rows to values ---------------------------------------------------------------------------------------------


def _records(rows: pa.Table, start: int, rejected: Rejected) -> Iterable[tuple[int, dict[str, Any]]]:
    """Return every row with its place, from `start`; one with a value that Python has no object for is rejected."""
    try:
        columns = [values_of(c) for c in rows.columns]
    except (ValueError, OverflowError):
        return _records_one_by_one(rows, start, rejected)
    # Built in C from end to end: 1.5 times as fast as a comprehension of dict(zip(...)).
    return enumerate(map(dict, map(zip, repeat(rows.schema.names), zip(*columns, strict=True))), start)


def _records_one_by_one(rows: pa.Table, start: int, rejected: Rejected) -> Iterator[tuple[int, dict[str, Any]]]:
    names = rows.schema.names
    for number in range(rows.num_rows):
        row = rows.slice(number, 1)
        record: dict[str, Any] = {}
        for name, column in zip(names, row.columns, strict=True):
            try:
                record[name] = values_of(column)[0]
            except (ValueError, OverflowError):
                why = f"column {name!r} has a value beyond the range of Python's {column.type}"
                rejected.unfit(start + number, why)
                break
        else:
            yield start + number, record
        if rejected.enough:
            return


def values_of(column: pa.ChunkedArray) -> list[Any]:
    """Return a column as Python objects; instants are datetimes in UTC, and are made ten times as fast as Arrow does.

    Raises ValueError or OverflowError for a value that Python has no object for.
    """
    kind = column.type
    if not pa.types.is_timestamp(kind) or kind.unit != "us" or kind.tz not in (None, "UTC"):
        values: list[Any] = column.to_pylist()
        return values
    epoch, after = datetime(1970, 1, 1, tzinfo=UTC if kind.tz else None), timedelta
    numbers = chain.from_iterable(chunk.view(pa.int64()).to_pylist() for chunk in column.chunks)
    return [None if n is None else epoch + after(0, 0, n) for n in numbers]


# ---- values to rows ---------------------------------------------------------------------------------------------


def encode(records: list[dict[str, Any]], schema: pa.Schema) -> tuple[pa.Table | None, dict[int, str]]:
    """Return the records as a table; or None, and the reason of each record that does not fit.

    A column that a record lacks is null; one that the schema lacks does not fit.
    """
    names = schema.names
    unfit: dict[int, str] = {}
    whole = not set(map(len, records)) - {len(names)}
    try:
        columns = _transposed(records, names) if whole else None
    except KeyError:
        columns = None
    if columns is None:
        known = set(names)
        extra = ((i, sorted(map(str, r.keys() - known))) for i, r in enumerate(records) if not r.keys() <= known)
        unfit = {i: f"TypeError: the output has no column {found[0]!r}" for i, found in extra}
        columns = [[r.get(n) for r in records] for n in names]
    arrays = []
    for field, values in zip(schema, columns, strict=True):
        array, wrong = _array(values, field)
        arrays.append(array)
        unfit = wrong | unfit
    if unfit:
        return None, unfit
    return pa.Table.from_arrays(arrays, schema=schema), {}


def _transposed(records: list[dict[str, Any]], names: list[str]) -> Sequence[Sequence[Any]]:
    """Return the values by column; raise KeyError where a record lacks one. Built in C from end to end."""
    if len(names) < 2 or not records:  # noqa: PLR2004 - of one name, itemgetter makes no tuple
        return [[r[n] for r in records] for n in names]
    return list(zip(*map(itemgetter(*names), records), strict=True))


def typed_array(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    """Return values as an array of a type; raise what Arrow does where one does not fit: of a fraction, too.

    Arrow would make 1 of 1.5 in a column of whole numbers.
    """
    if pa.types.is_integer(kind) and any(issubclass(t, float) for t in set(map(type, values))):
        fraction = next((v for v in values if isinstance(v, float) and not v.is_integer()), None)
        if fraction is not None:
            raise pa.ArrowInvalid(f"{fraction} is no whole number")
    return pa.array(values, kind)


def _array(values: Sequence[Any], field: pa.Field) -> tuple[pa.Array | None, dict[int, str]]:
    """Return the values as an array; or None, and the reason of each that does not fit (not the value itself)."""
    try:
        array = typed_array(values, field.type)
    except MemoryError:
        raise
    except _UNFIT:
        return None, dict(_unfit(values, field))
    if array.null_count and not field.nullable:
        return None, {i: f"column {field.name!r} must not be null" for i, v in enumerate(values) if v is None}
    return array, {}


def _unfit(values: Sequence[Any], field: pa.Field) -> Iterator[tuple[int, str]]:
    for index, value in enumerate(values):
        try:
            typed_array([value], field.type)
        except MemoryError:
            raise
        except _UNFIT:
            yield index, f"TypeError: column {field.name!r} is {field.type}; a value of type {_kind(value)} is not"


def several(result: object) -> list[dict[str, Any]]:
    """Return the records of an answer that is neither a dict nor None; run a generator to its end."""
    if isinstance(result, Mapping):
        return [dict(result)]
    if isinstance(result, str | bytes) or not isinstance(result, Iterable):
        raise TypeError(f"returned {_kind(result)}; mode record wants a dict, several dicts or None")
    records = list(result)
    for record in records:
        if not isinstance(record, dict):
            raise TypeError(f"returned {_kind(record)} among its records; mode record wants dicts")
    return records


def _same_names(got: list[str], wanted: list[str]) -> None:
    missing, extra = set(wanted) - set(got), set(got) - set(wanted)
    if missing:
        raise ShapeError(f"the function did not return column {min(missing)!r}")
    if extra:
        raise ShapeError(f"the function returned column {min(map(str, extra))!r}, which the output has not")


def _kind(value: object) -> str:
    return type(value).__name__


# ---- failures ---------------------------------------------------------------------------------------------------


def _halving(call: Callable[[pa.Table], pa.Table], rows: pa.Table, rejected: Rejected, output: pa.Schema) -> Answer:
    """Call with all rows; where that raises with each half, down to the row that is to blame."""
    parts: list[pa.Table] = [output.empty_table()]
    sources: list[range] = []
    todo = [(0, rows.num_rows)]
    while todo and not rejected.enough:
        start, stop = todo.pop()
        try:
            part = call(rows.slice(start, stop - start))
        except (MemoryError, ShapeError):
            raise
        except Exception as error:  # noqa: BLE001 - a user's function may raise anything
            if stop - start == 1:
                rejected.failed(start, error)
            else:
                middle = (start + stop) // 2
                todo += [(middle, stop), (start, middle)]
        else:
            parts.append(part)
            sources.append(range(start, stop) if part.num_rows == stop - start else range(0))
    return Answer(pa.concat_tables(parts), list(chain.from_iterable(sources)))


def reason_of(error: BaseException) -> str:
    """Return `Type: message`, bounded."""
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - the __str__ of the user's own exception raises
        text = ""
    name = type(error).__name__
    return (f"{name}: {text}" if text else name)[:REASON_CHARACTERS_MAX]


def line_of(trace: TracebackType | None, file: str) -> int:
    """Return the last line of `file` in a traceback; 0 when it is not in there."""
    lines = [number for frame, number in traceback.walk_tb(trace) if frame.f_code.co_filename == file]
    return lines[-1] if lines else 0
