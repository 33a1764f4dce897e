"""Rows in an answer: where they stand, and how they become a table. Values inside of them are not touched."""

from __future__ import annotations

import codecs
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from dataflare.component.deviations import Contract
from dataflare.connectors.http.exchange import Answer
from dataflare.errors import DataError
from dataflare.formats.contract import ContractDecoder, Form, Terms
from dataflare.formats.csv import infer as csv_infer
from dataflare.formats.csv import records as csv_records
from dataflare.formats.csv.decode import CsvDecoder, numbered_records
from dataflare.formats.csv.options import CsvOptions
from dataflare.formats.jsonl import infer as jsonl_infer
from dataflare.formats.jsonl.decode import JsonlDecoder, numbered_lines
from dataflare.schema import Schema

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dataflare.component import StageContext
    from dataflare.formats.rejected import Decoded

_NOTHING = b"null"
MISSING = object()


def value_at(body: bytes, path: str) -> Any:
    """Return the value at a dotted path of a JSON text; MISSING where it has none."""
    raw = _raw_at(body, path)
    return MISSING if raw is None else msgspec.json.decode(raw)


def records_at(body: bytes, path: str) -> list[bytes]:
    """Return the JSON texts, one line each, of the rows at a path: a list of them, or one object.

    Raises DataError where there is neither, or no JSON.
    """
    raw = _raw_at(body, path)
    if raw is None:
        raise DataError(f"the answer has no {path}", hint="check records: where the rows stand in the answer")
    if raw == _NOTHING:
        return []
    if raw.startswith(b"["):
        return [_line(bytes(r)) for r in msgspec.json.decode(raw, type=list[msgspec.Raw])]
    if raw.startswith(b"{"):
        return [_line(raw)]
    raise DataError(f"{path or 'the answer'} is neither a list nor an object", hint="check records")


def _raw_at(body: bytes, path: str) -> bytes | None:
    try:
        raw = bytes(msgspec.json.decode(body, type=msgspec.Raw)).strip()
        for name in path.split(".") if path else ():
            if not raw.startswith(b"{"):
                return None
            inner = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
            if name not in inner:
                return None
            raw = bytes(inner[name]).strip()
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise DataError(
            "the answer is no JSON", hint="check url, headers and format; is it a page for people?"
        ) from error
    return raw


def _line(raw: bytes) -> bytes:
    """Return a JSON text on one line: line ends inside of strings are escaped, all others are blanks."""
    return raw.replace(b"\n", b" ").replace(b"\r", b" ")


class Page:
    """The rows of an answer as text: how many there are, and the lines or records of them."""

    def __init__(self, answer: Answer, form: str, path: str, options: CsvOptions) -> None:
        """Cut an answer into rows; raise DataError where it holds none of its kind."""
        body, self._form = answer.body, form
        if form != "json" and answer.charset not in ("utf-8", "utf8", "us-ascii"):
            body = _recoded(body, answer.charset)
        body = body.removeprefix(codecs.BOM_UTF8)
        self.names: list[str] = []
        if form == "json":
            lines = records_at(body, path)
            self.text, self.count = b"".join(line + b"\n" for line in lines), len(lines)
        elif form == "jsonl":
            self.text, self.count = body, sum(1 for line in body.splitlines() if line.strip())
        else:
            fields, end = csv_infer.first_record(body, options)
            self.names, self.text = csv_infer.unique_names(fields), body[end:]
            self.count = sum(1 for _ in csv_records.records(self.text, options))

    def types(self, options: CsvOptions) -> dict[str, str | None]:
        """Return the columns and their types, guessed; None where all values are null."""
        if self._form != "csv":
            return jsonl_infer.infer(self.text)
        return csv_infer.infer(self.text, self.names, options) if self.names else {}


def _recoded(body: bytes, charset: str) -> bytes:
    try:
        return body.decode(charset).encode()
    except (LookupError, UnicodeDecodeError) as error:
        raise DataError(f"the answer is not in {charset}, as it says", hint="tell those who run the server") from error


class Records:
    """Makes tables of pages, all of one schema. Not for several threads at once; close it."""

    def __init__(self, schema: Schema, context: StageContext, options: CsvOptions | None, rest: str = "") -> None:
        """Open nothing yet. `options`: pages are CSV, else JSON, of which `rest` holds what no other column does."""
        self.schema, self._options, self._context = schema, options, context
        self._terms = Terms(context.contract, rest=rest)
        self._contract = Contract(context, "answer")
        self._jsonl: JsonlDecoder | ContractDecoder | None = None

    def decode(self, page: Page) -> Decoded:
        """Return the rows, and those that cannot be read; raise DataError for columns that the contract refuses."""
        plain = self._terms.are_plain()
        if self._options is not None:
            self._compare(page.names)
            make: Any = partial(CsvDecoder, names=page.names, options=self._options)
            records = Form(make, partial(numbered_records, options=self._options))
            decoder = make(self.schema) if plain else ContractDecoder(self.schema, records, self._terms)
            taken: Decoded = decoder.decode(page.text)
            return taken
        if self._jsonl is None:
            make = partial(JsonlDecoder, memory_bytes_max=self._context.budget.memory_bytes_max)
            lines = Form(make, numbered_lines, named=True)
            self._jsonl = make(self.schema) if plain else ContractDecoder(self.schema, lines, self._terms)
        return self._jsonl.decode(page.text)

    def _compare(self, names: Sequence[str]) -> None:
        if names:
            self._contract.tell_missing(self._contract.lacks(self.schema, names), "the answer")
            self._contract.has_more([n for n in names if n not in self.schema], "the answer")

    def close(self) -> None:
        """Free what is open."""
        if self._jsonl is not None:
            self._jsonl.close()
            self._jsonl = None


def sampled(page: Page, options: CsvOptions) -> Schema:
    """Return the columns of a page; raise DataError where it has no row that tells them."""
    found = page.types(options)
    if not found:
        raise DataError(
            "the first page has no row to tell the columns from", hint="declare them: columns: {id: int64, ...}"
        )
    nothing = "string" if page.names else "json"
    return Schema.of({name: kind or nothing for name, kind in found.items()})


def page_of_lines(text: bytes) -> Page:
    """Return JSON lines as a page."""
    return Page(Answer(200, {}, text, ""), "jsonl", "", CsvOptions())


def with_fields(line: bytes, fields: bytes) -> bytes:
    """Return a JSON object with more fields behind its own; what is no object, or gets none, stays as it is."""
    line = line.strip()
    if not (fields and line.startswith(b"{") and line.endswith(b"}")):
        return line
    own = line[1:-1].strip()
    return b"{" + (own + b"," if own else b"") + fields + b"}"


__all__ = ["MISSING", "Page", "Records", "page_of_lines", "sampled", "value_at", "with_fields"]
