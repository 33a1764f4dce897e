"""The names and types of a CSV file, from its head."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from typing import TYPE_CHECKING

from dataflare.errors import DataError
from dataflare.formats.csv.records import records, whole_records
from dataflare.formats.guess import column_type
from dataflare.schema import Schema

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

    from dataflare.formats.csv.options import CsvOptions


def first_record(data: bytes, options: CsvOptions) -> tuple[list[str], int]:
    """Return the fields of the first record and where it ends; no fields where the data is empty.

    Raises DataError where a field is longer than a name can be (128 KiB).
    """
    for record in records(data, options):
        text = data[record.start : record.end].rstrip(b"\r\n").decode("utf-8", "replace")
        escaped = options.escape not in ("", options.quote)
        reader = csv.reader(
            io.StringIO(text, newline=""),
            delimiter=options.delimiter,
            quotechar=options.quote or None,
            quoting=csv.QUOTE_MINIMAL if options.quote else csv.QUOTE_NONE,
            escapechar=options.escape if escaped else None,
            doublequote=not escaped,
        )
        try:
            return next(reader, [""]), record.end
        except csv.Error as error:
            raise DataError(
                f"the first record is none: {error}", hint="is the format right? check delimiter, quote and header"
            ) from error
    return [], len(data)


def unique_names(fields: Sequence[str]) -> list[str]:
    """Return column names from header fields: empty ones become `column_N`, repeated ones get a number."""
    names: list[str] = []
    for number, field in enumerate(fields, 1):
        name = plain = field.strip() or f"column_{number}"
        again = 2
        while name in names:
            name, again = f"{plain}_{again}", again + 1
        names.append(name)
    return names


def infer(sample: bytes, names: Sequence[str], options: CsvOptions) -> dict[str, str | None]:
    """Return the type of each column from a sample that starts at a record; None where all values are null.

    A torn record at the end of the sample is left out, unless it is the only one.
    """
    from dataflare.formats.csv.decode import CsvDecoder

    whole = whole_records(sample, options, len(sample)) or len(sample)
    texts = Schema.of(dict.fromkeys(names, "string"))
    rows = CsvDecoder(texts, names, options).decode(sample[:whole]).rows
    guessed = {name: column_type(rows.column(name)) for name in names}
    return guessed if options.plain_values else {n: _own(rows.column(n), t, options) for n, t in guessed.items()}


def _own(texts: pa.ChunkedArray, guessed: str | None, options: CsvOptions) -> str | None:
    """Return the type of a column whose numbers, booleans or dates are written as the dialect says."""
    import pyarrow as pa
    import pyarrow.compute as pc

    from dataflare.formats.csv.read import CsvReader

    signs = options.decimal != "." or bool(options.thousands)
    kinds = ["bool"] if options.true_words else []
    kinds += ["int64", "float64"] if signs else []
    kinds += ["date", "datetime"] if options.moments else []
    taken = {"bool": bool(options.true_words), "float64": signs}
    if guessed is None or (guessed != "string" and not taken.get(guessed)):
        return guessed
    lines = "".join(f"{text}\n" for text in texts.drop_null().to_pylist()).encode()
    if pc.any(pc.match_substring_regex(texts, pattern=r"^-?0\d")).as_py():  # zip codes
        kinds = [k for k in kinds if k not in ("int64", "float64")]
    for kind in kinds:
        reader = CsvReader(
            Schema.of({"v": kind}), ["v"], replace(options, header=False, delimiter="\x01", quote="", comment="")
        )
        try:
            reader.read(lines)
        except pa.ArrowInvalid:
            continue
        return kind
    return "string"


__all__ = ["first_record", "infer", "unique_names"]
