"""Gets rows through a plugin: in portions, and by halves where an instance is stopped, down to the row to blame."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from dataflare.errors import DataError, ExternalError, Place
from dataflare.plugin.failures import FatalError, TransientError, TrappedError, shown
from dataflare.processors.wasm_breaker import RESTS
from dataflare.processors.wasm_buffers import BUFFERS, UnfitError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from dataflare.plugin.guarded import GuardedInstance
    from dataflare.processors.wasm_breaker import Breaker
    from dataflare.processors.wasm_buffers import Arrays
    from dataflare.processors.wasm_texts import Texts, Unfit
    from dataflare.schema import Schema

ROWS_MAX, BYTES_MAX = {BUFFERS: 1 << 16}, 4 << 20
"""Of one call; as text 8,192 rows."""
RETURNED_ROWS_MAX, RETURNED_CHARACTERS_MAX = 1 << 21, 64 << 20
"""What one call may return: what is made of it here takes up to twenty times as much."""


@dataclass(slots=True)
class Returned:
    """What came of some rows: by output the rows, and the numbers of those that they came of; and why rows failed."""

    rows: dict[str, list[pa.Table]] = field(default_factory=dict)
    sources: dict[str, list[pa.Array]] = field(default_factory=dict)
    rejected: Unfit = field(default_factory=dict)

    def add(self, more: Returned) -> None:
        """Add what came of other rows."""
        self.rejected |= more.rejected
        for output, tables in more.rows.items():
            self.rows.setdefault(output, []).extend(tables)
            self.sources.setdefault(output, []).extend(more.sources[output])


class Calls:
    """Calls a plugin with rows.

    `outputs` are the columns that it returns for each output; `ignored` those that it may return besides.
    """

    def __init__(
        self,
        instance: GuardedInstance,
        texts: Texts | Arrays,
        form: str,
        outputs: Mapping[str, Schema],
        ignored: Mapping[str, Collection[str]],
    ) -> None:
        """Keep them."""
        self._instance, self._texts, self._form, self._outputs = instance, texts, form, outputs
        self._ignored = ignored
        self._file = instance.file

    def run(self, rows: pa.Table, breaker: Breaker, *, first_only: bool) -> Returned:
        """Return what came of the rows; `first_only`: one rejected row is all that is asked for."""
        found = Returned(rejected=self._texts.inexact(rows))
        numbers = pa.arange(0, rows.num_rows)
        if found.rejected:
            numbers = pa.array([n for n in range(rows.num_rows) if n not in found.rejected], pa.int64())
            rows = rows.take(numbers)
        portion = max(1, min(ROWS_MAX.get(self._form, 8192), BYTES_MAX * rows.num_rows // max(1, rows.nbytes)))
        todo = [(at, min(at + portion, rows.num_rows)) for at in range(0, rows.num_rows, portion)][::-1]
        while todo and not (first_only and found.rejected):
            start, stop = todo.pop()
            if breaker.rests:
                found.rejected |= dict.fromkeys(numbers.slice(start, stop - start).to_pylist(), RESTS)
                continue
            try:
                slices = rows.slice(start, stop - start), numbers.slice(start, stop - start)
                found.add(self._call(*slices, first_only=first_only))
                breaker.went_well()
            except (TrappedError, UnfitError) as error:
                if stop - start == 1:
                    why = f"stopped: {error.what}" if isinstance(error, TrappedError) else str(error)
                    found.rejected[numbers[start].as_py()] = why
                    if isinstance(error, TrappedError):
                        breaker.stopped(error.what)
                else:
                    middle = (start + stop) // 2
                    todo += [(middle, stop), (start, middle)]
        if found.rejected:
            leave_out(found)
        return found

    def run_lines(self, text: str, count: int) -> Returned | None:
        """Return what came of rows that are JSON lines; None, with nothing done, where the plugin was stopped."""
        try:
            found = self._called("process-batch", (self._form, count, text), numbers=pa.arange(0, count))
        except TrappedError:
            return None
        if found.rejected:
            leave_out(found)
        return found

    def _call(self, rows: pa.Table, numbers: pa.Array, *, first_only: bool) -> Returned:
        """Return what came of some rows; where that cannot be raise TrappedError, or DataError if `first_only`."""
        written = self._texts.written(rows, self._form)
        if self._form == BUFFERS:
            return self._called("process-buffers", rows.num_rows, written, numbers=numbers, first_only=first_only)
        batch = (self._form, rows.num_rows, written)
        return self._called("process-batch", batch, numbers=numbers, first_only=first_only)

    def _called(self, name: str, *given: Any, numbers: pa.Array, first_only: bool = False) -> Returned:
        try:
            made: Returned = self._instance.call(name, *given, judge=partial(self._judged, numbers, first_only))
        except TransientError as error:
            raise ExternalError(f"the plugin asks to be called again: {error.what}", place=Place(self._file)) from None
        except FatalError as error:
            raise DataError(f"the plugin cannot go on: {error.what}", place=Place(self._file)) from None
        return made

    def _judged(self, numbers: pa.Array, first_only: bool, told: tuple[Any, Any]) -> Returned:  # noqa: FBT001 - partial
        """Return what a plugin says came of some rows, of which nothing is believed."""
        try:
            return self._read(numbers, *told)
        except DataError as error:
            if first_only:
                raise
            raise TrappedError(error.what) from None
        except (ValueError, TypeError, OverflowError, RecursionError, pa.ArrowException) as error:
            raise TrappedError(f"what it returned cannot be read: {error}") from None

    def _read(self, numbers: pa.Array, parts: Any, errors: Any) -> Returned:
        found = Returned()
        blamed = max((row for row, _ in errors), default=0)
        if errors and blamed >= len(numbers):
            raise self._wrong(f"blames row {blamed} of {len(numbers)}")
        found.rejected |= {numbers[n].as_py(): shown(why) for n, why in errors}
        if sum(count for _, count, _, _ in parts) > RETURNED_ROWS_MAX:
            raise self._wrong(f"returned more than {RETURNED_ROWS_MAX:,} rows at once")
        for output, count, data, sources in parts:
            made = (count, data) if self._form == BUFFERS else data
            if len(data) > RETURNED_CHARACTERS_MAX:
                raise self._wrong(f"returned more than {RETURNED_CHARACTERS_MAX >> 20} MB at once")
            self._take(output, made, self._numbers(sources, count, numbers), found)
        return found

    def _wrong(self, what: str) -> DataError:
        return DataError(f"the plugin {what}", hint="correct the plugin", place=Place(self._file))

    def _numbers(self, sources: memoryview | None, count: int, numbers: pa.Array) -> pa.Array:
        """Return the numbers of the rows that some rows came of."""
        import pyarrow.compute as pc

        if sources is None and count == len(numbers):
            return numbers
        if sources is not None and len(sources) == count:
            told = pa.Array.from_buffers(pa.uint32(), count, [None, pa.py_buffer(sources)])
            if not count or pc.max(told).as_py() < len(numbers):
                return numbers.take(told)
        raise DataError(
            f"the plugin returned {count} rows for {len(numbers)}, and does not say which came of which",
            hint="return one value for each row, or let `process` return records",
            place=Place(self._file),
        )

    def _take(self, output: str, data: Any, sources: pa.Array, found: Returned) -> None:
        schema = self._outputs.get(output)
        if schema is None:
            raise DataError(
                f"the plugin returned rows for the output {output!r}, which it did not name",
                hint="export it in `outputs`",
                place=Place(self._file),
            )
        count = len(sources)
        if not count:
            return
        rows, unfit = self._texts.read(data, self._form, schema, self._ignored.get(output, ()))
        if rows.num_rows + len(unfit) != count:
            raise DataError(f"the plugin says that it returns {count} rows, and does not", place=Place(self._file))
        if unfit:
            found.rejected |= {sources[n].as_py(): why for n, why in unfit.items()}
            sources = sources.take(pa.array([n for n in range(count) if n not in unfit], pa.int64()))
        found.rows.setdefault(output, []).append(rows)
        found.sources.setdefault(output, []).append(sources)


def leave_out(found: Returned) -> None:
    """Leave out all that came of a row of which some does not fit."""
    import pyarrow.compute as pc

    rejected = pa.array(list(found.rejected), pa.int64())
    for output, tables in found.rows.items():
        sources = pa.chunked_array(found.sources[output])
        kept = pc.invert(pc.is_in(sources, rejected))
        found.rows[output] = [pa.concat_tables(tables).filter(kept)]
        found.sources[output] = sources.filter(kept).chunks


__all__ = ["Calls", "Returned", "leave_out"]
