"""What functions of a core module return, as it lies in its memory.

Nothing that a module says about its memory is believed: what lies outside of it raises TrappedError.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

from dataflare.plugin.failures import ELEMENTS_MAX, TrappedError, too_many

if TYPE_CHECKING:
    from collections.abc import Callable

OUTCOMES = ("keep", "drop", "many", "route")
FORMATS = ("json-lines", "json-columns")
ERROR_CASES = ("bad-record", "transient", "fatal")
_PAIR_BYTES, _ROUTED_BYTES, _PART_BYTES, _ROW_ERROR_BYTES, _OUTPUT_BYTES, _COLUMN_BYTES = 8, 16, 32, 12, 24, 16
ARRAY_BYTES, _OFFSET_BYTES = 24, 4
_ELEMENT_BYTES, _SLACK_BYTES = 64, 16 << 20
"""What an element of a list counts for, beside its bytes; what may be returned twice of a small memory."""


class Reader:
    """Reads the memory of a module as it is now; the next call into it may move it.

    Texts and lists may lie over each other there: as much as twice the memory is copied, and no more.
    """

    def __init__(self, memory: memoryview) -> None:
        """Take the bytes."""
        self._memory = memory
        self._copied = 0

    def byte(self, at: int) -> int:
        """Return an unsigned byte."""
        return int(self._unpacked("<B", at)[0])

    def word(self, at: int) -> int:
        """Return an unsigned number of 32 bits."""
        return int(self._unpacked("<I", at)[0])

    def pair(self, at: int) -> tuple[int, int]:
        """Return where a list or text lies, and how long it is."""
        return self._unpacked("<II", at)  # type: ignore[return-value]

    def data(self, at: int) -> memoryview:
        """Return the bytes of a text whose place is told there."""
        start, count = self.pair(at)
        if start + count > len(self._memory):
            raise TrappedError("it says that a text lies beyond its memory")
        self._count(count)
        return self._memory[start : start + count]

    def text(self, at: int) -> str:
        """Return a text whose place is told there."""
        try:
            return str(self.data(at), "utf-8")
        except UnicodeDecodeError:
            raise TrappedError("what it returned is no Unicode text") from None

    def each(self, at: int, size: int, read: Callable[[int], Any]) -> list[Any]:
        """Return the elements of a list whose place is told there, each of so many bytes."""
        start, count = self.pair(at)
        if start + count * size > len(self._memory):
            raise TrappedError("it says that a list lies beyond its memory")
        if count > ELEMENTS_MAX:
            raise too_many(count)
        self._count(count * (size + _ELEMENT_BYTES))
        return [read(start + n * size) for n in range(count)]

    def words(self, at: int) -> memoryview:
        """Return a list of numbers of 32 bits, whose place is told there."""
        return memoryview(self.each_byte(at, 4)).cast("I")

    def each_byte(self, at: int, size: int) -> bytes:
        """Return a copy of the bytes of a list, whose place is told there; its elements have so many bytes each."""
        start, count = self.pair(at)
        if start + count * size > len(self._memory):
            raise TrappedError("it says that a list lies beyond its memory")
        self._count(count * size)
        return bytes(self._memory[start : start + count * size])

    def _count(self, size: int) -> None:
        self._copied += size
        if self._copied > 2 * len(self._memory) + _SLACK_BYTES:
            raise TrappedError("it returned the same memory many times")

    def case(self, at: int, cases: tuple[str, ...]) -> str:
        """Return which of some cases a byte stands for."""
        number = self.byte(at)
        if number >= len(cases):
            raise TrappedError("it returned a case that there is not")
        return cases[number]

    def _unpacked(self, form: str, at: int) -> tuple[int, ...]:
        try:
            return struct.unpack_from(form, self._memory, at)
        except struct.error:
            raise TrappedError("it says that a value lies beyond its memory") from None


def described(read: Reader, at: int) -> tuple[Any, ...]:
    """Return a `plugin-info`."""

    def column(at: int) -> tuple[str, str]:
        return read.text(at), read.text(at + 8)

    def output(at: int) -> tuple[Any, ...]:
        columns = read.each(at + 12, _COLUMN_BYTES, column) if read.byte(at + 8) else None
        return read.text(at), columns, bool(read.byte(at + 20))

    wanted = read.each(at + 32, _PAIR_BYTES, read.text) if read.byte(at + 28) else None
    names = (read.text(at), read.text(at + 8), read.text(at + 16))
    form, outputs = read.case(at + 40, FORMATS), read.each(at + 44, _OUTPUT_BYTES, output)
    return (*names, bool(read.byte(at + 24)), wanted, form, outputs)


def columns(read: Reader, at: int) -> list[tuple[str, str]]:
    """Return a list of `column`: names and types."""
    return read.each(at, _COLUMN_BYTES, lambda at: (read.text(at), read.text(at + 8)))


def rows_result(read: Reader, at: int) -> tuple[list[Any], list[Any]]:
    """Return a `rows-result`; buffers are copied, as they lie in the memory of the module."""

    def array(at: int) -> tuple[bytes, bytes, bytes]:
        offsets = read.each_byte(at + _PAIR_BYTES, _OFFSET_BYTES)
        return read.each_byte(at, 1), offsets, read.each_byte(at + 2 * _PAIR_BYTES, 1)

    def part(at: int) -> tuple[Any, ...]:
        sources = read.words(at + 24) if read.byte(at + 20) else None
        return read.text(at), read.word(at + 8), read.each(at + 12, ARRAY_BYTES, array), sources

    errors = read.each(at + 8, _ROW_ERROR_BYTES, lambda at: (read.word(at), read.text(at + 4)))
    return read.each(at, _PART_BYTES, part), errors


def result(read: Reader, at: int, good: Callable[[Reader, int], Any] | None) -> tuple[bool, Any]:
    """Return a result, or the case and the words of a `plugin-error`."""
    if read.byte(at):
        return False, (read.case(at + 4, ERROR_CASES), read.text(at + 8))
    return True, good(read, at + 4) if good is not None else None


def outcome(read: Reader, at: int) -> tuple[str, Any]:
    """Return an `outcome`."""
    case = read.case(at, OUTCOMES)
    if case == "keep":
        return case, read.text(at + 4)
    if case == "many":
        return case, read.each(at + 4, _PAIR_BYTES, read.text)
    if case == "route":
        return case, read.each(at + 4, _ROUTED_BYTES, lambda at: (read.text(at), read.text(at + 8)))
    return case, None


def batch_result(read: Reader, at: int) -> tuple[list[Any], list[Any]]:
    """Return a `batch-result`."""

    def part(at: int) -> tuple[Any, ...]:
        sources = read.words(at + 24) if read.byte(at + 20) else None
        return read.text(at), read.word(at + 8), read.text(at + 12), sources

    errors = read.each(at + 8, _ROW_ERROR_BYTES, lambda at: (read.word(at), read.text(at + 4)))
    return read.each(at, _PART_BYTES, part), errors


__all__ = [
    "ARRAY_BYTES",
    "FORMATS",
    "Reader",
    "batch_result",
    "columns",
    "described",
    "outcome",
    "result",
    "rows_result",
]
