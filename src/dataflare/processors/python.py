"""The `python` processor: a user's function over rows, in a warm process of its own.

Delivery stays exactly once because the process is outside of every epoch: it holds no state, a batch goes in and its
rows come out before the next one, and a run that resumes calls the function anew from the last committed position.
For that the function must be deterministic and change nothing outside: it may see a row twice (resume, a worker that
died, a batch that is halved to find a bad row), and batches may be cut anywhere.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import pyarrow as pa
from pydantic import field_validator, model_validator

from dataflare.batch import Encoded
from dataflare.changes import OP
from dataflare.component import Config, Duration, Field, Processor, Size, processor
from dataflare.errors import DataError, Place, WorkflowError
from dataflare.expression.fit import fit
from dataflare.monitoring.events import Noticed, RowsRejected
from dataflare.plan_words import EdgeKind
from dataflare.processors.python_here import HERE, FunctionHere
from dataflare.processors.python_hunt import Hunt
from dataflare.processors.python_lines import is_plain
from dataflare.processors.python_process import MisshapenError, Result, Work, WorkerLostError, WorkerProcess
from dataflare.processors.python_rejects import UNTOLD, Telling
from dataflare.schema import REJECTED, Schema

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from dataflare.batch import Batch

PRINTS_MAX = 100
"""How many times an instance passes on what its function printed."""

TRIALS = 3
"""After so many blocks of JSON lines in a row that had to be decoded, no further one is tried."""

FUNCTION = "process"
"""What the function is called in a file or in inline code unless the settings say otherwise."""


class PythonConfig(Config):
    """Exactly one of `module`, `code`, or `function` alone as `package.module:name`."""

    module: str | None = Field(None, description="A Python file, relative to the workflow file.")
    code: str | None = Field(None, description="The code itself, in the place of a module.")
    function: str | None = Field(
        None, description=f"Name of the function in `module` or `code` ({FUNCTION}), or `package.module:name` alone."
    )
    mode: Literal["record", "columns", "batch"] = Field(
        "record",
        description="What the function takes and returns: a dict (or None, or several), a dict of lists, "
        "or a pyarrow Table.",
    )
    output: dict[str, str] | None = Field(
        None, description="Columns that come out, with their types; default: those that came in."
    )
    columns: tuple[str, ...] | None = Field(
        None,
        min_length=1,
        description="Columns that the function is given (modes record and columns); without `output` the others pass.",
    )
    timeout: Duration = Field(30.0, gt=0, description="The longest time that a batch may take.")
    memory: Size = Field(512 << 20, ge=96 << 20, description="Most memory that the worker process may use.")

    @field_validator("output")
    @classmethod
    def _typed(cls, value: dict[str, str] | None) -> dict[str, str] | None:
        try:
            Schema.of(value or {})
        except WorkflowError as error:
            raise ValueError(str(error)) from error
        return value

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        named = ":" in (self.function or "")
        if [self.module is not None, self.code is not None, named].count(True) != 1:
            raise ValueError("give exactly one of module, code, and function: package.module:name")
        if self.mode == "batch" and self.columns is not None:
            raise ValueError("columns is for the modes record and columns; a batch function selects what it needs")
        return self


@processor(
    "python",
    accepts=(EdgeKind.APPEND, EdgeKind.UPSERT),
    counts=("filtered", "dead", "expanded"),
    examples=[
        {"code": "def process(record):\n    record['name'] = record['name'].strip()\n    return record\n"},
        {
            "function": "pricing.rules:total",
            "mode": "columns",
            "columns": ["amount"],
            "output": {"total": "decimal(12,2)"},
        },
    ],
)
class Python(Processor[PythonConfig]):
    """Calls a Python function for each record, for columns, or for a whole table.

    The function runs in a process of its own, which is kept warm. `mode: record` calls it with a dict and takes a
    dict, None (the row is filtered) or several dicts; `mode: columns` with a dict of lists; `mode: batch` with a
    `pyarrow.Table`, which is by far the fastest. It must be deterministic and change nothing outside: a row may be
    worked on twice.

    A row on which it raises, or whose result does not fit `output`, is handled by `on_error`: fail, skip or
    dead_letter. So is a row that kills the process (`worker_died`) or makes it exceed `timeout` (`timed_out`): the
    process is started again and the batch is narrowed down to that row. The output `errors` has the columns `error`,
    `node` and `row` (the row as JSON, tagged values hidden). Values of the row are left out of `error` wherever they
    stand in it unchanged.

    What the function prints is passed on as notices, the beginning of each batch's. Every column that it returns
    carries the tags of all columns that it is given: name those that it needs under `columns`, and the others pass it
    by. Of a function that is given tagged values neither prints nor the words of its errors are told, only what kind
    of error it is.

    Of changes the function sees all columns, `_op` and `_unchanged` among them, and what it returns is taken as it is:
    the value of a column that `_unchanged` names means nothing. To take a row out that may be written already, return
    it with `_op: delete`; None leaves it as it was. `output` must have `_op` and the key.
    """

    tells_tags = True
    knows_unchanged = True
    functions: ClassVar[Mapping[str, Callable[..., Any]]] = {}
    """What `here:name` stands for: functions that a program gave, which run in its own process."""

    _worker: WorkerProcess | FunctionHere | None = None
    _prints = 0
    _trials = TRIALS

    def outputs(self, inputs: Sequence[Schema]) -> Mapping[str, Schema]:
        """Return the planned output, and the schema of the rejected rows."""
        (given,) = inputs[:1]
        seen = given.select(self._seen(given))
        return {"": self._planned(given, seen), "errors": REJECTED}

    def remarks(self, inputs: Sequence[Schema]) -> Iterable[str]:
        """Tell where a function is given tagged values that it may not need."""
        (given,) = inputs[:1]
        tagged = [c.name for c in given if c.tags]
        if tagged and self.config.columns is None and self.config.mode != "batch" and len(tagged) < len(given.names):
            found = ", ".join(map(repr, tagged))
            yield f"its function is given {found}, so all that it returns carries their tags: name what it needs under \
`columns`"

    def open(self) -> None:
        """Start the worker; raise WorkflowError, with file and line, when the code cannot be loaded."""
        if self.context.on_error == "null":
            raise WorkflowError(
                "a python node has no on_error: null, since no single column of a row fails",
                hint="use fail, skip or dead_letter",
                place=Place(path=self.context.node),
            )
        given = self.context.schemas["0"]
        self._given = given.to_arrow()
        self._output = self.outputs([given])[""].to_arrow()
        self._sent = self._seen(given)
        self._telling = Telling(self.context.node, given, self._sent)
        self._passing = [] if self.config.output is not None else [n for n in given.names if n not in self._sent]
        returned = pa.schema([f for f in self._output if f.name not in self._passing])
        if OP in given:  # of a truncate the key is null
            returned = pa.schema([f.with_nullable(nullable=f.nullable or f.name != OP) for f in returned])
        work = Work(self._head(), returned, self.config.timeout, self.config.memory)
        if self._is_here():
            self._worker = FunctionHere(work, self.functions)
        else:
            self._worker = WorkerProcess(work, self.context.runtime.clock, self._said)
        try:
            self._worker.start()
        except WorkerLostError as error:
            hint = "raise `memory` of the node" if error.what.endswith("out of memory") else ""
            raise WorkflowError(f"loading the code ends its process: {error.what}", hint=hint) from error

    def close(self) -> None:
        """Kill the worker."""
        if self._worker is not None:
            self._worker.stop()
            self._worker = None

    def process(self, batch: Batch, port: int = 0) -> Iterable[Batch]:
        """Run the function over the rows; those that it cannot handle come out first, as `errors`."""
        del port
        if not batch.num_rows:
            yield batch.replace(self._output.empty_table(), "")
            return
        rows = fit(batch.rows, self._given)
        assert self._worker is not None
        hunt = Hunt(
            self._worker, self._noticed, sources=bool(self._passing), first_only=self.context.on_error == "fail"
        )
        result = self._run(hunt, rows.select(self._sent))
        if result.rejected:
            yield from self._reject(batch.replace(rows), result.rejected)
        yield batch.replace(self._joined(rows, result), "")

    def _run(self, hunt: Hunt, rows: pa.Table) -> Result:
        try:
            return hunt.run(rows)
        except MisshapenError:
            if not self._telling.hides:
                raise
            raise MisshapenError(f"the function returned something of a wrong shape ({UNTOLD})") from None

    def unjudged(self, schema: Schema) -> Sequence[str]:
        """Take JSON lines in the mode record, where the function is given all that goes on, and types are plain."""
        seen = self._seen(schema)
        whole = self.config.output is not None or len(seen) == len(schema.columns)
        plain = self.config.mode == "record" and whole and all(map(is_plain, schema.select(seen)))
        return ("jsonl",) if plain and not self._is_here() else ()

    def take(self, batch: Batch) -> tuple[int, Iterable[Batch]] | None:
        """Have the function work on lines, where they are as plain as their columns."""
        assert isinstance(batch.payload, Encoded)
        assert isinstance(self._worker, WorkerProcess)
        if not self._trials:
            return None
        taken = self._worker.run_lines(batch.payload.data)
        self._trials = TRIALS if taken is not None else self._trials - 1
        return (taken[0], [batch.replace(taken[1], "")]) if taken is not None else None

    # ---- schemas ------------------------------------------------------------------------------------------------

    def _seen(self, given: Schema) -> list[str]:
        """Return the columns that the function is given."""
        if self.config.columns is None:
            return given.names
        unknown = [n for n in self.config.columns if n not in given]
        if unknown:
            raise WorkflowError(
                f"there is no column {unknown[0]!r} to give", hint=f"there are: {', '.join(given.names)}"
            )
        return list(dict.fromkeys(self.config.columns))

    def _planned(self, given: Schema, seen: Schema) -> Schema:
        """Return the columns; what the function returns may be made of all that it is given."""
        spread = tuple(dict.fromkeys(tag for column in seen for tag in column.tags))
        if self.config.output is not None:
            return Schema(tuple(replace(c, tags=spread) for c in Schema.of(self.config.output).columns))
        return given.tagged(dict.fromkeys(seen.names, spread)) if spread else given

    def _head(self) -> dict[str, Any]:
        """Return what the worker is to load."""
        config = self.config
        package, _, name = (config.function or FUNCTION).rpartition(":")
        return {
            "mode": config.mode,
            "code": config.code,
            "file": str(self.context.path(config.module).resolve()) if config.module else "",
            "shown": self._shown(),
            "package": package,
            "name": name,
            "directory": str(self.context.directory.resolve()),
            "given": self._line_types(),
        }

    def _is_here(self) -> bool:
        return self.config.module is None and (self.config.function or "").startswith(f"{HERE}:")

    def _shown(self) -> str:
        """Return what the file of the function is called in messages."""
        if self._is_here():
            code = getattr(self.functions.get(str(self.config.function).partition(":")[2]), "__code__", None)
            return code.co_filename if code is not None else ""
        return self.config.module or f"code of {self.context.node}"

    def _line_types(self) -> list[tuple[str, str]]:
        """Return the columns of records that come as JSON lines; none where they never do."""
        given = self.context.schemas["0"]
        return [(c.name, c.type) for c in given.select(self._seen(given))] if self.unjudged(given) else []

    # ---- results ------------------------------------------------------------------------------------------------

    def _joined(self, rows: pa.Table, result: Result) -> pa.Table:
        """Return the function's rows beside the columns that pass it by."""
        if result.rows is None:
            return self._output.empty_table()
        if not self._passing:
            return pa.Table.from_arrays(result.rows.columns, schema=self._output)
        passing = rows.select(self._passing).take(result.sources)
        columns = [(passing if f.name in self._passing else result.rows).column(f.name) for f in self._output]
        return pa.Table.from_arrays(columns, schema=self._output)

    def _reject(self, batch: Batch, rejected: Mapping[int, tuple[str, int]]) -> Iterable[Batch]:
        context = self.context
        row, (why, line) = next(iter(rejected.items()))
        first = self._telling.reason(why, batch.rows, row)
        if context.on_error == "fail":
            raise DataError(
                f"{first} (row {row} of its batch)",
                hint="correct the function or the data, or set on_error: {action: dead_letter} on the node",
                place=Place(self._head()["shown"] if line else "", line, path=context.node),
            )
        context.emit(RowsRejected(context.workflow, context.node, len(rejected), first))
        if context.on_error == "dead_letter":
            reasons = {row: why for row, (why, _) in rejected.items()}
            yield batch.replace(self._telling.errors_table(batch.rows, reasons), "errors")

    # ---- notices ------------------------------------------------------------------------------------------------

    def _said(self, text: str) -> None:
        self._prints += 1
        if self._telling.hides:
            if self._prints > 1:
                return
            text = f"(the function prints; {UNTOLD})"
        if self._prints == PRINTS_MAX:
            text += "\n(what the function prints from now on is not shown)"
        if self._prints <= PRINTS_MAX:
            self.context.emit(Noticed(self.context.workflow, "python.printed", text, self.context.node))

    def _noticed(self, text: str) -> None:
        self.context.emit(Noticed(self.context.workflow, "python.worker_restarted", text, self.context.node))
