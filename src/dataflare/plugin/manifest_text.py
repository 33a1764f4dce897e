"""TOML beyond what the library does: the lines on which keys stand, and values written as text."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_KEY = r"""(?:[A-Za-z0-9_-]+|"(?:[^"\\]|\\.)*"|'[^']*')"""
_DOTTED = rf"{_KEY}(?:\s*\.\s*{_KEY})*"
_HEADER = re.compile(rf"\s*\[\[?\s*({_DOTTED})\s*\]\]?")
_ENTRY = re.compile(rf"\s*({_DOTTED})\s*=(.*)")
_BARE = re.compile(r"[A-Za-z0-9_-]+")
DEPTH_MAX = 32
"""Keys of more parts than that are told with the line of their beginning."""
_LONG = ('"""', "'''")


def lines_of(text: str) -> Mapping[tuple[str, ...], int]:
    """Return the line, from 1, on which each key of a valid text is first told; keys in inline tables have none."""
    lines: dict[tuple[str, ...], int] = {}
    table: tuple[str, ...] = ()
    closing = ""
    for number, line in enumerate(text.split("\n"), 1):
        if closing:
            closing = "" if closing in line else closing
            continue
        if header := _HEADER.match(line):
            table = _parts(header[1])[:DEPTH_MAX]
            for depth in range(1, len(table) + 1):
                lines.setdefault(table[:depth], number)
        elif entry := _ENTRY.match(line):
            path = (*table, *_parts(entry[1]))[:DEPTH_MAX]
            for depth in range(1, len(path) + 1):
                lines.setdefault(path[:depth], number)
            closing = next((mark for mark in _LONG if entry[2].count(mark) == 1), "")
    return lines


def _parts(dotted: str) -> tuple[str, ...]:
    found = re.findall(_KEY, dotted)
    return tuple(json.loads(p) if p[0] == '"' else p.strip("'") for p in found)


def toml_of(tables: Mapping[str, Any]) -> str:
    """Return the text of tables of values that JSON has; none of them is None."""
    return "\n".join(_table((name,), table) for name, table in tables.items())


def _table(path: tuple[str, ...], table: Mapping[str, Any]) -> str:
    return "".join([f"[{'.'.join(map(_key, path))}]\n", *(f"{line}\n" for line in _entries(table))])


def _entries(table: Mapping[str, Any]) -> Iterator[str]:
    for key, value in table.items():
        yield f"{_key(key)} = {_value(value)}"


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return f"{{ {', '.join(_entries(value))} }}" if value else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    return json.dumps(value, ensure_ascii=True)


def _key(key: str) -> str:
    return key if _BARE.fullmatch(key) else json.dumps(key)


__all__ = ["lines_of", "toml_of"]
