"""An expression as it was written and as SQL: `==` and `&&` are put in SQL's words, and places lead back."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

Part = tuple[int, int, str]
"""Bytes from..to of a UTF-8 text, and what stands in their place."""


def in_sql(written: str) -> str:
    """Return the text in SQL's words; literals and comments are left alone."""
    return spliced_text(written, _parts(written))


def _parts(written: str) -> list[Part]:
    import duckdb

    raw = written.encode()
    try:
        tokens = duckdb.tokenize(written)
    except duckdb.Error:
        return []  # the parser says what is wrong
    parts = []
    for start, kind in tokens:
        if kind.name == "operator" and raw[start : start + 2] in (b"==", b"&&"):
            parts.append((start, start + 2, "=" if raw[start : start + 2] == b"==" else " and "))
    return parts


def spliced_text(text: str, parts: Sequence[Part]) -> str:
    """Return the text with the bytes from..to of each part replaced; parts do not overlap."""
    raw = text.encode()
    for start, end, new in sorted(parts, reverse=True):
        raw = raw[:start] + new.encode() + raw[end:]
    return raw.decode()


def place_as_written(written: str, offset: int) -> int:
    """Return the byte of the written text that a byte of the SQL stands for."""
    moved = 0
    for start, end, new in _parts(written):
        if offset < start + moved:
            break
        if offset < start + moved + len(new):
            return start
        moved += len(new) - (end - start)
    return offset - moved


__all__ = ["in_sql", "place_as_written", "spliced_text"]
