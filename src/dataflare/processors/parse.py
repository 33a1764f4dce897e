"""Reads texts into typed columns: JSON, CSV, key-value pairs, patterns, URLs, user agents."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dataflare.changes import WHOLE_ROWS, may_be_unchanged, value_in
from dataflare.component import Processor, processor
from dataflare.errors import DataError, WorkflowError
from dataflare.expression.fit import fit
from dataflare.expression.reject import Rejected
from dataflare.plan_words import EdgeKind
from dataflare.processors.columns import known
from dataflare.processors.parsing.formats import reader_of
from dataflare.processors.parsing.settings import ParseConfig
from dataflare.schema import REJECTED, Column, Schema

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import pyarrow as pa

    from dataflare.batch import Batch
    from dataflare.processors.parsing.formats import Reader

_TEXTS = ("string", "json")


@processor(
    "parse",
    accepts=(EdgeKind.APPEND, EdgeKind.UPSERT, EdgeKind.RETRACT),
    counts=("skipped", "dead"),
    examples=[
        {"column": "payload", "format": "json", "columns": {"id": "int64", "at": "timestamp"}, "required": ["id"]},
        {"column": "line", "format": "grok", "pattern": "%{COMBINEDAPACHELOG}", "columns": {"response": "int64"}},
        {"column": "line", "format": "key_value", "columns": {"level": "string"}, "pairs": "all"},
    ],
)
class Parse(Processor[ParseConfig]):
    """Reads texts into typed columns: JSON, CSV, key-value pairs, patterns, URLs, user agents.

    The new columns stand at the end. A text that is not what `format` says, or a value that is not of the type of its
    column, is no null but a fault of the row, which follows `on_error`: fail, skip, dead_letter, or null, which keeps
    the row with nulls for what could not be read. A null text gives nulls. What a text holds beside `columns` is left
    out. Patterns are those of RE2: their time grows with the text and nothing else.

    - `json`: one object. Members become columns; one that is missing or null is null. A column of type struct, list or
      map takes a nested value, `json` takes any value as text, and no other type takes an object or a list.
    - `csv`: one line of fields; `columns` names all of them. An empty field without quotes is null.
    - `key_value`: `a=1 b="two words"`, as logfmt writes it. A word without a value is `true`; of a key that is there
      twice the first counts.
    - `regex`: the named groups of a pattern, which may match anywhere in the text; write `^` and `$` for all of it. A
      group that matched nothing is null.
    - `grok`: `%{NAME:column}` or `%{NAME:column:int}`, by the usual names (IPORHOST, NUMBER, TIMESTAMP_ISO8601,
      COMBINEDAPACHELOG, SYSLOGLINE ...) and by those of `patterns`.
    - `url`: scheme, user, host, port, path, query, fragment, and parameters as a map. A password is left out.
    - `user_agent`: browser, os and device, with versions, and robot; needs the extra `agents`.
    """

    tells_tags = True
    knows_unchanged = True
    _reader: Reader | None = None
    _input: pa.Schema | None = None
    _output: pa.Schema | None = None

    def outputs(self, inputs: Sequence[Schema]) -> Mapping[str, Schema]:
        """Return the columns with those that are read at the end."""
        schema, config = inputs[0], self.config
        known([config.column], schema.names, "column")
        text = schema[config.column]
        if config.column in may_be_unchanged(schema):
            what = f"column: {config.column!r} may be left out as unchanged, so what it holds is not known"
            raise WorkflowError(what, hint=WHOLE_ROWS)
        if text.type not in _TEXTS:
            raise WorkflowError(
                f"column: {text.name!r} is of type {text.type}, not text", hint="name a column of texts"
            )
        stay = [c for c in schema if config.keep or c.name != config.column]
        wanted = reader_of(config).wanted
        made = [Column(f"{config.prefix}{w.name}", w.type, tags=text.tags, told=value_in(schema)) for w in wanted]
        for column in made:
            if any(c.name == column.name for c in stay):
                raise WorkflowError(
                    f"two columns would be called {column.name!r}", hint="set `prefix`, or keep: false for the text"
                )
        return {"": Schema((*stay, *made)), "errors": REJECTED}

    def open(self) -> None:
        """Prepare the reader."""
        schema = self.context.schemas["0"]
        self._input, self._output = schema.to_arrow(), self.outputs([schema])[""].to_arrow()
        self._reader = reader_of(self.config)
        self._reader.open(self.context.budget)

    def process(self, batch: Batch, port: int = 0) -> Iterable[Batch]:
        """Read the texts of a batch."""
        import pyarrow as pa
        import pyarrow.compute as pc

        del port
        assert self._reader is not None
        assert self._input is not None
        rows = fit(batch.rows, self._input)
        found, reasons = self._reader.run(rows.column(self.config.column))
        bad = pc.is_valid(reasons)
        policy = self.context.on_error
        stay = rows if self.config.keep else rows.drop_columns([self.config.column])
        whole = pa.Table.from_arrays([*stay.columns, *found.columns], schema=self._output)
        if reasons.null_count == len(reasons) or policy == "null":
            yield batch.replace(whole, "")
            return
        if policy == "fail":
            first = pc.index(bad, pa.scalar(value=True)).as_py()
            raise DataError(
                f"{self.config.column}: {reasons[first].as_py()} (row {first} of its batch)",
                hint="correct the data or the settings, or set on_error: {action: dead_letter} on the node",
            ).in_node(self.context.node)
        if policy == "dead_letter":
            told = pc.binary_join_element_wise(f"{self.config.column}: ", reasons.filter(bad), "")
            rejected = Rejected(self.context.node, rows.filter(bad), told, self.context.schemas["0"])
            yield batch.replace(rejected.as_errors(), "errors")
        yield batch.replace(whole.filter(pc.invert(bad)), "")

    def close(self) -> None:
        """Free the reader."""
        if self._reader is not None:
            self._reader.close()


__all__ = ["Parse"]
