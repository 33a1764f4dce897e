"""What the fast reader would bend silently: 3.7 read as an integer becomes 4, a time read as a date loses its hours.

`suspicion` makes one pattern that Arrow searches a block for; a line it may be right about is judged by `misfit`.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from dataflare.schema import type_text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dataflare.schema import Schema

_FRACTION = r'"?-?\d+(?:\.\d*[1-9]|(?:\.\d+)?[eE])'
_ZONED = r'"\d{4}-\d\d-\d\d[T ][\d:.]+ *(?:Z|[+-]\d\d)'
_TIME_OF_DAY = r'"\d{4}-\d\d-\d\d[^"]'
DIGITS_SURE = 15
"""A double holds so many decimal digits; DuckDB reads fractions as doubles."""
INTEGERS_SURE = 1 << 53
"""Below that, two integers are never the same double."""
_A_NUMBER = re.compile(r"\s*-?\d+(\.\d*)?([eE][+-]?\d{1,3})?\s*")


def suspicion(schema: Schema, *, narrow: bool = False) -> str | None:
    """Return a pattern (RE2) of values that do not fit their column exactly, or None if no column can be bent.

    `narrow`: integers outside of lists and maps are looked at by the reader itself.
    """
    names: dict[str, set[str]] = {}
    for field in schema.to_arrow():
        _collect(field.name, field.type, names, narrow=narrow)
    parts = [rf'"(?:{"|".join(sorted(map(re.escape, found)))})"\s*:\s*{values}' for values, found in names.items()]
    return "|".join(parts) or None


def _collect(name: str, kind: pa.DataType, names: dict[str, set[str]], *, narrow: bool) -> None:
    t = pa.types
    if t.is_struct(kind):
        for field in kind:
            _collect(field.name, field.type, names, narrow=narrow)
        return
    if narrow and t.is_integer(kind):
        return
    opening = ""
    while t.is_list(kind) or t.is_map(kind):
        opening = r'\[[^{}"]*?' if t.is_list(kind) else r"\{[^{}]*?:\s*"
        kind = kind.value_type if t.is_list(kind) else kind.item_type
        if t.is_struct(kind):
            _collect(name, kind, names, narrow=False)
            return
    bent = _bent(kind)
    if bent:
        names.setdefault(opening + bent, set()).add(name)


def _bent(kind: pa.DataType) -> str:
    t = pa.types
    if t.is_integer(kind):
        return _FRACTION
    if t.is_decimal(kind):
        return rf'(?:"?-?\d*\.\d{{{kind.scale}}}\d*[1-9]|"?-?\d[\d.]*[eE]|-?\d[\d.]{{{DIGITS_SURE}}})'
    if t.is_boolean(kind):
        return r'"?-?\d'
    if t.is_date(kind):
        return _TIME_OF_DAY
    return _ZONED if t.is_timestamp(kind) and kind.tz is None else ""


def misfit(value: Any, kind: pa.DataType, path: str) -> str | None:
    """Return what is wrong with a JSON value as this type, without the value; None where it fits exactly."""
    if value is None:
        return None
    inner = _parts(value, kind, path)
    if inner is not None:
        return next((bad for item, part, name in inner if (bad := misfit(item, part, name))), None)
    if pa.types.is_nested(kind):
        return f"{path} is not {'a list' if pa.types.is_list(kind) else 'an object'}"
    return None if _fits(value, kind) else f"{path} is not {type_text(kind)}"


def _parts(value: Any, kind: pa.DataType, path: str) -> Iterable[tuple[Any, pa.DataType, str]] | None:
    """Return the values inside one, each with its type and path; None for values without or of another shape."""
    t = pa.types
    if t.is_struct(kind) and isinstance(value, dict):
        return ((value.get(f.name), f.type, f"{path}.{f.name}") for f in kind)
    if t.is_list(kind) and isinstance(value, list):
        return ((item, kind.value_type, f"{path}[]") for item in value)
    if t.is_map(kind) and isinstance(value, dict):
        return ((item, kind.item_type, f"{path}.*") for item in value.values())
    return None


def _fits(value: Any, kind: pa.DataType) -> bool:
    t = pa.types
    fits = True
    if t.is_integer(kind):
        fits = isinstance(value, bool) or (not isinstance(value, dict | list) and _is_integer(value))
    elif t.is_boolean(kind):
        fits = isinstance(value, bool) or value in ("true", "false")
    elif t.is_decimal(kind):
        fits = not isinstance(value, bool | dict | list) and _has_scale(value, kind.scale) and not long_fraction(value)
    elif t.is_date(kind):
        fits = isinstance(value, str) and re.fullmatch(r"\s*\d{4}-\d\d-\d\d\s*", value) is not None
    elif t.is_timestamp(kind) and kind.tz is None:
        fits = isinstance(value, str) and re.match(_ZONED[1:], value) is None
    return fits


def long_fraction(value: Any) -> bool:
    """Tell whether a JSON number (parsed as Decimal) has more digits than a double holds."""
    return isinstance(value, Decimal) and value.is_finite() and len(value.as_tuple().digits) > DIGITS_SURE


def _is_integer(value: int | Decimal | str) -> bool:
    """Tell whether a number is whole, below 2**53 as a double sees it, as the narrow reader does."""
    if isinstance(value, str):
        if _A_NUMBER.fullmatch(value) is None:
            return False
        value = Decimal(value.strip())
    if isinstance(value, int) or not value.is_finite():
        return isinstance(value, int)
    try:
        return float(value).is_integer() if abs(value) < INTEGERS_SURE else value == value.to_integral_value()
    except ArithmeticError:  # an exponent that no number has
        return False


def plain(value: Any, kind: pa.DataType) -> Any:
    """Return a value that fits with integers written as such, where a text has an exponent ("1e3")."""
    t = pa.types
    if t.is_integer(kind) and isinstance(value, str) and "e" in value.lower():
        return int(Decimal(value.strip()))
    if t.is_struct(kind) and isinstance(value, dict):
        kinds = {f.name: f.type for f in kind}
        return {n: plain(v, kinds[n]) if n in kinds else v for n, v in value.items()}
    if t.is_list(kind) and isinstance(value, list):
        return [plain(v, kind.value_type) for v in value]
    if t.is_map(kind) and isinstance(value, dict):
        return {n: plain(v, kind.item_type) for n, v in value.items()}
    return value


def _has_scale(value: int | Decimal | str, scale: int) -> bool:
    try:
        number = Decimal(value)
        return number.is_finite() and number == round(number, scale)
    except ArithmeticError:  # no number, or one of more digits than any decimal has
        return False


__all__ = ["INTEGERS_SURE", "long_fraction", "misfit", "plain", "suspicion"]
