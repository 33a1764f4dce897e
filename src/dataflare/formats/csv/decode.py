"""Decodes blocks of whole CSV records: the fast way, and the slow one for a block with a bad row."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from dataflare.formats.csv.read import CsvReader
from dataflare.formats.csv.records import quotes_in, records, without_comments
from dataflare.formats.csv.salvage import salvage
from dataflare.formats.rejected import Decoded

if TYPE_CHECKING:
    from dataflare.formats.csv.options import CsvOptions


class CsvDecoder(CsvReader):
    """A reader that puts bad rows aside."""

    def decode(self, data: bytes) -> Decoded:
        """Return all rows of a block; only a block with a bad row takes the slow way."""
        if self.options.comment:
            data = without_comments(data, self.options)
        quote = self.options.quote
        if quote and data.find(quote.encode()) >= 0 and quotes_in(data, self.options, 0, len(data)) % 2:
            return salvage(self, data)  # one is left open: Arrow would swallow the rows after it
        try:
            return Decoded(self.read(data))
        except pa.ArrowInvalid:
            return salvage(self, data)


def numbered_records(data: bytes, options: CsvOptions) -> list[tuple[int, bytes]]:
    """Return every record of a block, with the number of line ends before it."""
    found, line, at = [], 0, 0
    for record in records(data, options):
        line += data.count(b"\n", at, record.start)
        at = record.start
        found.append((line, data[record.start : record.end]))
    return found


__all__ = ["CsvDecoder", "numbered_records"]
