"""Reads the rows that a user's function yields, and goes on where it was."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import model_validator

from dataflare.batch import RESERVED, Batch, Position
from dataflare.changes import BEFORE, OP, UNCHANGED, changing
from dataflare.component import Config, Field, SourceConnector, Split, Stream, source
from dataflare.component.bad_rows import with_bad_rows
from dataflare.component.deviations import Contract
from dataflare.component.judging import ERRORS
from dataflare.connectors.python.loading import loaded
from dataflare.connectors.python.taking import Rows, Taker, as_found, gathered
from dataflare.errors import DataError, Place, WorkflowError
from dataflare.plan_words import EdgeKind
from dataflare.schema import Schema

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


FUNCTION = "rows"
SINCE = "since"


class PythonSourceConfig(Config):
    """Either `module`, with or without `function`, or `function` alone as `package.module:name`."""

    module: str | None = Field(None, description="A Python file, relative to the workflow file.")
    function: str | None = Field(
        None, description=f"Name of the function in `module` ({FUNCTION}), or `package.module:name` alone."
    )
    arguments: dict[str, Any] = Field({}, description="What the function is called with, by name.")
    columns: dict[str, str] | None = Field(None, description="Column types; default: those of the first rows.")
    key: list[str] = Field(
        [],
        description="The function yields changes of rows, which these columns tell apart; `_op` tells what happened.",
    )
    batch_rows: int = Field(1000, ge=1, le=1_000_000, description="Rows of a batch that is made of records at most.")

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        if (self.module is None) == (":" not in (self.function or "")):
            raise ValueError("give either module or function: package.module:name")
        return self


@source(
    "python",
    replay="exact",
    examples=[{"module": "tickets.py"}, {"function": "shop.api:orders", "arguments": {"pages": 3}}],
)
class PythonSource(SourceConnector[PythonSourceConfig]):
    """Calls a Python function that yields rows: dicts, lists of dicts, or pyarrow tables.

    After a crash the function is called anew, and rows that are committed are left out: it must yield the same rows in
    the same order. A function with a parameter `since` need not begin anew: it yields pairs of rows and a position (a
    JSON value), and is called with the position of the last pair that was committed, at first with None.

    With a `key` the rows are changes: `_op` is read, insert, update, delete or truncate, `_commit_ts` when it happened,
    `_tx` a text that grows with the log; a deleted row needs its key only. The other columns may be null.

    The function runs in the process of the engine, in a worker thread. Rows that do not fit the columns, and columns
    beside them, are held to the contract under `schema`; bad rows go to the output `errors` by `on_error`.
    """

    errors_schema: ClassVar[Schema] = ERRORS

    functions: ClassVar[Mapping[str, Callable[..., Any]]] = {}
    """What `here:name` stands for."""

    def declared(self) -> Mapping[str, Stream] | None:
        """Return the columns where the settings tell them."""
        if self.config.columns is None:
            return None
        return {"": self._stream(Schema.of(self.config.columns))}

    def streams(self) -> Mapping[str, Stream]:
        """Return the columns of the first rows that the function yields."""
        declared = self.declared()
        if declared is not None:
            return declared
        for rows, _ in self._yielded(None, self.config.batch_rows):
            return {"": self._stream(Schema.from_arrow(as_found(rows, self._name).schema))}
        raise WorkflowError(
            f"{self._name} yields no rows: its columns are not known", hint="declare columns: {id: int64}"
        )

    def read(self, split: Split, since: Position | None, until: Position | None) -> Iterator[Batch]:
        """Yield what the function yields, after `since`; rows that are not taken follow as a batch of `errors`."""
        del split
        taker = Taker(self.context.schemas[""], Contract(self.context, "function", rows=True), self._name)
        return with_bad_rows(partial(self._taken, taker), since, until)

    def _taken(self, taker: Taker, since: Position | None, until: Position | None) -> Iterator[Batch]:
        seen = since["row"] if since else 0
        end = until["row"] if until else None
        for rows, at in self._yielded(since, self.config.batch_rows):
            if end is not None and seen >= end:
                return
            part = rows[: end - seen] if end is not None else rows
            seen += len(part)
            position = {"row": seen, **at}
            taken, bad = taker.taken(part)
            if bad is not None:
                yield Batch(bad, "errors", position)
            self.bytes_read += taken.nbytes
            yield Batch(taken, position=position)

    def _stream(self, schema: Schema) -> Stream:
        """Return the output: rows, or changes of rows by key."""
        key = tuple(self.config.key)
        if not key:
            return Stream(schema)
        lost = next((name for name in (*key, OP) if name not in schema), None)
        if lost is not None:
            raise WorkflowError(
                f"changes of rows need the column {lost}", hint="yield it, and name it in columns if these are declared"
            ).at(Place(path="key"))
        values = Schema(tuple(c for c in schema if c.name not in RESERVED))
        told = changing(values, key, unchanged=UNCHANGED in schema)
        before = [schema[BEFORE]] if BEFORE in schema else []
        return Stream(Schema((*told, *before)), EdgeKind.UPSERT, key)

    @property
    def _name(self) -> str:
        return self.config.function or f"{self.config.module}:{FUNCTION}"

    def _yielded(self, since: Position | None, rows_max: int) -> Iterator[tuple[Rows, dict[str, Any]]]:
        """Yield the rows after a position, with what a position has besides the number of the row."""
        function = loaded(self.config.module, self.config.function or FUNCTION, self.context.directory, self.functions)
        resumable = SINCE in inspect.signature(function).parameters and SINCE not in self.config.arguments
        arguments = dict(self.config.arguments)
        if resumable:
            arguments[SINCE] = since["at"] if since else None
        found = function(**arguments)
        if not isinstance(found, Iterable):
            raise DataError(f"{self._name} returned {type(found).__name__}, and rows are wanted")
        if resumable:
            for pair in found:
                if not (isinstance(pair, tuple) and len(pair) == 2):  # noqa: PLR2004 - a pair
                    raise DataError(f"{self._name} has a parameter since: it must yield pairs of rows and position")
                yield gathered(pair[0], self._name), {"at": pair[1]}
            return
        gone = since["row"] if since else 0
        for rows in self._gathered(found, rows_max):
            if gone < len(rows):
                yield rows[gone:], {}
            gone = max(0, gone - len(rows))

    def _gathered(self, found: Iterable[Any], rows_max: int) -> Iterator[Rows]:
        """Gather records into lists; tables and lists of records stay as they are."""
        items = iter(found)
        for item in items:
            if not isinstance(item, Mapping):
                yield gathered(item, self._name)
                continue
            records, other = [item], None
            for following in islice(items, rows_max - 1):
                if not isinstance(following, Mapping):
                    other = following
                    break
                records.append(following)
            yield records
            if other is not None:
                yield gathered(other, self._name)


__all__ = ["PythonSource", "PythonSourceConfig"]
