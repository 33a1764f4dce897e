"""Decodes blocks of text by the contract of a source: fields that nobody planned, values that do not fit, the rest."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import pyarrow as pa

from dataflare.formats.rejected import Decoded, Rejected

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from dataflare.formats.jsonl.surplus import Surplus
    from dataflare.schema import Schema

Numbered = tuple[int, bytes]
"""A record, and the number of line ends before it in its block."""


class Decoder(Protocol):
    """What makes rows of blocks of whole records."""

    schema: Schema

    def decode(self, data: bytes) -> Decoded:
        """Return the rows, and those that cannot be read."""
        ...


@dataclass(frozen=True, slots=True)
class Form:
    """A format: what decodes it into a schema, how a block is cut into records, and whether those name their fields."""

    decoder: Callable[[Schema], Decoder]
    records: Callable[[bytes], Sequence[Numbered]]
    named: bool = False


@dataclass(frozen=True, slots=True)
class Terms:
    """What is asked of a decoder besides the columns of its schema.

    `contract` has the words of the source. `known` are the fields that are no surplus, besides those of the schema.
    `rest` is the column that holds, as JSON, what no other column does ("": none is wanted).
    """

    contract: Mapping[str, str]
    known: Collection[str] = ()
    rest: str = ""

    def judges_fields(self) -> bool:
        """Tell whether the fields of each row are looked at."""
        return bool(self.rest) or self.contract.get("columns") in ("freeze", "discard_row")

    def are_plain(self) -> bool:
        """Tell whether the format's own decoder does all that is asked."""
        return not self.judges_fields() and self.contract.get("data_type") not in ("discard", "discard_row")


class ContractDecoder:
    """Decodes one format into one schema. Not for several threads at once; close it."""

    def __init__(self, schema: Schema, form: Form, terms: Terms) -> None:
        """Open nothing yet; raise what the decoder of the format raises."""
        self.schema, self._form, self._terms = schema, form, terms
        inner = [n for n in schema.names if n != terms.rest]
        self._inner = schema.select(inner)
        self._decoder = form.decoder(self._inner)
        self._columns, self._types = (terms.contract.get(w, "evolve") for w in ("columns", "data_type"))
        self._surplus: Surplus | None = None
        if form.named and terms.judges_fields():
            from dataflare.formats.jsonl.surplus import Surplus

            self._surplus = Surplus({*inner, *terms.known})

    def decode(self, data: bytes) -> Decoded:
        """Return all rows of a block that are taken, and those that are not."""
        rejected: list[Rejected] = []
        if self._surplus is not None and self._columns in ("freeze", "discard_row"):
            rejected = self._surplus.rejected(data, self._columns)
            data = _without(data, rejected)
        decoded = self._decoder.decode(data)
        if decoded.rejected and self._types == "discard":
            decoded = self._emptied(data, decoded)
        if self._types == "discard_row":
            aside = [replace(r, word="discard_row") if r.column else r for r in decoded.rejected]
            decoded = Decoded(decoded.rows, aside)
        rows = decoded.rows
        if self._surplus is not None and self._terms.rest in self.schema:
            rest = self._surplus.rest(_without(data, decoded.rejected), rows.num_rows)
            at = self.schema.names.index(self._terms.rest)
            rows = rows.add_column(at, self.schema.to_arrow().field(at), rest)
        return Decoded(rows, sorted([*rejected, *decoded.rejected], key=lambda r: r.line))

    def close(self) -> None:
        """Free what is open."""
        if self._surplus is not None:
            self._surplus.close()
        _close(self._decoder)

    def _emptied(self, data: bytes, decoded: Decoded) -> Decoded:
        """Return the rows with null for values that do not fit, in order; rows that are bad otherwise stay out."""
        records = dict(self._form.records(data))
        left = [r for r in decoded.rejected if r.line in records and self._is_nullable(r.column)]
        saved, bad = self._saved([(r.line, records[r.line], r.column) for r in left], frozenset())
        mine = {r.line for r in left}
        out = [*(r for r in decoded.rejected if r.line not in mine), *bad]
        rows = _in_order(decoded.rows, saved, list(records), {r.line for r in out})
        return Decoded(rows, sorted(out, key=lambda r: r.line))

    def _saved(
        self, found: Sequence[tuple[int, bytes, str]], empty: frozenset[str]
    ) -> tuple[dict[int, pa.Table], list[Rejected]]:
        """Return rows by line, read without their columns that do not fit, and those that are bad all the same."""
        saved: dict[int, pa.Table] = {}
        bad: list[Rejected] = []
        for column in dict.fromkeys(c for _, _, c in found):
            records = [(line, text) for line, text, c in found if c == column]
            without = empty | {column}
            schema = self._inner.select(n for n in self._inner.names if n not in without)
            decoder = self._form.decoder(schema)
            decoded, lines = _decoded_alone(decoder, records)
            _close(decoder)
            again = [r for r in decoded.rejected if self._is_nullable(r.column)]
            texts = dict(records)
            more, worse = self._saved([(r.line, texts[r.line], r.column) for r in again], without)
            bad += [*(r for r in decoded.rejected if not self._is_nullable(r.column)), *worse]
            rows = self._filled(decoded.rows, len(lines))
            saved |= {line: rows.slice(n, 1) for n, line in enumerate(lines)} | more
        return saved, bad

    def _is_nullable(self, column: str) -> bool:
        return bool(column) and self._inner[column].nullable

    def _filled(self, rows: pa.Table, count: int) -> pa.Table:
        target = self._inner.to_arrow()
        there = set(rows.column_names)
        columns = [rows.column(f.name) if f.name in there else pa.nulls(count, f.type) for f in target]
        return pa.Table.from_arrays(columns, schema=target)


def _decoded_alone(decoder: Decoder, records: Sequence[Numbered]) -> tuple[Decoded, list[int]]:
    """Return what comes of records that stood in a block, with their lines there, and the lines of the good ones."""
    texts, first, begins = [], 0, {}
    for line, text in records:
        texts.append(text if text.endswith((b"\n", b"\r")) else text + b"\n")
        begins[first] = line
        first += texts[-1].count(b"\n")
    decoded = decoder.decode(b"".join(texts))
    rejected = [replace(r, line=begins[r.line]) for r in decoded.rejected]
    bad = {r.line for r in rejected}
    return Decoded(decoded.rows, rejected), [line for line, _ in records if line not in bad]


def _in_order(rows: pa.Table, saved: Mapping[int, pa.Table], lines: Sequence[int], bad: set[int]) -> pa.Table:
    """Return the good rows with the saved ones among them, at the places of their lines."""
    pieces, at, begin = [], 0, 0
    for line in lines:
        if line in saved:
            pieces += [rows.slice(begin, at - begin), saved[line]]
            begin = at
        elif line not in bad:
            at += 1
    return pa.concat_tables([*pieces, rows.slice(begin)]).combine_chunks()


def _without(data: bytes, rejected: Sequence[Rejected]) -> bytes:
    """Return the block with blank lines for the rejected ones, so that the numbers of all others stay."""
    if not rejected:
        return data
    lines = data.split(b"\n")
    for row in rejected:
        lines[row.line] = b""
    return b"\n".join(lines)


def _close(decoder: Decoder) -> None:
    close = getattr(decoder, "close", None)
    if close is not None:
        close()


__all__ = ["ContractDecoder", "Decoder", "Form", "Terms"]
