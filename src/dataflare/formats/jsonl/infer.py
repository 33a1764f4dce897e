"""The columns of JSON lines, from a sample: the union of what its objects hold, nested."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, TypeAlias

from dataflare.formats.guess import string_type, wider
from dataflare.schema import canonical

if TYPE_CHECKING:
    from collections.abc import Mapping

Shape: TypeAlias = "str | _List | _Struct | None"
"""A type text, None for nulls only, or a nested shape."""

FIELDS_MAX = 200
INT64_MAX = (1 << 63) - 1


class _List:
    def __init__(self, inner: Shape) -> None:
        self.inner = inner


class _Struct:
    def __init__(self, fields: dict[str, Shape]) -> None:
        self.fields = fields


def infer(sample: bytes) -> dict[str, str | None]:
    """Return the type of each column; None where all values are null. Lines that are no objects are passed over.

    Values of several types make a column of type json; so do objects with very many different fields.
    """
    shape = _Struct({})
    for line in sample.splitlines():
        try:
            value = json.loads(line)
        except ValueError:
            continue
        if isinstance(value, dict):
            shape = _merged_structs(shape, _struct(value))
    return {name: None if inner is None else _top(inner) for name, inner in shape.fields.items()}


def unite(one: Mapping[str, str | None], other: Mapping[str, str | None]) -> dict[str, str | None]:
    """Return the columns of both samples; what differs beyond widening becomes json."""
    united: dict[str, str | None] = dict(one)
    for name, kind in other.items():
        before = united.get(name)
        if before is None or kind is None or before == kind:
            united[name] = before or kind
        else:
            both = wider(before, kind)
            united[name] = "json" if both == "string" else both
    return united


def _struct(value: dict[str, Any]) -> _Struct:
    return _Struct({name: _shape(inner) for name, inner in value.items()})


def _shape(value: Any) -> Shape:
    if isinstance(value, dict):
        return _struct(value)
    if isinstance(value, list):
        inner: Shape = None
        for item in value:
            inner = _merged(inner, _shape(item))
        return _List(inner)
    if isinstance(value, str):
        return string_type(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return "int64" if -INT64_MAX <= value <= INT64_MAX else "json"
    return {bool: "bool", float: "float64"}.get(type(value))


def _merged(one: Shape, other: Shape) -> Shape:
    if one is None or other is None:
        return other if one is None else one
    if isinstance(one, _Struct) and isinstance(other, _Struct):
        return _merged_structs(one, other)
    if isinstance(one, _List) and isinstance(other, _List):
        return _List(_merged(one.inner, other.inner))
    if isinstance(one, str) and isinstance(other, str):
        both = wider(one, other)
        strings = {"string", "date", "datetime", "timestamp"}
        return both if both != "string" or {one, other} <= strings else "json"
    return "json"


def _merged_structs(one: _Struct, other: _Struct) -> _Struct:
    fields = dict(one.fields)
    for name, shape in other.fields.items():
        fields[name] = _merged(fields.get(name), shape)
    return _Struct(fields)


def _top(shape: Shape) -> str:
    text = _text(shape)
    return "json" if text is None else canonical(text)


def _text(shape: Shape) -> str | None:
    """Return the type text; None for what only JSON text can hold."""
    if isinstance(shape, _List):
        return f"list<{_text(shape.inner) or 'string'}>"
    if isinstance(shape, _Struct):
        if not _is_plain(shape.fields):
            return None
        return f"struct<{', '.join(_field(n, inner) for n, inner in shape.fields.items())}>"
    return None if shape in (None, "json") else shape


def _is_plain(fields: Mapping[str, Shape]) -> bool:
    """Tell whether objects with these fields make a struct: few, and their names differ by more than case."""
    distinct = len({n.lower() for n in fields}) == len(fields)
    return bool(fields) and distinct and len(fields) <= FIELDS_MAX and all(re.fullmatch(r'[^"]+', n) for n in fields)


def _field(name: str, shape: Shape) -> str:
    return f'"{name}": {_text(shape) or "string"}'


__all__ = ["infer", "unite"]
