"""Gets rows through a plugin: in portions, and by halves where an instance is stopped, down to the row to blame."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pyarrow as pa

from dataflare.errors import DataError, ExternalError, Place
from dataflare.plugin.failures import FatalError, TransientError, TrappedError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from dataflare.plugin.guarded import GuardedInstance
    from dataflare.processors.wasm_texts import Texts, Unfit
    from dataflare.schema import Schema

ROWS_MAX, BYTES_MAX = 8192, 4 << 20
"""Of one call."""


@dataclass(slots=True)
class Returned:
    """What came of some rows: by output the rows, and the numbers of those that they came of; and why rows failed."""

    rows: dict[str, list[pa.Table]] = field(default_factory=dict)
    sources: dict[str, list[int]] = field(default_factory=dict)
    rejected: Unfit = field(default_factory=dict)


class Calls:
    """Calls a plugin with rows.

    `outputs` are the columns that it returns for each output; `ignored` those that it may return besides.
    """

    def __init__(
        self,
        instance: GuardedInstance,
        texts: Texts,
        form: str,
        outputs: Mapping[str, Schema],
        ignored: Mapping[str, Collection[str]],
    ) -> None:
        """Keep them."""
        self._instance, self._texts, self._form, self._outputs = instance, texts, form, outputs
        self._ignored = ignored
        self._file = instance.file

    def run(self, rows: pa.Table, *, first_only: bool) -> Returned:
        """Return what came of the rows; `first_only`: one rejected row is all that is asked for."""
        found = Returned()
        found.rejected |= self._texts.inexact(rows)
        bytes_each = max(1, rows.nbytes // max(1, rows.num_rows))
        portion = max(1, min(ROWS_MAX, BYTES_MAX // bytes_each))
        good = [n for n in range(rows.num_rows) if n not in found.rejected] if found.rejected else None
        todo = [(at, min(at + portion, rows.num_rows)) for at in range(0, rows.num_rows, portion)][::-1]
        if good is not None:
            rows = rows.take(good)
            todo = [(at, min(at + portion, len(good))) for at in range(0, len(good), portion)][::-1]
        numbers = good if good is not None else range(rows.num_rows)
        while todo and not (first_only and found.rejected):
            start, stop = todo.pop()
            try:
                self._call(rows.slice(start, stop - start), [numbers[n] for n in range(start, stop)], found)
            except TrappedError as error:
                if stop - start == 1:
                    found.rejected[numbers[start]] = f"stopped: {error.what}"
                else:
                    middle = (start + stop) // 2
                    todo += [(middle, stop), (start, middle)]
        if found.rejected:
            _leave_out(found)
        return found

    def _call(self, rows: pa.Table, numbers: list[int], found: Returned) -> None:
        text = self._texts.written(rows, self._form)
        try:
            parts, errors = self._instance.call("process-batch", (self._form, rows.num_rows, text))
        except TransientError as error:
            raise ExternalError(f"the plugin asks to be called again: {error.what}", place=Place(self._file)) from None
        except FatalError as error:
            raise DataError(f"the plugin cannot go on: {error.what}", place=Place(self._file)) from None
        found.rejected |= {numbers[n]: why for n, why in errors if n < len(numbers)}
        for output, count, data, sources in parts:
            self._take(output, count, data, self._numbers(sources, count, numbers), found)

    def _numbers(self, sources: memoryview | None, count: int, numbers: list[int]) -> list[int]:
        if sources is None and count == len(numbers):
            return numbers
        if sources is None or len(sources) != count or any(n >= len(numbers) for n in sources):
            raise DataError(
                f"the plugin returned {count} rows for {len(numbers)}, and does not say which came of which",
                hint="return one value for each row, or let `process` return records",
                place=Place(self._file),
            )
        return [numbers[n] for n in sources]

    def _take(self, output: str, count: int, data: str, sources: list[int], found: Returned) -> None:
        schema = self._outputs.get(output)
        if schema is None:
            raise DataError(
                f"the plugin returned rows for the output {output!r}, which it did not name",
                hint="export it in `outputs`",
                place=Place(self._file),
            )
        if not count:
            return
        rows, unfit = self._texts.read(data, self._form, schema, self._ignored.get(output, ()))
        if rows.num_rows + len(unfit) != count:
            raise DataError(f"the plugin says that it returns {count} rows, and does not", place=Place(self._file))
        found.rejected |= {sources[n]: why for n, why in unfit.items()}
        found.rows.setdefault(output, []).append(rows)
        found.sources.setdefault(output, []).extend(s for n, s in enumerate(sources) if n not in unfit)


def _leave_out(found: Returned) -> None:
    """Leave out all that came of a row of which some does not fit."""
    for output, tables in found.rows.items():
        sources = found.sources[output]
        kept = [at for at, source in enumerate(sources) if source not in found.rejected]
        if len(kept) < len(sources):
            found.rows[output] = [pa.concat_tables(tables).take(kept)]
            found.sources[output] = [sources[at] for at in kept]


__all__ = ["Calls", "Returned"]
