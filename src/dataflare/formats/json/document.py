"""Cuts the records of a JSON document into blocks of lines, however long the document is and whatever stands before.

Records are the elements of an array, or objects behind each other. The array may be the document itself, or stand
inside of it under a path of names. Memory: a block, or the longest record where that is longer.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dataflare.errors import DataError
from dataflare.formats.json.structure import structure

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dataflare.formats.json.structure import Structure

RECORD_BYTES_MAX = 64 << 20
DEPTH_MAX = 500
_SPACE = re.compile(rb"[ \t\r\n]*")
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_SCALAR = re.compile(rb'[^\s,\]\[}{:"]+')
_LINES = bytes.maketrans(b"\r\n", b"  ")
KEYS_SHOWN_MAX = 8


@dataclass(frozen=True, slots=True)
class Block:
    """Records as lines; `start` and `end` are bytes of the document, `starts` where in `text` each line began."""

    lines: bytes
    text: bytes
    starts: Sequence[int]
    start: int
    end: int

    def origin(self, line: int) -> tuple[int, int]:
        """Return the line ends before a record in `text`, and its first byte in the document."""
        space = _SPACE.match(self.text, self.starts[line])
        assert space is not None  # it matches nothing, too
        at = space.end()
        return self.text.count(b"\n", 0, at), self.start + at


class Document:
    """JSON text that is read once, from a place on."""

    def __init__(self, pieces: Iterator[bytes], at: int = 0) -> None:
        """`pieces` are the text in UTF-8 from byte `at` on."""
        self._pieces, self.at = pieces, at
        self._held, self._from, self._ended = b"", 0, False

    # ---- what stands before -----------------------------------------------------------------------------------------

    def find(self, path: Sequence[str]) -> str:
        """Go to the first record; return `array` inside of an array, `values` before objects, `none` where none is.

        Raises DataError where the path leads nowhere, and where the text is no JSON.
        """
        first = self._next()
        for number, name in enumerate(path):
            if first != b"{":
                where = f"{'.'.join(path[:number])!r} is" if number else "the document is"
                raise DataError(f"{where} no object, so there is no {'.'.join(path)!r}", hint=_HINT)
            self._enter(name, path[: number + 1])
            first = self._next()
        if first == b"[":
            self._take(1)
            return "array"
        if first == b"{":
            return "values"
        if first == b"" or (path and self._begins(b"null")):
            return "none"
        raise DataError(f"{'.'.join(path) or 'the document'!r} is neither an array nor an object", hint=_HINT)

    def _enter(self, name: str, path: Sequence[str]) -> None:
        """Go to the value of a name in the object that begins here."""
        self._take(1)
        seen: list[str] = []
        while (sign := self._next()) == b'"':
            key = json.loads(self._string())
            if self._next() != b":":
                raise self._no_json("a colon")
            self._take(1)
            if key == name:
                return
            seen.append(key)
            self._skip()
            if (sign := self._next()) != b",":
                break
            self._take(1)
        if sign != b"}":
            raise self._no_json("a name or the end of the object")
        shown = ", ".join(map(repr, seen[:KEYS_SHOWN_MAX])) + (" ..." if len(seen) > KEYS_SHOWN_MAX else "")
        raise DataError(f"the document has no {'.'.join(path)!r}: there are {shown or 'no names'}", hint=_HINT)

    def _skip(self) -> None:
        """Go behind the value that begins here, of whatever length."""
        first = self._next()
        if first == b'"':
            self._string()
        elif first in (b"{", b"["):
            self._skip_brackets()
        else:
            self._need(64)
            found = _SCALAR.match(self._held, self._from)
            if found is None:
                raise self._no_json("a value")
            self._take(len(found[0]))

    def _skip_brackets(self) -> None:
        depth, inside = 0, False
        while True:
            window = self._rest()
            if not window:
                if self._more():
                    continue
                raise self._cut_off()
            if (len(window) - len(window.rstrip(b"\\"))) % 2:  # an escape must not be cut in two
                if self._more():
                    continue
                raise self._cut_off()
            seen = structure(window, inside=inside)
            end = seen.first_below(1 - depth)
            if end >= 0:
                self._take(end + 1)
                return
            depth, inside = depth + seen.depth, seen.inside
            self._take(len(window))

    # ---- records ----------------------------------------------------------------------------------------------------

    def records(self, kind: str, block_bytes: int, *, alone: bool) -> Iterator[Block]:
        """Yield the records from here on in blocks of about so many bytes; `kind` is what `find` said.

        `alone`: nothing may follow but more of the same. Raises DataError for text that ends inside of a record, for
        records of more than 64 MiB, and for those that are nested more than 500 deep.
        """
        if kind == "array":
            yield from self._elements(block_bytes, alone=alone)
        elif kind == "values":
            yield from self._objects(block_bytes, alone=alone)

    def _elements(self, block_bytes: int, *, alone: bool) -> Iterator[Block]:
        size = block_bytes
        while True:
            data, seen, end = self._look(size)
            cuts = [p + 1 for p in seen.commas() if end < 0 or p < end]
            if end >= 0:
                yield from self._block(data[:end], cuts, "array")
                self._take(1)
                if not alone or self._next() != b"[":
                    break
                self._take(1)
                size = block_bytes
            elif cuts:
                yield from self._block(data[: cuts[-1]], cuts, "array")
                size = block_bytes
            else:
                size = self._longer(len(data))
        if alone and self._next() != b"":
            raise DataError(f"something follows behind the end of the array, at byte {self.at:,}", hint=_HINT)

    def _objects(self, block_bytes: int, *, alone: bool) -> Iterator[Block]:
        size = block_bytes
        while True:
            data, seen, end = self._look(size)
            cuts = [p + 1 for p in seen.ends() if end < 0 or p < end]
            if cuts:
                cuts = cuts if alone else cuts[:1]  # one object under a path is one record
                yield from self._block(data[: cuts[-1]], cuts, "values")
                size = block_bytes
            elif not data.strip() and not self._need(len(data) + 1):
                return
            else:
                size = self._longer(len(data))
            if cuts and not alone:
                return

    def _look(self, size: int) -> tuple[bytes, Structure, int]:
        """Return the next bytes, what is in them, and the place of the bracket that ends all of it, -1 for none."""
        self._need(size)
        data = self._rest()[:size]
        seen = structure(data)
        end, deep = seen.first_below(0), seen.first_above(DEPTH_MAX) if seen.deepest > DEPTH_MAX else -1
        if deep >= 0 and (end < 0 or deep < end):
            raise DataError(
                f"the JSON is nested more than {DEPTH_MAX} deep at byte {self.at + deep:,}",
                hint="no record is as deep as that; is the file what it should be?",
            )
        return data, seen, end

    def _longer(self, length: int) -> int:
        """Return how many bytes to look at where no record ends within these; raise DataError where that is no use."""
        if not self._need(length + 1):
            raise self._cut_off()
        if length > RECORD_BYTES_MAX:
            raise DataError(
                f"no record ends within {RECORD_BYTES_MAX >> 20} MiB after byte {self.at:,}",
                hint="name the array of records by `records`, such as records: data.items",
            )
        return 2 * length

    def _block(self, text: bytes, cuts: list[int], kind: str) -> Iterator[Block]:
        """Yield the records of a text that is cut at these places, if there are any; go behind it."""
        start = self.at
        self._take(len(text))
        if kind == "array":
            lines = bytearray(text.translate(_LINES))
            for cut in cuts:
                lines[cut - 1] = 0x0A
            starts = [0, *cuts]
        else:
            starts = [0, *cuts[:-1]]
            flat = text.translate(_LINES)
            lines = bytearray(b"\n".join(flat[a:b] for a, b in zip(starts, cuts, strict=True)))
        if not lines.endswith(b"\n"):
            lines += b"\n"
        if lines.strip():
            yield Block(bytes(lines), text, starts, start, self.at)

    # ---- text -------------------------------------------------------------------------------------------------------

    def _rest(self) -> bytes:
        """Return what is held and not yet taken."""
        if self._from:
            self._held, self._from = self._held[self._from :], 0
        return self._held

    def _more(self) -> bool:
        """Hold another piece; False at the end of the text."""
        return self._need(len(self._held) - self._from + 1)

    def _need(self, size: int) -> bool:
        """Hold so many bytes, or all there are: False."""
        length = len(self._held) - self._from
        if length >= size:
            return True
        found = [self._rest()]
        while length < size and not self._ended:
            found.append(next(self._pieces, b""))
            length += len(found[-1])
            self._ended = not found[-1]
        self._held = b"".join(found)
        return length >= size

    def _take(self, size: int) -> None:
        self._from += size
        self.at += size

    def _next(self) -> bytes:
        """Go to the next byte that is no space, and return it; nothing at the end."""
        while True:
            found = _SPACE.match(self._held, self._from)
            assert found is not None  # it matches nothing, too
            self._take(len(found[0]))
            if self._from < len(self._held) or not self._more():
                return self._held[self._from : self._from + 1]

    def _begins(self, word: bytes) -> bool:
        return self._need(len(word)) and self._held.startswith(word, self._from)

    def _string(self) -> bytes:
        while (found := _STRING.match(self._held, self._from)) is None:
            if len(self._held) - self._from > RECORD_BYTES_MAX or not self._more():
                raise self._cut_off()
        self._take(len(found[0]))
        return found[0]

    def _no_json(self, wanted: str) -> DataError:
        return DataError(f"the text is no JSON: {wanted} was expected at byte {self.at:,}", hint=_HINT)

    def _cut_off(self) -> DataError:
        return DataError(
            f"the JSON ends in the middle of what begins at byte {self.at:,}",
            hint="is the file still being written, or was it copied in part?",
        )


_HINT = "name the array of records by `records`, such as records: data.items"

__all__ = ["Block", "Document"]
