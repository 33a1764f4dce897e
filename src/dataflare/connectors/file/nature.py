"""What a file is in truth, by its first bytes: packed, another format, another encoding, or text as the plan says."""

from __future__ import annotations

import codecs
import json
from contextlib import suppress
from typing import TYPE_CHECKING

from dataflare.errors import DataError, Place

if TYPE_CHECKING:
    from collections.abc import Sequence

HEAD_BYTES = 4096
_MAGIC = (
    (b"\x1f\x8b", "packed by gzip", "let its name end in .gz, or unpack it"),
    (b"PK\x03\x04", "a zip file or a spreadsheet", "unpack it, or let its name end in .xlsx where it is one"),
    (b"ARROW1\0\0", "an Arrow file", "let its name end in .arrow, or set format: arrow"),
    (b"Obj\x01", "an Avro file", "let its name end in .avro, or set format: avro"),
    (b"PAR1\x15", "a Parquet file", "let its name end in .parquet, or set format: parquet"),
    (b"\x28\xb5\x2f\xfd", "packed by zstd", "let its name end in .zst, or unpack it"),
    (b"BZh91AY&SY", "packed by bzip2", "let its name end in .bz2, or unpack it"),
    (b"\xfd7zXZ\x00", "packed by xz", "let its name end in .xz, or unpack it"),
    (codecs.BOM_UTF16_LE, "text in UTF-16", "set encoding: utf-16"),
    (codecs.BOM_UTF16_BE, "text in UTF-16", "set encoding: utf-16"),
)
_DELIMITERS = {";": "';'", "\t": '"\\t"', "|": "'|'"}


def check_text(head: bytes, name: str, kind: str, encoding: str) -> None:
    """Raise DataError where the first raw bytes of a file are not those of CSV or JSON lines in this encoding."""
    if encoding not in ("utf-8", "ascii"):
        return
    for magic, what, cure in _MAGIC:
        if head.startswith(magic):
            raise DataError(f"the file is {what}, not {_FORMATS[kind]}", hint=cure, place=Place(name))


def check_lines(head: bytes, name: str) -> None:
    """Raise DataError where the beginning of a text is JSON, but not an object a line."""
    first = head.lstrip().partition(b"\n")[0].strip()
    what = ""
    if first == b"{":
        what = "JSON objects of several lines each"
    elif first.startswith(b"["):
        what = "a JSON array"
        with suppress(ValueError):
            what = what if any(isinstance(item, dict) for item in json.loads(first)) else ""
    if what:
        hint = "read it with format: json, or write one object a line, as `jq -c` does"
        raise DataError(f"the file is {what}, not lines of JSON", hint=hint, place=Place(name))


def check_header(header: bytes, name: str) -> None:
    """Raise DataError where a header, in UTF-8 by now, is none."""
    try:
        header.decode()
    except UnicodeDecodeError as error:
        raise DataError(
            f"the header is not valid UTF-8: byte 0x{header[error.start]:02x}",
            hint="say its encoding, such as encoding: latin-1",
            place=Place(name, 1),
        ) from None


def other_delimiter(names: Sequence[str]) -> str:
    """Return the delimiter that a header of one column seems to have, as one writes it; nothing where it has none."""
    if len(names) != 1:
        return ""
    return next((shown for character, shown in _DELIMITERS.items() if character in names[0]), "")


_FORMATS = {"csv": "CSV", "jsonl": "lines of JSON", "json": "JSON", "json_array": "JSON"}

__all__ = ["HEAD_BYTES", "check_header", "check_lines", "check_text", "other_delimiter"]
