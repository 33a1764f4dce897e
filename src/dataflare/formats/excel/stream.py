"""Reads a sheet of a workbook of many rows a part at a time: each part becomes a small workbook of its own.

The library that reads cells holds a whole sheet. So the text of a large one is cut behind rows, without being parsed,
and each cut is handed over with the few shared texts that it uses; those of the workbook lie in a temporary file.
"""

from __future__ import annotations

import html
import io
import re
import tempfile
import zipfile
from array import array
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

STREAMED_BYTES_MIN = 32 << 20
"""Sheets whose text is shorter are read whole."""
PART_BYTES = 4 << 20
_READ_BYTES, _HEAD_BYTES_MAX = 1 << 20, 1 << 20
_BOOK, _LINKS, _TEXTS = "xl/workbook.xml", "xl/_rels/workbook.xml.rels", "xl/sharedStrings.xml"
_AS_THEY_ARE = ("[Content_Types].xml", "_rels/.rels", _BOOK, _LINKS, "xl/styles.xml")
_SHEET, _LINK = re.compile(rb"<sheet\s[^>]*>"), re.compile(rb"<Relationship\s[^>]*>")
_TEXT = re.compile(rb"<si\b[^>]*/>|<si\b.*?</si>", re.DOTALL)
_TEXT_CELL = re.compile(rb"""(<c\b[^>]*\bt=["']s["'][^>]*>\s*<v>\s*)(\d+)(\s*</v>)""")
_DATA = re.compile(rb"<sheetData(?:\s[^>]*)?>")
_EXTENT = re.compile(rb"""<dimension\b[^>]*\bref=["'](?:[A-Z]+\d+:)?([A-Z]+)\d+["'][^>]*>""")
_PLACED_ROW = re.compile(rb"<row\b[^>]*\br=")


class File(io.RawIOBase):
    """Bytes that can be had from any place, as a file."""

    def __init__(self, pread: Callable[[int, int], bytes], size: int) -> None:
        """`pread` returns the bytes from one place to another."""
        self._pread, self._size, self._at = pread, size, 0

    def readable(self) -> bool:
        """Tell that it is."""
        return True

    def seekable(self) -> bool:
        """Tell that it is."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place."""
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Read what comes next."""
        data = self._pread(self._at, min(self._size, self._at + len(buffer))) if self._at < self._size else b""
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


@dataclass(frozen=True, slots=True)
class Part:
    """Some rows of a sheet, as a workbook; `width` is how many columns the sheet says that it has (0: nothing)."""

    book: bytes
    width: int


class LargeSheet:
    """The parts of one sheet of an open file."""

    def __init__(self, archive: zipfile.ZipFile, number: int) -> None:
        """`number` counts the sheets from 0; raises KeyError where the archive has no such sheet."""
        self._archive = archive
        link = _attribute(_SHEET.findall(archive.read(_BOOK))[number], rb"\w+:id")
        targets = {_attribute(e, b"Id"): _attribute(e, b"Target") for e in _LINK.findall(archive.read(_LINKS))}
        target = targets[link].decode()
        self._path = target.removeprefix("/") if target.startswith("/") else f"xl/{target}"
        self._size = archive.getinfo(self._path).file_size
        self._kept = {n: archive.read(n) for n in _AS_THEY_ARE if n in archive.namelist()}

    def is_large(self) -> bool:
        """Tell whether it is read in parts: its text is long, and can be cut."""
        if self._size < STREAMED_BYTES_MIN:
            return False
        with self._archive.open(self._path) as file:
            head = file.read(_HEAD_BYTES_MAX)
        return _DATA.search(head) is not None and _PLACED_ROW.search(head) is not None

    def parts(self) -> Iterator[Part]:
        """Yield the rows from the first one on; blank ones may be left out."""
        with tempfile.TemporaryFile() as kept, self._archive.open(self._path) as file:
            texts = self._texts(kept)
            buffer = file.read(_HEAD_BYTES_MAX)
            begin = _DATA.search(buffer)
            assert begin is not None
            head, rest = buffer[: begin.end()], buffer[begin.end() :]
            extent = _EXTENT.search(head)
            width = _column(extent[1]) if extent is not None else 0
            head = _EXTENT.sub(b"", head)
            while True:
                more = file.read(PART_BYTES) if b"</sheetData>" not in rest else b""
                rest += more
                cut = rest.find(b"</sheetData>")
                cut = cut if cut >= 0 else rest.rfind(b"</row>") + len(b"</row>") if b"</row>" in rest else 0
                if cut:
                    yield Part(self._book(head, rest[:cut], texts, kept), width)
                if not more:
                    return
                rest = rest[cut:]

    def _texts(self, kept: IO[bytes]) -> array[int]:
        """Write the shared texts into a file; return where each of them begins, and where the last one ends."""
        places = array("Q", [0])
        if _TEXTS not in self._archive.namelist():
            return places
        with self._archive.open(_TEXTS) as file:
            rest = b""
            while more := file.read(_READ_BYTES):
                rest += more
                end = 0
                for found in _TEXT.finditer(rest):
                    kept.write(found[0])
                    places.append(places[-1] + len(found[0]))
                    end = found.end()
                rest = rest[end:]
        kept.flush()
        return places

    def _book(self, head: bytes, rows: bytes, places: array[int], kept: IO[bytes]) -> bytes:
        used: dict[int, int] = {}
        rows = _TEXT_CELL.sub(lambda m: m[1] + b"%d" % used.setdefault(int(m[2]), len(used)) + m[3], rows)
        texts = []
        for number in used:
            if number + 1 < len(places):
                kept.seek(places[number])
                texts.append(kept.read(places[number + 1] - places[number]))
        made = io.BytesIO()
        with zipfile.ZipFile(made, "w") as book:
            for name, data in self._kept.items():
                book.writestr(name, data)
            main = b"http://schemas.openxmlformats.org/spreadsheetml/2006/main"
            book.writestr(_TEXTS, b'<sst xmlns="' + main + b'">' + b"".join(texts) + b"</sst>")
            book.writestr(self._path, head + rows + b"</sheetData></worksheet>")
        return made.getvalue()


def sheet_names(archive: zipfile.ZipFile) -> list[str]:
    """Return the names of the sheets; raise KeyError where the archive is no workbook of Excel 2007 or later."""
    return [
        html.unescape(_attribute(e, b"name").decode("utf-8", "replace")) for e in _SHEET.findall(archive.read(_BOOK))
    ]


def _attribute(element: bytes, name: bytes) -> bytes:
    found = re.search(rb"\s" + name + rb"""\s*=\s*["']([^"']*)["']""", element)
    return found[1] if found is not None else b""


def _column(letters: bytes) -> int:
    value = 0
    for letter in letters:
        value = value * 26 + letter - 64
    return value


__all__ = ["File", "LargeSheet", "Part", "sheet_names"]
