"""The decoders of text of one source: they are kept for the next block of the same columns."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from dataflare.errors import WorkflowError
from dataflare.formats.contract import ContractDecoder, Form, Terms
from dataflare.formats.csv.decode import CsvDecoder, numbered_records
from dataflare.formats.jsonl.decode import JsonlDecoder, numbered_lines

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dataflare.component import StageContext
    from dataflare.connectors.file.settings import FileSourceConfig
    from dataflare.formats.contract import Decoder
    from dataflare.formats.rejected import Decoded
    from dataflare.schema import Schema

DECODERS_MAX = 8


class Decoders:
    """Decodes blocks by the contract of the source. Close it."""

    def __init__(self, context: StageContext, config: FileSourceConfig) -> None:
        """Open nothing yet."""
        self._context, self._config = context, config
        planned = context.schemas[""].names if "" in context.schemas else ()
        self.terms = Terms(context.contract, {*planned, *(config.columns or ())}, config.rest_column)
        self._csv: dict[tuple[str, ...], Decoder] = {}
        self._jsonl: JsonlDecoder | ContractDecoder | None = None

    def decode(self, block: bytes, kind: str, names: Sequence[str], schema: Schema) -> Decoded:
        """Return the rows of a block; `names` are the fields of a record of CSV."""
        return (self._lines(schema) if kind == "jsonl" else self._records(schema, names)).decode(block)

    def close(self) -> None:
        """Free what is open."""
        if self._jsonl is not None:
            self._jsonl.close()
        self._jsonl = None
        self._csv.clear()

    def _lines(self, schema: Schema) -> Decoder:
        if self._jsonl is None or self._jsonl.schema != schema:
            self.close()
            make = partial(JsonlDecoder, memory_bytes_max=self._context.budget.memory_bytes_max)
            plain = self.terms.are_plain()
            form = Form(make, numbered_lines, named=True)
            self._jsonl = make(schema) if plain else ContractDecoder(schema, form, self.terms)
        return self._jsonl

    def _records(self, schema: Schema, names: Sequence[str]) -> Decoder:
        key = (*schema.names, "", *names)
        decoder = self._csv.get(key)
        if decoder is None:
            if len(self._csv) >= DECODERS_MAX:
                self._csv.clear()
            if self._config.rest_column:
                raise WorkflowError("rest_column is for JSON, not for csv", hint="leave it out")
            options = self._config.csv_options()
            make = partial(CsvDecoder, names=names, options=options)
            form = Form(make, partial(numbered_records, options=options))
            decoder = make(schema) if self.terms.are_plain() else ContractDecoder(schema, form, self.terms)
            self._csv[key] = decoder
        return decoder


__all__ = ["Decoders"]
