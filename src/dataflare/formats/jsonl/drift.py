"""What the fast reader would bend silently: 3.7 read as an integer becomes 4, a time read as a date loses its hours.

`suspicion` makes one pattern that Arrow searches a block for; a line it may be right about is judged by `misfit`.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pyarrow as pa

if TYPE_CHECKING:
    from dataflare.schema import Schema

_FRACTION = r'"?-?\d+(?:\.\d*[1-9]|(?:\.\d+)?[eE])'
_NO_INTEGER = rf"(?:{_FRACTION}|true|false)"
_ZONED = r'"\d{4}-\d\d-\d\d[T ][\d:.]+ *(?:Z|[+-]\d\d)'
_TIME_OF_DAY = r'"\d{4}-\d\d-\d\d[^"]'
_AN_INTEGER = re.compile(r"\s*-?\d+(\.0*)?\s*")


def suspicion(schema: Schema) -> str | None:
    """Return a pattern (RE2) of values that do not fit their column exactly, or None if no column can be bent."""
    names: dict[str, set[str]] = {}
    for field in schema.to_arrow():
        _collect(field.name, field.type, names)
    parts = [rf'"(?:{"|".join(sorted(map(re.escape, found)))})"\s*:\s*{values}' for values, found in names.items()]
    return "|".join(parts) or None


def _collect(name: str, kind: pa.DataType, names: dict[str, set[str]]) -> None:
    t = pa.types
    if t.is_struct(kind):
        for field in kind:
            _collect(field.name, field.type, names)
        return
    opening = ""
    while t.is_list(kind) or t.is_map(kind):
        opening = r'\[[^{}"]*?' if t.is_list(kind) else r"\{[^{}]*?:\s*"
        kind = kind.value_type if t.is_list(kind) else kind.item_type
        if t.is_struct(kind):
            _collect(name, kind, names)
            return
    bent = _bent(kind)
    if bent:
        names.setdefault(opening + bent, set()).add(name)


def _bent(kind: pa.DataType) -> str:
    t = pa.types
    if t.is_integer(kind):
        return _NO_INTEGER
    if t.is_decimal(kind):
        return rf'(?:"?-?\d*\.\d{{{kind.scale}}}\d*[1-9]|"?-?\d[\d.]*[eE])'
    if t.is_boolean(kind):
        return r'"?-?\d'
    if t.is_date(kind):
        return _TIME_OF_DAY
    return _ZONED if t.is_timestamp(kind) and kind.tz is None else ""


def misfit(value: Any, kind: pa.DataType, path: str) -> str | None:
    """Return what is wrong with a JSON value as this type, without the value; None where it fits exactly."""
    if value is None:
        return None
    t = pa.types
    if t.is_struct(kind):
        if not isinstance(value, dict):
            return f"{path} is not an object"
        return next((bad for f in kind if (bad := misfit(value.get(f.name), f.type, f"{path}.{f.name}"))), None)
    if t.is_list(kind):
        if not isinstance(value, list):
            return f"{path} is not a list"
        return next((bad for item in value if (bad := misfit(item, kind.value_type, f"{path}[]"))), None)
    if t.is_map(kind):
        if not isinstance(value, dict):
            return f"{path} is not an object"
        return next((bad for item in value.values() if (bad := misfit(item, kind.item_type, f"{path}.*"))), None)
    return None if _fits(value, kind) else f"{path} is not {_word(kind)}"


def _fits(value: Any, kind: pa.DataType) -> bool:
    t = pa.types
    if t.is_integer(kind):
        return not isinstance(value, bool | dict | list) and _is_integer(value)
    if t.is_boolean(kind):
        return isinstance(value, bool) or value in ("true", "false")
    if t.is_decimal(kind):
        return not isinstance(value, bool | dict | list) and _has_scale(value, kind.scale)
    if t.is_date(kind):
        return isinstance(value, str) and re.fullmatch(r"\s*\d{4}-\d\d-\d\d\s*", value) is not None
    if t.is_timestamp(kind) and kind.tz is None:
        return isinstance(value, str) and re.match(_ZONED[1:], value) is None
    return True


def _is_integer(value: int | Decimal | str) -> bool:
    if isinstance(value, str):
        return _AN_INTEGER.fullmatch(value) is not None
    return value == int(value) if not isinstance(value, Decimal) or value.is_finite() else False


def _has_scale(value: int | Decimal | str, scale: int) -> bool:
    try:
        number = Decimal(value)
    except ArithmeticError:
        return False
    return number.is_finite() and number == round(number, scale)


def _word(kind: pa.DataType) -> str:
    from dataflare.schema import type_text

    return type_text(kind)


__all__ = ["misfit", "suspicion"]
