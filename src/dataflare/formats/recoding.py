"""Writes text in another encoding than UTF-8."""

from __future__ import annotations

import codecs
from typing import TYPE_CHECKING

from dataflare.errors import DataError

if TYPE_CHECKING:
    from dataflare.formats.encoder import Sink

_MARKED = {
    "utf-8-sig": ("utf-8", codecs.BOM_UTF8),
    "utf-16": ("utf-16-le", codecs.BOM_UTF16_LE),
    "utf-32": ("utf-32-le", codecs.BOM_UTF32_LE),
}


class Recoder:
    """A sink that takes whole characters of UTF-8 and hands them on in another encoding, without a byte order mark."""

    def __init__(self, sink: Sink, encoding: str) -> None:
        """Write nothing."""
        self._sink, self._encoding = sink, encoding

    def write(self, data: bytes | memoryview) -> None:
        """Write text; raise DataError where the encoding lacks a character of it."""
        self._sink.write(recoded(bytes(data), self._encoding))


def recoded(data: bytes, encoding: str) -> bytes:
    """Return text of UTF-8 in another encoding, without a byte order mark."""
    if encoding == "utf-8":
        return data
    try:
        return data.decode().encode(_MARKED.get(encoding, (encoding, b""))[0])
    except UnicodeEncodeError as error:
        raise DataError(
            f"a text holds a character that {encoding} lacks: {error.reason}",
            hint="write in utf-8, or take such characters out by a mapping",
        ) from None


def mark_of(encoding: str) -> bytes:
    """Return the byte order mark with which a file of this encoding begins."""
    return _MARKED.get(encoding, ("", b""))[1]


__all__ = ["Recoder", "mark_of", "recoded"]
